"""The use cases of the admin API. Answers are HTTP status codes and JSON bodies, see docs/reference/admin-api.md.

Creating, estimating and retrying write the job's item, invoke the processor asynchronously, and look at the item for up
to 20 seconds, because an HTTP API gives up after 30
(https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html). Callers poll the job for the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from bedrock_batches.api.once import Sender, create_once
from bedrock_batches.api.records import RecordSources, list_records
from bedrock_batches.request.job_config import (
    JobConfig,
    JobRequest,
    parse_job_request,
    parse_retry_request,
    stored_config,
)
from bedrock_batches.request.model_life import check_model_life
from bedrock_batches.request.models import Models
from bedrock_batches.submit import names
from bedrock_batches.submit.create_job import CREATED, ESTIMATED, NOTHING, REFUSED
from bedrock_batches.submit.job import (
    CREATION_TIME,
    Creation,
    FailureGroup,
    Job,
    JobStatus,
    Part,
    RequestOutcome,
    new_job,
)
from bedrock_batches.submit.job_items import HIDDEN, item_of_job, item_of_part
from bedrock_batches.submit.ports import BatchInference, BatchInferenceJob, FunctionCaller, Guard, JobsTable
from foundation.errors import BatchProcessorError, InvalidInputError, PermanentError, Problem
from foundation.ports import Clock

LOGGER = logging.getLogger("batch_processor.admin")

CREATING = "Batch job is being created"
ESTIMATING = "Cost estimation is running"
INVALID = "The request is not valid"
STOPPING = "Stop requested"
HAS_ENDED = "Batch job has already ended"
ESTIMATE_DIED = "The processor ended before the estimate was complete: see its log, then ask for the estimate again."

WAIT_SECONDS = 20.0
POLL_SECONDS = 0.3
MOST_LISTED = 100
MOST_RECORDS = 1_000
THREADS = 8
_SUMMARY_FIELDS = (
    "PK",
    "SK",
    "jobId",
    "jobArn",
    "status",
    "violationCount",
    "createdAt",
    "processedAt",
    "stats",
)
_PART_FIELDS = (
    "part",
    "status",
    "bedrockStatus",
    "jobArn",
    "recordCount",
    "message",
    "submittedAt",
    "endedAt",
    "inputTokens",
    "outputTokens",
)


class UnknownJobError(PermanentError):
    """Raised when no job has the id."""


class JobRunsError(PermanentError):
    """Raised if a request needs a job that has ended."""


class NotRetryableError(PermanentError):
    """Raised if the item of a job does not have the config of its records."""


@dataclass(frozen=True)
class AdminServices:
    """The ports of the API. ``processor`` creates jobs, ``reconciler`` follows them."""

    jobs: JobsTable
    batch: BatchInference
    processor: FunctionCaller
    reconciler: FunctionCaller
    clock: Clock
    models: Models
    default_model: str
    agencies: Sequence[str]
    records: RecordSources


@dataclass(frozen=True)
class Answer:
    status_code: int
    body: dict[str, Any]


def invalid_answer(problems: Iterable[Problem]) -> Answer:
    return Answer(400, {"message": INVALID, "problems": [problem._asdict() for problem in problems]})


def create(document: object, sender: Sender, services: AdminServices, *, dry_run: bool = False) -> Answer:
    """Create a job, or estimate it. Raises InvalidInputError, KeyReusedError."""
    asked = parse_job_request(
        JobRequest, document, models=services.models, default_model=services.default_model, agencies=services.agencies
    )
    model_id = str(asked.config.batch.model_id)
    warnings = check_model_life("config.batch.modelId", model_id, services.models, _now(services).date())
    request = {"dryRun": dry_run, "config": asked.config.document()}
    job = _new_job(asked.config, services, dry_run=dry_run)
    job_id = create_once(job, request, sender, services, force=asked.force)
    return _with_warnings(_begin(job, job_id, sender, services), warnings)


def retry_job(job_id: str, document: object, sender: Sender, services: AdminServices) -> Answer:
    """Create a job for the records of an ended job that have no content.

    Raises InvalidInputError, UnknownJobError, JobRunsError, NotRetryableError, KeyReusedError.
    """
    changes = parse_retry_request(document, services.models)
    retried = _job(job_id, services)
    if retried.is_in_progress:
        raise JobRunsError(f"Job {job_id} has not ended: wait for its end, or stop it first.")
    config = _config_of(retried, services)
    batch = {**changes.batch.model_dump(by_alias=False), "on_demand_below_minimum": changes.on_demand_below_minimum}
    given = {name: value for name, value in batch.items() if value is not None}
    config = config.model_copy(update={"batch": config.batch.model_copy(update=given)})
    if changes.max_spend_usd is not None:
        limits = config.limits.model_copy(update={"max_spend_usd": changes.max_spend_usd})
        config = config.model_copy(update={"limits": limits})
    today = _now(services).date()
    warnings = check_model_life("batch.modelId", str(config.batch.model_id), services.models, today)
    if changes.batch.model_id is None:
        warnings += _warnings(retried)
    request = {"retryOf": job_id, "config": config.document()}
    job = _new_job(config, services, retry_of=job_id)
    answer = _begin(job, create_once(job, request, sender, services, force=changes.force), sender, services)
    return _with_warnings(answer, warnings)


def _with_warnings(answer: Answer, warnings: list[str]) -> Answer:
    return Answer(answer.status_code, {**answer.body, "warnings": warnings}) if warnings else answer


def _warnings(retried: Job) -> list[str]:
    """A warning if failures of the job show that a retry with the same model fails again."""
    hopeless: list[FailureGroup] = [group for group in retried.failures if group.same_input_fails]
    if not hopeless:
        return []
    count, example = sum(group.count for group in hopeless), hopeless[0]
    return [
        f"{count:,} records failed with an error that the same input causes again, such as "
        f'"{example.reason}" ({example.code}) for {example.example}: name another batch.modelId, or correct '
        "the records and create a new job."
    ]


def _config_of(job: Job, services: AdminServices) -> JobConfig:
    """The config that the job was created with. The default model replaces one that the item does not name.

    Raises NotRetryableError for an item whose ``config`` is missing or of another form, as other systems write it.
    """
    try:
        config = stored_config(job.config)
    except ValidationError:
        raise NotRetryableError(
            f"Job {job.job_id} does not say what it was created with, so its records cannot be asked again: "
            "create a new job."
        ) from None
    model = config.batch.model_id or job.model_id or services.default_model
    return config.model_copy(update={"batch": config.batch.model_copy(update={"model_id": model})})


def _new_job(config: JobConfig, services: AdminServices, *, dry_run: bool = False, retry_of: str = "") -> Job:
    now = _now(services)
    job_id = names.new_job_id(now, dry_run=dry_run)
    return new_job(job_id, now, config.document(), dry_run=dry_run, retry_of=retry_of)


def _begin(job: Job, job_id: str, sender: Sender, services: AdminServices) -> Answer:
    """Start the creation of ``job``, or of the job of an earlier, equal request."""
    repeated = job_id != job.job_id and not sender.idempotency_key
    job = _end_dead_estimate(services.jobs.get(job_id) or job, services)
    if _is_undecided(job) and job.creation is Creation.PENDING:
        # Also for a repeated request, because its first call can have died. Two calls are harmless.
        services.processor.call({"jobId": job_id})
    until_ms = services.clock.now_ms() + int(WAIT_SECONDS * 1000)
    while _is_undecided(job) and services.clock.now_ms() < until_ms:
        services.clock.sleep(POLL_SECONDS)
        job = services.jobs.get(job_id) or job
    answer = creation_answer(job)
    return Answer(answer.status_code, {**answer.body, "repeated": True}) if repeated else answer


def _is_undecided(job: Job) -> bool:
    return job.request_outcome is RequestOutcome.UNDECIDED


def creation_answer(job: Job) -> Answer:
    """The answer to the request for this job."""
    match job.request_outcome:
        case RequestOutcome.UNDECIDED:
            begun = ESTIMATING if job.dry_run else CREATING
            asked_again = {"idempotencyKey": job.job_id}
            return Answer(202, {"message": begun, "jobId": job.job_id, **asked_again, "status": job.status})
        case RequestOutcome.INVALID:
            return Answer(400, {"message": INVALID, "problems": [*job.problems]})
        case RequestOutcome.DIED:
            return _refusal(job, job.message)
        case RequestOutcome.REFUSED:
            return _refusal(job, job.reason)
        case RequestOutcome.ESTIMATED:
            estimated = {
                "message": ESTIMATED,
                "violationCount": job.violation_count,
                "estimate": job.estimate,
                "dryRun": True,
            }
            return Answer(200, {**estimated, **_if_given(job, "reason", "emptiedBy", "filters", "heldBy")})
        case RequestOutcome.NOTHING:
            nothing = {"message": NOTHING, "violationCount": 0}
            return Answer(200, {**nothing, **_if_given(job, "emptiedBy", "filters", "heldBy")})
        case RequestOutcome.CREATED:
            created = {
                "message": CREATED,
                "jobId": job.job_id,
                "jobArn": job.job_arn,
                "violationCount": job.violation_count,
                "status": job.status,
            }
            return Answer(200, {**created, **_if_given(job, "estimate", "expectedCompletion", "retryOf")})


def _refusal(job: Job, reason: str) -> Answer:
    body = {"message": REFUSED, "reason": reason, "jobId": job.job_id, "violationCount": job.violation_count}
    if job.shortfall is not None:
        return Answer(422, {**body, "shortfall": job.shortfall})
    return Answer(502, body)


def _if_given(job: Job, *wanted: str) -> dict[str, Any]:
    return {name: value for name, value in item_of_job(job).items() if name in wanted}


def list_jobs(status: str | None, limit: int, cursor: str, services: AdminServices) -> Answer:
    """Newest first. Raises InvalidInputError."""
    problems = []
    known = {one.value: one for one in JobStatus}
    if status is not None and status not in known:
        problems.append(Problem("status", f'"{status[:60]}"', "no such status", f"write one of {', '.join(known)}"))
    problems += _problems_of_limit(limit, MOST_LISTED)
    if problems:
        raise InvalidInputError(problems)
    try:
        page = services.jobs.list_jobs(None if status is None else known[status], limit, cursor)
    except ValueError as error:
        fix = "pass nextCursor of the page before, with the same status"
        raise InvalidInputError([Problem("cursor", "", str(error), fix)]) from None
    return Answer(200, {"jobs": [_summary(job) for job in page.jobs], "nextCursor": page.cursor or None})


def _problems_of_limit(limit: int, most: int) -> list[Problem]:
    if 1 <= limit <= most:
        return []
    return [Problem("limit", str(limit), "out of range", f"write a number from 1 to {most}")]


def get_records(job_id: str, limit: int, cursor: str, services: AdminServices) -> Answer:
    """A page of the job's records, in the order of its input. Raises UnknownJobError, InvalidInputError."""
    problems = _problems_of_limit(limit, MOST_RECORDS)
    if problems:
        raise InvalidInputError(problems)
    job = _job(job_id, services)
    try:
        page = list_records(job, services.jobs.parts(job_id), limit, cursor, services.records)
    except ValueError as error:
        fix = "pass nextCursor of the page before, of the same job"
        raise InvalidInputError([Problem("cursor", "", str(error), fix)]) from None
    return Answer(200, {"records": page.records, "nextCursor": page.cursor or None})


def _summary(job: Job) -> dict[str, Any]:
    item = item_of_job(job)
    return {name: item.get(name) for name in _SUMMARY_FIELDS}


def get_job(job_id: str, services: AdminServices) -> Answer:
    """The job's item, its parts, and ``recordCounts`` as Bedrock has them now. Raises UnknownJobError."""
    job = _end_dead_estimate(_job(job_id, services, estimates=True), services)
    parts = services.jobs.parts(job_id)
    item = item_of_job(job)
    body: dict[str, Any] = {name: value for name, value in item.items() if name not in HIDDEN}
    body["processedAt"] = item.get("processedAt")
    body["parts"] = [
        {name: value for name, value in item_of_part(part).items() if name in _PART_FIELDS} for part in parts
    ]
    body["recordCounts"] = _record_counts(job, parts, services)
    return Answer(200, body)


def _end_dead_estimate(job: Job, services: AdminServices) -> Job:
    """End an estimate whose processor died. No schedule checks estimates, so this happens when a user asks for it."""
    now = _now(services)
    if not job.dry_run or not job.is_in_progress or now - job.created_at < CREATION_TIME:
        return job
    ended = replace(job, status=JobStatus.FAILED, message=ESTIMATE_DIED, processed_at=now)
    services.jobs.change(job, ended, only_if=(Guard.STATUS,))
    return services.jobs.get(job.job_id) or job


def _now(services: AdminServices) -> datetime:
    return names.moment_at(services.clock.now_ms())


def _record_counts(job: Job, parts: Sequence[Part], services: AdminServices) -> dict[str, int]:
    """Bedrock's own counts while a job runs, because they are ahead of the results; after that, the results."""
    stats = job.stats
    taken = {
        "total": job.violation_count,
        "processed": stats.processed + stats.errors,
        "succeeded": stats.processed,
        "failed": stats.errors,
    }
    arns = [part.job_arn for part in parts if part.job_arn]
    if not job.is_in_progress or not arns:
        return taken
    try:
        with ThreadPoolExecutor(THREADS) as threads:
            found: list[BatchInferenceJob] = list(threads.map(services.batch.get, arns))
    except BatchProcessorError as error:
        LOGGER.warning("no live counts", extra={"job_id": job.job_id, "why": str(error)})
        return taken
    return {
        "total": job.violation_count,
        "processed": sum(one.processed for one in found),
        "succeeded": sum(one.succeeded for one in found),
        "failed": sum(one.failed for one in found),
    }


def stop_job(job_id: str, services: AdminServices) -> Answer:
    """Request the end of a job. Its results so far are kept. Raises UnknownJobError."""
    job = _job(job_id, services)
    stopping = replace(job, stop_requested_at=_now(services))
    if not job.is_in_progress or not services.jobs.change(job, stopping, only_if=(Guard.STATUS,)):
        job = services.jobs.get(job_id) or job
        return Answer(200, {"message": HAS_ENDED, "jobId": job_id, "status": job.status})
    services.reconciler.call({"jobId": job_id})
    return Answer(202, {"message": STOPPING, "jobId": job_id, "status": job.status})


def _job(job_id: str, services: AdminServices, *, estimates: bool = False) -> Job:
    is_wanted = names.is_job_id(job_id) and (estimates or not names.is_estimate(job_id))
    job = services.jobs.get(job_id) if is_wanted else None
    if job is None:
        raise UnknownJobError(f"There is no job {job_id[:100]}: jobs are kept for 30 days, estimates for a day.")
    return job
