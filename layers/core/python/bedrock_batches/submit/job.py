"""A logical batch job and its parts, as frozen models. ``submit.job_items`` reads and writes their items.

A job is *settled* when its outputs are taken and each of its records is in the lake, gone from the lake, or failed for
good with a reason. Until then, no other job takes its records, a schedule checks the job, and its items do not expire:
they get their ``ttl`` when the job settles.

An estimate is a job too. Its id has another prefix, it is in no index, and it is kept for a day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from bedrock_batches.submit.pricing import Rate

KEPT = timedelta(days=30)
"""How long the items of a job are kept after it has settled."""
ESTIMATE_KEPT = timedelta(days=1)
CREATION_TIME = timedelta(minutes=20)
"""The longest time that a creation takes, including Lambda's two repetitions of an asynchronous call."""
TYPICAL_COMPLETION = timedelta(hours=24)
"""AWS promises no end for batch inference; most jobs end within a day
(https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html)."""
SCHEMA_VERSION = 2
"""The version of a job's items. In version 2, ``recordId`` is ``names.record_id``. In version 1, which items without a
version have, it is the violation's id."""

Document = Mapping[str, Any]
"""JSON that a job carries from the processor to the API's answers. No code reads it."""


class JobStatus(StrEnum):
    """The status that users see beside ``bedrock_status``."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"


class Creation(StrEnum):
    """The progress of the processor.

    PENDING: nothing is decided, parts can be missing, and no records are held. WRITTEN: files and parts exist, and
    queued parts can be submitted. DONE: the processor has submitted what it could.
    """

    PENDING = "Pending"
    WRITTEN = "Written"
    DONE = "Done"


class RequestOutcome(StrEnum):
    """The outcome of a request for a job. UNDECIDED: the processor works on it. DIED: the processor ended before it
    decided. NOTHING: no record is left to process."""

    UNDECIDED = "undecided"
    INVALID = "invalid"
    REFUSED = "refused"
    DIED = "died"
    ESTIMATED = "estimated"
    NOTHING = "nothing"
    CREATED = "created"


class PartStatus(StrEnum):
    """The state of a part.

    QUEUED: not submitted yet. SUBMITTED: Bedrock has it. ENDED: in one of Bedrock's final statuses; a part that runs
    through Converse is ENDED from the beginning, and its output is awaited like any other. REFUSED: Bedrock did not
    accept it. CANCELLED: stopped before its submission.
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
    """Bedrock's statuses of a job
    (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetModelInvocationJob.html), and two of our own: QUEUED
    before the submission, and ON_DEMAND for a part that runs through Converse and has no job ARN.

    Items keep the text that Bedrock gave, so a status that AWS adds later is shown unchanged.
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
    """Counts of a job's records: with content, without content, all."""

    processed: int = 0
    errors: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Records without content for one reason. ``example`` is one of them. ``same_input_fails``: the model refused the
    request itself, so the same request fails again."""

    error: str
    reason: str
    code: int | None
    count: int
    example: str
    same_input_fails: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A Bedrock job that is part of a batch job, or records that run through Converse.

    ``number`` counts from 1. ``bedrock_status``, ``message`` and ``processed_count`` are Bedrock's at the part's end;
    "" and None until then. ``size_bytes`` is the size of the input file. ``calls`` counts the model's calls for a part
    that runs through Converse. Tokens are None until they are known.
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
    """A batch job or an estimate (``dry_run``). Unknown values are None, or "" for a text.

    ``config`` is the request's config with defaults. ``message`` says why the job failed or had nothing to do.
    ``reason`` says why it was not created, ``shortfall`` how many records were missing for that, and ``problems`` what
    is wrong with the request.

    ``left_out`` counts the records that pass the filters but that no job takes. ``unusable_ids`` names some whose id is
    not unique or cannot be a key, and ``held_by`` the jobs and objects that hold the others.

    ``outputs_taken``: the job has ended and all its outputs are taken; None for a job that never ended. ``price`` is
    the basis of the actual cost. ``ttl`` is in seconds since the epoch. ``other`` holds attributes of the item that
    this release does not know: the API shows them.
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
        """The outcome of the request. A job that failed after its creation counts as created."""
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
    """The job before the processor runs."""
    ttl = int((now + ESTIMATE_KEPT).timestamp()) if dry_run else None
    return Job(job_id, now, config=config, dry_run=dry_run, retry_of=retry_of, ttl=ttl)


def expected_completion(created_at: datetime, parts: int, concurrent: int, *, on_demand: bool = False) -> datetime:
    """An estimate of the days: one for each round of parts that run side by side. On demand, records are asked while
    the job is created."""
    if on_demand:
        return created_at + CREATION_TIME
    rounds = -(-parts // max(1, concurrent))
    return created_at + TYPICAL_COMPLETION * max(1, rounds)


def begins_of(parts: Sequence[Part]) -> dict[int, int]:
    """The place in the job of each part's first record, by part number."""
    begins, begin = {}, 0
    for part in parts:
        begins[part.number] = begin
        begin += part.record_count
    return begins
