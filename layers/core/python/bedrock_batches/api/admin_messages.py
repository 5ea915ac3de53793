"""The bodies of the admin API's answers, for its OpenAPI document. A test compares them with the answers."""

# ruff: noqa: N815 (the names are those of the JSON)

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from bedrock_batches.api.records import RecordOutcome
from foundation.lazy_model import LazyModel

Status = Literal["InProgress", "Completed", "Failed"]


class Body(LazyModel):
    model_config = ConfigDict(extra="forbid")


class Estimate(Body):
    """Every answer counts with its full ``maxTokens``, so the real cost is lower. USD."""

    violationCount: int
    totalTokens: int
    costUSD: float
    costPerViolation: float


class FilterCount(Body):
    """The records that remained after this filter and those before it."""

    name: str
    remaining: int


class Holder(Body):
    """Holds matching records: a job in progress, or content under sync-failed/ that waits for the lake. ``example`` is
    one of the records."""

    holder: str
    records: int
    example: str


class Repeatable(Body):
    """``repeated``: the request had no key, but equals one of the last minutes: nothing new was created. ``warnings``:
    why a retry will fail again, or that the model will be retired soon."""

    repeated: Literal[True] | None = None
    warnings: list[str] | None = None


class Created(Repeatable):
    """``jobArn`` is the first part's, "" while all parts are queued and for jobs run on demand."""

    message: Literal["Batch job created successfully"]
    jobId: str
    jobArn: str
    violationCount: int
    estimate: Estimate
    status: Status
    expectedCompletion: str
    retryOf: str | None = None


class Nothing(Repeatable):
    """``emptiedBy`` is the filter or limit that left no record."""

    message: Literal["No violations to process"]
    violationCount: Literal[0]
    emptiedBy: str
    filters: list[FilterCount] | None = None
    heldBy: list[Holder] | None = None


class Begun(Repeatable):
    """Send the same request with this ``idempotencyKey`` for its outcome, or GET the job."""

    message: Literal["Batch job is being created", "Cost estimation is running"]
    jobId: str
    idempotencyKey: str
    status: Status


class Estimated(Repeatable):
    """``reason`` says why a batch of these records would be refused."""

    message: Literal["Cost estimation complete"]
    violationCount: int
    estimate: Estimate
    dryRun: Literal[True]
    reason: str | None = None
    emptiedBy: str | None = None
    filters: list[FilterCount] | None = None
    heldBy: list[Holder] | None = None


class Refused(Repeatable):
    """``shortfall``: how many records are missing for the smallest batch inference job."""

    message: Literal["Failed to create batch job"]
    reason: str
    jobId: str
    violationCount: int
    shortfall: int | None = None


class ProblemBody(Body):
    path: str
    value: str
    message: str
    fix: str


class Invalid(Repeatable):
    message: Literal["The request is not valid"]
    problems: list[ProblemBody]


class Said(Body):
    message: str


class Stats(Body):
    processed: int
    errors: int
    total: int


class JobSummary(Body):
    PK: str
    SK: str
    jobId: str
    jobArn: str
    status: Status
    violationCount: int
    createdAt: str
    processedAt: str | None
    stats: Stats


class JobList(Body):
    """Newest first. ``nextCursor`` is null on the last page."""

    jobs: list[JobSummary]
    nextCursor: str | None


class RecordCounts(Body):
    """While the job runs, Bedrock's counts; then those of the results. ``processed`` = ``succeeded`` + ``failed``."""

    total: int
    processed: int
    succeeded: int
    failed: int


class FailureGroup(Body):
    """Records without content for one reason. ``example`` is one of them; ``sameInputFails``: a retry cannot help."""

    error: str
    reason: str
    code: int | None
    count: int
    example: str
    sameInputFails: bool


class Job(JobSummary):
    """The job's item as far as it is known, with its parts."""

    model_config = ConfigDict(extra="allow")

    config: dict[str, Any]
    estimate: Estimate | None = None
    recordCounts: RecordCounts
    failures: list[FailureGroup] | None = None
    parts: list[dict[str, Any]]


class ContentKey(Body):
    """The key of the item in VentureOS-Violations that has a record's content."""

    table: str
    PK: str
    SK: str


class JobRecord(Body):
    """``reason`` says why a record has no content. ``input`` and ``error`` are S3 URIs of JSON lines; one line is the
    record's."""

    recordId: str
    agency: str
    part: int
    outcome: RecordOutcome
    reason: str | None
    input: str
    error: str | None
    content: ContentKey | None


class RecordList(Body):
    """Records in the order of the job's input. ``nextCursor`` is null on the last page."""

    records: list[JobRecord]
    nextCursor: str | None


class Stopped(Body):
    message: Literal["Stop requested", "Batch job has already ended"]
    jobId: str
    status: Status
