"""A logical batch job and its parts, as frozen models. ``submit.job_items`` reads them from the table and writes them.

A job is *settled* when its outputs are taken, and each of its records is in the lake, gone from the lake, or failed for
good with its reason. Until then no other job takes its records, a clock looks after it, and its items do not expire:
they get their ``ttl`` when the job settles.

An estimate is a job too, under an id of its own, that is in no index and is kept for a day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from bedrock_batches.submit.pricing import Rate

KEPT = timedelta(days=30)
"""The items of a job are kept this long after it has settled."""
ESTIMATE_KEPT = timedelta(days=1)
CREATION_TIME = timedelta(minutes=20)
"""Longest time that a creation takes, Lambda's two repetitions of an asynchronous call included."""
TYPICAL_COMPLETION = timedelta(hours=24)
"""Batch inference promises no end; most jobs end within a day
(https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html)."""
SCHEMA_VERSION = 2
"""The version of a job's items. 2: ``recordId`` is ``names.record_id``. An item without a version has version 1, whose
``recordId`` is the violation's id."""

Document = Mapping[str, Any]
"""JSON that a job carries from the processor to the API's answers. No code decides by it."""


class JobStatus(StrEnum):
    """The status that users see, beside ``bedrock_status``."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"


class Creation(StrEnum):
    """The progress of the processor. PENDING: nothing is decided, parts can be missing, its records are free.
    WRITTEN: files and parts are there, and queued parts can be submitted. DONE: the processor has submitted what it
    could.
    """

    PENDING = "Pending"
    WRITTEN = "Written"
    DONE = "Done"


class RequestOutcome(StrEnum):
    """The outcome of the request for a job. UNDECIDED: the processor works on it. DIED: the processor ended before it
    decided. NOTHING: no record is left to process."""

    UNDECIDED = "undecided"
    INVALID = "invalid"
    REFUSED = "refused"
    DIED = "died"
    ESTIMATED = "estimated"
    NOTHING = "nothing"
    CREATED = "created"


class PartStatus(StrEnum):
    """QUEUED: not with Bedrock yet. SUBMITTED: with Bedrock. ENDED: in one of Bedrock's final statuses; a part that is
    run at once through Converse is ENDED from the beginning, and its output is waited for as that of any other.
    REFUSED: Bedrock did not take it. CANCELLED: stopped before it was submitted.
    """

    QUEUED = "queued"
    SUBMITTED = "submitted"
    ENDED = "ended"
    REFUSED = "refused"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (PartStatus.ENDED, PartStatus.REFUSED, PartStatus.CANCELLED)


class BedrockStatus(StrEnum):
    """Bedrock's statuses of a job (https://docs.aws.amazon.com/bedrock/latest/APIReference/
    API_GetModelInvocationJob.html), and two of our own: QUEUED before the submission, ON_DEMAND for a part that is run
    through Converse and has no job ARN.

    Items keep the text that Bedrock gave, so that a status that AWS adds is shown as it is.
    """

    QUEUED = "Queued"
    SUBMITTED = "Submitted"
    VALIDATING = "Validating"
    SCHEDULED = "Scheduled"
    IN_PROGRESS = "InProgress"
    STOPPING = "Stopping"
    COMPLETED = "Completed"
    PARTIALLY_COMPLETED = "PartiallyCompleted"
    FAILED = "Failed"
    STOPPED = "Stopped"
    EXPIRED = "Expired"
    ON_DEMAND = "OnDemand"


BEDROCK_FINAL = frozenset(
    {
        BedrockStatus.COMPLETED,
        BedrockStatus.PARTIALLY_COMPLETED,
        BedrockStatus.FAILED,
        BedrockStatus.STOPPED,
        BedrockStatus.EXPIRED,
    }
)


@dataclass(frozen=True, slots=True)
class Stats:
    """Records of a job: with content, without, all of them."""

    processed: int = 0
    errors: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Records without content for one reason. ``example`` is one of them. ``same_input_fails``: the model refused the
    request itself, so asking it again changes nothing."""

    error: str
    reason: str
    code: int | None
    count: int
    example: str
    same_input_fails: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One Bedrock job of a batch job, or records that are run through Converse.

    ``number`` counts from 1. ``bedrock_status`` and ``message`` are Bedrock's, and so is ``processed_count``, at the
    part's end; "" and None until then. ``size_bytes`` is that of the input file. ``calls`` counts those of the model,
    for a part that is run through Converse. Tokens are None until Bedrock, or the last call, has told them.
    """

    job_id: str
    number: int
    status: PartStatus
    job_name: str = ""
    input_key: str = ""
    records_key: str = ""
    record_count: int = 0
    size_bytes: int | None = None
    model_id: str = ""
    timeout_hours: int | None = None
    job_arn: str = ""
    bedrock_status: str = ""
    message: str = ""
    processed_count: int | None = None
    calls: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    submitted_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_on_demand(self) -> bool:
        return self.bedrock_status == BedrockStatus.ON_DEMAND


@dataclass(frozen=True, slots=True)
class Job:
    """A batch job, or an estimate (``dry_run``). What is not known yet is None, or "" for a text.

    ``config`` is the request's, with defaults. ``message`` says why the job failed, or that there was nothing to do;
    ``reason`` why it was not created, ``shortfall`` how many records it lacked for that, ``problems`` what is wrong
    with its request. ``left_out`` counts the records that pass the filters, but that no job takes;
    ``unusable_ids`` names some of those whose id is shared with another record or cannot be a key, ``held_by`` the jobs
    and objects that hold the others. ``outputs_taken``: the job has ended, and no output of it is left to take; None in
    a job that never ended. ``price`` is what the actual cost is calculated with. ``ttl`` is in seconds since the epoch.
    ``other`` are attributes of the item that this release does not know: the API shows them.
    """

    job_id: str
    created_at: datetime
    status: JobStatus = JobStatus.IN_PROGRESS
    creation: Creation = Creation.PENDING
    bedrock_status: str = ""
    job_arn: str = ""
    config: Document | None = None
    dry_run: bool = False
    retry_of: str = ""
    message: str = ""
    reason: str = ""
    shortfall: int | None = None
    problems: Sequence[Document] = ()
    emptied_by: str = ""
    filters: Sequence[Document] = ()
    left_out: Document = field(default_factory=dict)
    held_by: Sequence[Document] = ()
    unusable_ids: Sequence[str] = ()
    violation_count: int = 0
    estimate: Document = field(default_factory=dict)
    price: Rate | None = None
    model_id: str = ""
    prompt_version: str = ""
    part_count: int | None = None
    on_demand: bool | None = None
    expected_completion: datetime | None = None
    processed_at: datetime | None = None
    stop_requested_at: datetime | None = None
    stats: Stats = Stats()
    failures: Sequence[FailureGroup] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    actual_cost_usd: float | None = None
    outputs_taken: bool | None = None
    settled_at: datetime | None = None
    schema_version: int | None = None
    ttl: int | None = None
    other: Document = field(default_factory=dict)

    @property
    def is_in_progress(self) -> bool:
        return self.status is JobStatus.IN_PROGRESS

    @property
    def request_outcome(self) -> RequestOutcome:
        """The outcome of the request. A job that failed after it was created counts as created."""
        if self.is_in_progress:
            return RequestOutcome.CREATED if self.creation is Creation.DONE else RequestOutcome.UNDECIDED
        if self.problems:
            return RequestOutcome.INVALID
        if self.status is JobStatus.FAILED and self.creation is not Creation.DONE:
            return RequestOutcome.DIED
        if self.status is JobStatus.FAILED and self.reason:
            return RequestOutcome.REFUSED
        if self.dry_run:
            return RequestOutcome.ESTIMATED
        return RequestOutcome.CREATED if self.part_count else RequestOutcome.NOTHING


def new_job(job_id: str, now: datetime, config: Document, *, dry_run: bool = False, retry_of: str = "") -> Job:
    """The job as it is before the processor runs."""
    ttl = int((now + ESTIMATE_KEPT).timestamp()) if dry_run else None
    return Job(job_id, now, config=config, dry_run=dry_run, retry_of=retry_of, ttl=ttl)


def expected_completion(created_at: datetime, parts: int, concurrent: int, *, on_demand: bool = False) -> datetime:
    """One day for each round of parts that run side by side; no promise. On demand, records are asked while the job is
    created."""
    if on_demand:
        return created_at + CREATION_TIME
    rounds = -(-parts // max(1, concurrent))
    return created_at + TYPICAL_COMPLETION * max(1, rounds)


def begins_of(parts: Sequence[Part]) -> dict[int, int]:
    """The place in the job of each part's first record, by the part's number."""
    begins, begin = {}, 0
    for part in parts:
        begins[part.number] = begin
        begin += part.record_count
    return begins
