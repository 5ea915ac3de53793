"""A logical batch job: its ids, its objects in the data bucket, and its items in ``VentureOS-BedrockBatchJobs``.

All items of a job have ``PK JOB#<jobId>``. ``SK METADATA`` is the job, ``SK PART#0001`` each Bedrock job of it. Beside
them: ``PK INFLIGHT``, ``SK JOB#<jobId>`` for each job that is not settled (read consistently, which the indexes cannot
be), and ``PK IDEMPOTENCY#<hash>``, ``SK REQUEST``. Times are ISO 8601 in UTC with milliseconds.

A job is *settled* when its outputs are taken, and each of its records is in the lake, gone from the lake, or failed for
good with its reason. Until then no other job takes its records, a clock looks after it, and its items do not expire:
they get their ``ttl`` when the job settles.

An estimate is a job item too, under an id of its own, that is in no index and lives for a day.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypedDict

PREFIX = "bedrock-batches"
METADATA = "METADATA"
PART_PREFIX = "PART#"
IN_FLIGHT_KEY = "INFLIGHT"
LISTED = "JOBS"
JOBS_BY_CREATED = "jobs-by-created"
"""Index of GSI1PK ("JOBS") and GSI1SK (``<createdAt>#<jobId>``)."""
JOBS_BY_STATUS = "jobs-by-status"
"""Index of GSI2PK (``STATUS#<status>``) and GSI1SK."""
CREATE_LEASE = "create"
KEPT = timedelta(days=30)
"""How long the items of a job are kept after it has settled."""
ESTIMATE_KEPT = timedelta(days=1)
CREATION_TIME = timedelta(minutes=20)
"""Longest time that a creation takes, Lambda's two repetitions of an asynchronous call included."""
TYPICAL_COMPLETION = timedelta(hours=24)
"""Batch inference has no promise of an end; most jobs end within a day
(https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html)."""

JOB_ID = re.compile(r"(batch|estimate)-[0-9]{1,12}-[0-9A-Za-z]{1,32}")
"""Wider than our own ids, for jobs that were written by hand; a part's name still fits into Bedrock's 63 characters."""


class JobStatus(StrEnum):
    """Towards users; ``bedrockStatus`` stands beside it."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"


class Creation(StrEnum):
    """How far the processor is. PENDING: nothing is settled, no part exists for certain, its records are free.
    WRITTEN: files and parts are there, and queued parts may be submitted. DONE: the processor has submitted what it
    could.
    """

    PENDING = "Pending"
    WRITTEN = "Written"
    DONE = "Done"


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


ENDED_PARTS = frozenset({PartStatus.ENDED, PartStatus.REFUSED, PartStatus.CANCELLED})
BEDROCK_FINAL = frozenset({"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"})
ON_DEMAND = "OnDemand"
"""``bedrockStatus`` of what was run through Converse; such a part has no job ARN."""


class Stats(TypedDict):
    processed: int
    errors: int
    total: int


class PartItem(TypedDict, total=False):
    """``bedrockStatus`` and ``message`` are Bedrock's, ``processedCount`` too, at its end; ``bytes`` is the size of the
    input file. ``calls`` counts those of the model, for a part that is run through Converse."""

    PK: str
    SK: str
    jobId: str
    part: int
    status: str
    jobName: str
    jobArn: str
    bedrockStatus: str
    message: str
    inputKey: str
    recordsKey: str
    recordCount: int
    processedCount: int
    calls: int
    bytes: int
    modelId: str
    timeoutHours: int
    submittedAt: str
    endedAt: str
    inputTokens: int
    outputTokens: int
    ttl: int


class JobItem(TypedDict, total=False):
    """``message`` says why a job failed, or that there was nothing to do; ``reason`` why it was not created,
    ``shortfall`` how many records it lacked for that, ``problems`` what is wrong with its request.
    ``leftOut`` counts the records that the filters let through, but that no job may take; ``unusableIds`` names some of
    those whose id is shared with another record or is no key, ``heldBy`` the jobs and objects that hold the others.
    ``failures`` is what ``results.failures.failure_groups`` gives.
    ``outputsTaken``: the job has ended, and no output of it is left to take. ``settledAt`` as above.
    ``price`` is what ``pricing.Rate.document`` gives: what the actual cost is calculated with.
    """

    PK: str
    SK: str
    GSI1PK: str
    GSI1SK: str
    GSI2PK: str
    jobId: str
    jobArn: str
    status: str
    bedrockStatus: str
    creation: str
    message: str
    reason: str
    shortfall: int
    problems: list[dict[str, str]]
    emptiedBy: str
    filters: list[dict[str, Any]]
    violationCount: int
    leftOut: dict[str, int]
    heldBy: list[dict[str, Any]]
    unusableIds: list[str]
    config: dict[str, Any]
    estimate: dict[str, Any]
    price: dict[str, Any]
    modelId: str
    promptVersion: str
    partCount: int
    onDemand: bool
    dryRun: bool
    retryOf: str
    createdAt: str
    expectedCompletion: str
    processedAt: str
    stopRequestedAt: str
    stats: Stats
    failures: list[dict[str, Any]]
    inputTokens: int
    outputTokens: int
    actualCostUSD: float
    outputsTaken: bool
    settledAt: str
    schemaVersion: int
    ttl: int


def new_job_id(now: datetime, *, dry_run: bool = False) -> str:
    """``batch-<epoch seconds>-<8 hex>``, or ``estimate-…``."""
    return f"{'estimate' if dry_run else 'batch'}-{int(now.timestamp())}-{secrets.token_hex(4)}"


def is_job_id(text: str) -> bool:
    return JOB_ID.fullmatch(text) is not None


def is_estimate(job_id: str) -> bool:
    return job_id.startswith("estimate-")


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-11-21T09:30:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp_ms(epoch_ms: int) -> str:
    return timestamp(datetime.fromtimestamp(epoch_ms / 1000, UTC))


def moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def job_key(job_id: str) -> str:
    return f"JOB#{job_id}"


def job_id_of_key(key: str) -> str:
    return key.removeprefix(job_key(""))


def part_sort_key(part: int) -> str:
    return f"{PART_PREFIX}{part:04d}"


def status_key(status: str) -> str:
    return f"STATUS#{status}"


def listing_key(job_id: str, created_at: str) -> str:
    return f"{created_at}#{job_id}"


def part_name(job_id: str, part: int) -> str:
    """Bedrock's ``jobName`` and ``clientRequestToken``: the same part is never submitted twice."""
    return f"{job_id}-{part:04d}"


def part_of_name(job_name: str) -> tuple[str, int] | None:
    """Job id and part of a Bedrock job's name; None when the Bedrock job is not one of ours."""
    job_id, _, number = job_name.rpartition("-")
    if not is_job_id(job_id) or len(number) != 4 or not number.isdigit():
        return None
    return job_id, int(number)


def input_key(job_id: str, part: int) -> str:
    return f"{PREFIX}/input/{job_id}/input-{part:04d}.jsonl"


def records_key(job_id: str, part: int) -> str:
    """Lines of violation id, tab, agency, in the order of the input file."""
    return f"{PREFIX}/input/{job_id}/records-{part:04d}.txt"


def output_prefix(job_id: str) -> str:
    return f"{PREFIX}/output/{job_id}/"


def on_demand_output_key(job_id: str, part: int) -> str:
    """As Bedrock lays out a batch: a folder of 12 characters, the input file's name, ``.out``.

    The folder is the same however often the job is resumed.
    """
    folder = hashlib.sha256(part_name(job_id, part).encode()).hexdigest()[:12]
    return f"{output_prefix(job_id)}{folder}/input-{part:04d}.jsonl.out"


def answers_prefix(job_id: str, part: int) -> str:
    """Under it lie the answers of a part that is run through Converse."""
    return f"{PREFIX}/on-demand/{job_id}/{part:04d}/"


def answer_key(job_id: str, part: int, place: int) -> str:
    """The line of the output of one record; ``place`` counts from 0 in the part."""
    return f"{answers_prefix(job_id, part)}{place:06d}.jsonl"


def calls_key(job_id: str, part: int, place: int) -> str:
    """How many calls of the model the record took, as a number."""
    return f"{answers_prefix(job_id, part)}{place:06d}.calls"


def on_demand_lease(job_id: str) -> str:
    """Held by the call that asks for the records of a job through Converse."""
    return f"ondemand#{job_id}"


def errors_prefix(job_id: str) -> str:
    return f"{PREFIX}/errors/{job_id}/"


def new_job(
    job_id: str,
    now: datetime,
    config: dict[str, Any],
    *,
    dry_run: bool = False,
    retry_of: str = "",
) -> JobItem:
    """The item as it is before the processor runs."""
    created_at = timestamp(now)
    item: JobItem = {
        "PK": job_key(job_id),
        "SK": METADATA,
        "jobId": job_id,
        "jobArn": "",
        "status": JobStatus.IN_PROGRESS.value,
        "bedrockStatus": "",
        "creation": Creation.PENDING.value,
        "violationCount": 0,
        "config": config,
        "dryRun": dry_run,
        "createdAt": created_at,
        "stats": {"processed": 0, "errors": 0, "total": 0},
    }
    if retry_of:
        item["retryOf"] = retry_of
    if dry_run:
        item["ttl"] = int((now + ESTIMATE_KEPT).timestamp())
    else:
        item["GSI1PK"] = LISTED
        item["GSI1SK"] = listing_key(job_id, created_at)
        item["GSI2PK"] = status_key(JobStatus.IN_PROGRESS)
    return item


def expected_completion(created_at: datetime, parts: int, concurrent: int, *, on_demand: bool = False) -> datetime:
    """A day for each round of parts that run side by side; no promise. On demand, records are asked while the job is
    created."""
    if on_demand:
        return created_at + CREATION_TIME
    rounds = -(-parts // max(1, concurrent))
    return created_at + TYPICAL_COMPLETION * max(1, rounds)


def record_id(place: int) -> str:
    """What a record is called towards Bedrock: its place in the job, from 0. Bedrock's ids are alphanumeric, and 11
    characters is the length of those in its examples
    (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html); ours are any text.
    """
    return f"R{place:010d}"


def place_of_record_id(text: str) -> int | None:
    """The place that ``record_id`` names; None for another text."""
    return int(text[1:]) if _RECORD_ID.fullmatch(text) else None


_RECORD_ID = re.compile(r"R[0-9]{10}", re.ASCII)
SCHEMA_VERSION = 2
"""Of a job's items. 2: ``recordId`` is ``record_id``. An item without a version is of version 1: it is the violation's
id."""


def records_line(violation_id: str, agency: str) -> bytes:
    return f"{violation_id}\t{agency}\n".encode()


def split_records_line(line: str) -> tuple[str, str]:
    """Violation id and agency of a line of a records file."""
    violation_id, _, agency = line.rstrip("\n").partition("\t")
    return violation_id, agency
