"""Creates a batch job: selects, writes the input, cuts it into parts, gives them to Bedrock.

The item of the job exists before (``submit.job.new_job``). Calling again for the same job goes on where the
earlier call ended, so Lambda may repeat the call: until the job is WRITTEN nothing has left our hands and all is done
anew, over the same keys; afterwards only parts that are still queued are submitted, under tokens that Bedrock takes
once. Selections run one at a time, under the lease ``create``, and enter the job's records as in flight before they
give the lease back, so no record is in two jobs.
"""

from __future__ import annotations

import errno
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from bedrock_batches.request.job_config import JobConfig, stored_config
from bedrock_batches.request.models import Models
from bedrock_batches.select.selection import Criteria, Selection
from bedrock_batches.submit import job as names
from bedrock_batches.submit.draft import Draft
from bedrock_batches.submit.job import Creation, JobItem, JobStatus, PartItem, PartStatus
from bedrock_batches.submit.parts import Part, Quotas, cut
from bedrock_batches.submit.ports import (
    BatchInference,
    Contents,
    FunctionCaller,
    JobRefusedError,
    JobsTable,
    Leases,
    OnDemand,
    ViolationsLake,
)
from bedrock_batches.submit.pricing import Rate, Spend, flat_rate, model_rate
from bedrock_batches.submit.prompt import Inference, line_of, request_for, tokens_of_body
from bedrock_batches.submit.records_in_flight import ids_without_content, lines_of, write_in_flight
from bedrock_batches.submit.run_on_demand import run_on_demand
from bedrock_batches.submit.submit_parts import cancel_queued, submit_queued
from bedrock_batches.sync.sync_lake import FAILED_PREFIX, FailedItem, Kind
from bedrock_batches.violations import CONTENT_SORT_KEY, KEY_PREFIX, PROMPT_VERSION
from foundation.errors import DeploymentError, InvalidInputError, ObjectNotFoundError, PermanentError, ThrottledError
from foundation.ports import Clock, Deadline, ObjectStore

LOGGER = logging.getLogger("batch_processor.create_job")

NOTHING = "No violations to process"
REFUSED = "Failed to create batch job"
CREATED = "Batch job created successfully"
ESTIMATED = "Cost estimation complete"

WORK_SECONDS = 150.0
"""What a creation may take of its call once it has the lease: no call waits for the lease into this time."""
POLL_SECONDS = 0.5
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class CreateServices:
    """What creating needs from outside; ``owner`` names this call, and no other call has the same. ``again`` is this
    function itself."""

    lake: ViolationsLake
    jobs: JobsTable
    objects: ObjectStore
    batch: BatchInference
    on_demand: OnDemand
    leases: Leases
    clock: Clock
    deadline: Deadline
    models: Models
    quotas: Quotas
    owner: str
    contents: Contents
    again: FunctionCaller


def create_job(job_id: str, services: CreateServices) -> JobItem:
    """The job's item as it is afterwards. What is wrong with the request, or refused, is in it.

    Raises RetryableError, and then goes on when called again; DeploymentError, once it is noted in the item.
    """
    job = services.jobs.get(job_id)
    if job is None:
        raise PermanentError(f"There is no job {job_id}: it was deleted, or its creation was never asked for.")
    try:
        if _is_open(job) and job["creation"] == Creation.PENDING:
            job = _prepare(job, services)
        if _is_open(job):
            _start(job, services)
    except InvalidInputError as error:
        problems = [{"path": p.path, "value": p.value, "message": p.message, "fix": p.fix} for p in error.problems]
        _fail(job, str(error), services, problems=problems)
    except JobRefusedError as error:
        LOGGER.warning("job refused", extra={"job_id": job_id, "why": str(error)})
        _fail(job, str(error), services)
    except PermanentError as error:
        LOGGER.exception("creation failed", extra={"job_id": job_id})
        _fail(job, str(error), services)
        if isinstance(error, DeploymentError):
            raise
    return services.jobs.get(job_id) or job


def _is_open(job: JobItem) -> bool:
    """On-demand work is open until its answers are taken, although the creation is done."""
    in_progress = job["status"] == JobStatus.IN_PROGRESS
    return in_progress and (job["creation"] != Creation.DONE or bool(job.get("onDemand")))


@contextmanager
def _holding(lease: str, services: CreateServices, busy: ThrottledError) -> Iterator[None]:
    """Hold the lease for what is left of this call. Raises ``busy`` when others hold it all the time."""
    while not services.leases.acquire(lease, services.owner, services.deadline.remaining_seconds()):
        if services.deadline.remaining_seconds() < WORK_SECONDS:
            raise busy
        services.clock.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        services.leases.release(lease, services.owner)


def _prepare(job: JobItem, services: CreateServices) -> JobItem:
    if job["dryRun"]:
        _draft_and_plan(job, services)
    else:
        busy = ThrottledError("Other batch jobs are being created all the time: this one is tried again.")
        with _holding(names.CREATE_LEASE, services, busy):
            # Another call for the same job may have held the lease before.
            job = services.jobs.get(job["jobId"]) or job
            if _is_open(job) and job["creation"] == Creation.PENDING:
                _draft_and_plan(job, services)
    return services.jobs.get(job["jobId"]) or job


# --- what the job takes


def _draft_and_plan(job: JobItem, services: CreateServices) -> None:
    config = stored_config(job["config"])
    with tempfile.TemporaryDirectory(prefix="job-") as name:
        folder = Path(name)
        try:
            in_flight = write_in_flight(services, folder, but=job["jobId"])
            while not _draft(job, config, folder, in_flight, services):
                pass
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise PermanentError(
                "The records and those in flight do not fit into /tmp: lower limits.maxViolations."
            ) from error


def _draft(job: JobItem, config: JobConfig, folder: Path, in_flight: list[Path], services: CreateServices) -> bool:
    """Draft the job, and decide what becomes of it. False when it is to be drafted again.

    The lake says which records have no content. The table that holds the content can know better: content that is not
    merged yet must not be paid for again. Such records join those in flight, and the next draft takes others.
    """
    with Draft(folder) as draft:
        if job.get("retryOf"):
            facts = _draft_retry(job["retryOf"], config, in_flight, draft, services)
        else:
            facts = _draft_selection(config, in_flight, draft, services)
        draft.put_in_order()
        draft.cut_after(_spent(draft, len(draft), config, services.models, on_demand=False).count)
        found = services.contents.with_content(draft.violation_ids())
        if found:
            in_flight.append(_leave_to_sync(found, job, folder / f"content-found-{len(in_flight)}.txt", services))
            return False
        _decide(job, config, draft, facts, services)
    return True


def _leave_to_sync(violation_ids: set[str], job: JobItem, path: Path, services: CreateServices) -> Path:
    """Keep these for ``bedrock_sync``, which merges what it finds under ``sync-failed/``; returns a file of them."""
    LOGGER.warning("content is not in the lake yet", extra={"job_id": job["jobId"], "records": len(violation_ids)})
    items = ({"PK": f"{KEY_PREFIX}{one}", "SK": CONTENT_SORT_KEY} for one in sorted(violation_ids))
    reason = "The lake lacks the content that is in VentureOS-Violations."
    lines = (FailedItem(item, reason, Kind.PASSING).line() for item in items)
    key = f"{FAILED_PREFIX}{job['createdAt'][:10]}/{job['jobId']}-{path.stem}.jsonl"
    services.objects.put(key, b"".join(lines))
    path.write_bytes(b"".join(names.records_line(one, key) for one in sorted(violation_ids)))
    return path


def _draft_selection(
    config: JobConfig, in_flight: list[Path], draft: Draft, services: CreateServices
) -> dict[str, Any]:
    """Fill the draft from the lake; returns what the job's item says of the selection."""
    today = datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC).date()
    limits = config.limits
    criteria = Criteria(config.filters.given(), today, limits.priority, limits.max_violations, limits.max_percent)
    inference = _inference(config)
    with services.lake.select(criteria, in_flight) as selection:
        for place, record in selection.records:
            request = request_for(record, inference)
            draft.add(
                place,
                request.line(),
                names.records_line(record.violation_id, record.agency),
                request.input_tokens,
            )
        return {"promptVersion": PROMPT_VERSION, **_selection_facts(selection)}


def _selection_facts(selection: Selection) -> dict[str, Any]:
    counts = selection.counts
    facts: dict[str, Any] = {"leftOut": {"inFlight": counts.in_flight, "unusableIds": counts.unusable_ids}}
    if selection.unusable_ids:
        facts["unusableIds"] = list(selection.unusable_ids)
    if selection.held_by:
        facts["heldBy"] = [
            {"holder": one.name, "records": one.records, "example": one.example} for one in selection.held_by
        ]
    if selection.count == 0:
        facts["emptiedBy"] = selection.emptied_by or "limits"
        facts["filters"] = [{"name": step.name, "remaining": step.remaining} for step in selection.filters]
    return facts


def _draft_retry(
    retried_id: str, config: JobConfig, in_flight: list[Path], draft: Draft, services: CreateServices
) -> dict[str, Any]:
    """Fill the draft with the records of an ended job that still have no content, as they were asked then but for
    ``maxTokens``. A job that failed before its records were written has them selected anew, by ``config``; a retry
    that did, those of the job that it retried.

    Another retry of that job, or another job, may have brought some of them content since: the table that holds the
    content says so, which the lake does only later.
    """
    retried = services.jobs.get(retried_id)
    if retried is None or retried["status"] == JobStatus.IN_PROGRESS:
        raise PermanentError(f"Job {retried_id} has not ended, or is gone: only a job that has ended can be retried.")
    if retried["status"] == JobStatus.FAILED and not services.jobs.parts(retried_id):
        if retried.get("retryOf"):
            return _draft_retry(retried["retryOf"], config, in_flight, draft, services)
        return _draft_selection(config, in_flight, draft, services)
    failed = ids_without_content(retried_id, services)
    wanted = failed - services.contents.with_content(failed)
    busy = _ids_among(wanted, in_flight)
    for violation_id, agency, line in _earlier_lines(retried_id, services):
        if violation_id not in wanted or violation_id in busy:
            continue
        request = orjson.loads(line)
        request["modelInput"]["inferenceConfig"]["maxTokens"] = config.batch.max_tokens
        tokens = tokens_of_body(request["modelInput"])
        draft.add(len(draft), line_of(request["modelInput"]), names.records_line(violation_id, agency), tokens)
    facts: dict[str, Any] = {
        "promptVersion": retried.get("promptVersion", PROMPT_VERSION),
        "leftOut": {"inFlight": len(busy), "unusableIds": 0},
    }
    if len(draft) == 0:
        facts["emptiedBy"] = "failed" if not failed else "notInFlight" if wanted else "withoutGeneratedContent"
    return facts


def _earlier_lines(job_id: str, services: CreateServices) -> Iterator[tuple[str, str, bytes]]:
    """Violation id, agency and input line of each record. Raises PermanentError once they have expired."""
    try:
        for part in services.jobs.parts(job_id):
            lines = lines_of(services.objects.read(part["inputKey"]))
            records = lines_of(services.objects.read(part["recordsKey"]))
            for line, record in zip(lines, records, strict=True):
                violation_id, agency = names.split_records_line(record.decode())
                yield violation_id, agency, line
    except ObjectNotFoundError:
        raise PermanentError(
            f"The input of job {job_id} is gone, since inputs are kept for a time only: create the job anew."
        ) from None


def _ids_among(wanted: set[str], files: list[Path]) -> set[str]:
    found: set[str] = set()
    for file in files:
        with file.open(encoding="utf-8", newline="\n") as lines:
            found.update(wanted.intersection(names.split_records_line(line)[0] for line in lines))
    return found


# --- what becomes of it


def _decide(job: JobItem, config: JobConfig, draft: Draft, facts: Mapping[str, Any], services: CreateServices) -> None:
    """Nothing to do, too little, an estimate, or a job with files and parts."""
    quotas, on_demand = services.quotas.of(services.models.get(str(config.batch.model_id))), False
    parts = cut(draft.sizes, quotas)
    spend = _spent(draft, parts[-1].end if parts else len(draft), config, services.models, on_demand=False)
    if len(draft) == 0:
        _end_empty(job, services, estimate=spend.estimate(), **{"emptiedBy": "maxSpendUSD", **facts})
        return
    shortfall = ""
    if not parts and len(draft) >= quotas.minimum_records:
        raise JobRefusedError(
            f"{quotas.minimum_records:,} records, the fewest of a batch inference job, have more than the "
            f"{quotas.bytes_per_file:,} bytes that it takes: correct the deployment's quotas."
        )
    if not parts and config.batch.on_demand_below_minimum:
        on_demand = True
        spend = _spent(draft, len(draft), config, services.models, on_demand=True)
        parts = [Part(1, 0, spend.count)] if spend.count else []
        if not parts:
            _end_empty(job, services, estimate=spend.estimate(), **{**facts, "emptiedBy": "maxSpendUSD"})
            return
    elif not parts:
        shortfall = _shortfall(len(draft), quotas)
    plan = {
        **facts,
        "violationCount": spend.count,
        "estimate": spend.estimate(),
        "price": spend.rate.document(),
        "modelId": config.batch.model_id,
        "onDemand": on_demand,
    }
    if job["dryRun"]:
        _end(job, services, message=ESTIMATED, reason=shortfall or None, **plan)
    elif shortfall:
        services.jobs.update(job["jobId"], {**plan, "shortfall": quotas.minimum_records - len(draft)})
        raise JobRefusedError(shortfall)
    else:
        _write(job, config, draft, parts, plan, services)


def _shortfall(count: int, quotas: Quotas) -> str:
    least = quotas.minimum_records
    return (
        f"{count:,} records are selected, and a batch inference job takes at least {least:,}: {least - count:,} are "
        "missing. Widen the filters or the limits, or set batch.onDemandBelowMinimum to run them at once at the "
        "on-demand price."
    )


def _write(
    job: JobItem,
    config: JobConfig,
    draft: Draft,
    parts: list[Part],
    plan: Mapping[str, Any],
    services: CreateServices,
) -> None:
    job_id, concurrent = job["jobId"], services.quotas.concurrent_jobs
    items: list[PartItem] = [
        {
            "jobId": job_id,
            "part": part.number,
            **_first_status(on_demand=plan["onDemand"], now=names.timestamp_ms(services.clock.now_ms())),
            "jobName": names.part_name(job_id, part.number),
            "inputKey": names.input_key(job_id, part.number),
            "recordsKey": names.records_key(job_id, part.number),
            "recordCount": part.count,
            "bytes": draft.upload(job_id, part, services.objects),
            "modelId": str(config.batch.model_id),
            "timeoutHours": config.batch.timeout_hours,
        }
        for part in parts
    ]
    services.jobs.put_parts(job_id, items)
    services.jobs.enter_in_flight(job_id)
    created_at = names.moment_of(job["createdAt"])
    expected = names.expected_completion(created_at, len(parts), concurrent, on_demand=plan["onDemand"])
    changes = {
        **plan,
        "schemaVersion": names.SCHEMA_VERSION,
        "creation": Creation.WRITTEN.value,
        "partCount": len(parts),
        "stats": {"processed": 0, "errors": 0, "total": plan["violationCount"]},
        "expectedCompletion": names.timestamp(expected),
    }
    if not services.jobs.update(
        job_id, changes, expected={"creation": Creation.PENDING.value, "status": job["status"]}
    ):
        # The answer of our own write can be lost, and the SDK repeats it; or another call wrote the same for this job.
        now = services.jobs.get(job_id) or job
        if now["status"] != JobStatus.IN_PROGRESS or now["creation"] == Creation.PENDING:
            services.jobs.leave_in_flight(job_id)
            raise PermanentError(f"Job {job_id} was ended while it was being created.")
    LOGGER.info("job written", extra={"job_id": job_id, "records": plan["violationCount"], "parts": len(parts)})


def _first_status(*, on_demand: bool, now: str) -> PartItem:
    if on_demand:
        return {"status": PartStatus.ENDED.value, "bedrockStatus": names.ON_DEMAND, "endedAt": now}
    return {"status": PartStatus.QUEUED.value}


def _start(job: JobItem, services: CreateServices) -> None:
    job_id = job["jobId"]
    parts = submit_queued(job, services)
    statuses = {part["status"] for part in parts}
    if statuses == {PartStatus.REFUSED}:
        raise JobRefusedError(parts[0]["message"])
    if statuses == {PartStatus.CANCELLED}:
        _fail(job, "The job was stopped before any record was submitted.", services, bedrockStatus="Stopped")
        return
    on_demand = job.get("onDemand")
    bedrock_status = names.ON_DEMAND if on_demand else "Submitted" if PartStatus.SUBMITTED in statuses else "Queued"
    services.jobs.update(job_id, {"creation": Creation.DONE.value, "bedrockStatus": bedrock_status})
    if on_demand:
        busy = ThrottledError("Another call asks for the records of this job: whether it ended is looked at again.")
        with _holding(names.on_demand_lease(job_id), services, busy):
            # The call that held the lease before may have ended the job.
            all_asked = not _is_open(services.jobs.get(job_id) or job) or run_on_demand(job, services)
        if not all_asked:
            services.again.call({"jobId": job_id})


def _end_empty(job: JobItem, services: CreateServices, **changes: Any) -> None:
    _end(job, services, message=ESTIMATED if job["dryRun"] else NOTHING, **changes)


def _end(job: JobItem, services: CreateServices, **changes: Any) -> None:
    """An end without any Bedrock job: nothing to do, or an estimate."""
    ended = {
        "status": JobStatus.COMPLETED.value,
        "creation": Creation.DONE.value,
        "processedAt": names.timestamp_ms(services.clock.now_ms()),
        "violationCount": 0,
    }
    ended_here = services.jobs.update(job["jobId"], {**ended, **changes}, expected={"creation": Creation.PENDING.value})
    if ended_here and not job["dryRun"]:
        services.jobs.settle(job["jobId"], _now(services))


def _now(services: CreateServices) -> datetime:
    return datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC)


def _fail(job: JobItem, reason: str, services: CreateServices, **changes: Any) -> None:
    """End the job, unless records of it are with Bedrock: then it goes on with these."""
    parts = services.jobs.parts(job["jobId"])
    if any(part["status"] == PartStatus.SUBMITTED for part in parts):
        return
    ended = {
        "status": JobStatus.FAILED.value,
        "creation": Creation.DONE.value,
        "message": REFUSED,
        "reason": reason,
        "processedAt": names.timestamp_ms(services.clock.now_ms()),
    }
    failed = services.jobs.update(job["jobId"], {**ended, **changes}, expected={"status": JobStatus.IN_PROGRESS.value})
    # The answer of our own write can be lost, and the SDK repeats it.
    if failed or (services.jobs.get(job["jobId"]) or job)["status"] == JobStatus.FAILED:
        cancel_queued(parts, services)
        if not job["dryRun"]:
            services.jobs.settle(job["jobId"], _now(services))


# --- price


def _inference(config: JobConfig) -> Inference:
    return Inference(config.batch.max_tokens, config.batch.temperature, config.batch.top_p)


def _rate(config: JobConfig, models: Models, *, on_demand: bool) -> Rate:
    if config.pricing is not None:
        return flat_rate(config.pricing.tokens_per_record, config.pricing.usd_per_1k_tokens, on_demand=on_demand)
    model_id = str(config.batch.model_id)
    if model_id not in models:
        raise DeploymentError(f"No price is configured for model {model_id}: add it to the deployment's models.")
    return model_rate(models[model_id], config.batch.max_tokens, on_demand=on_demand)


def _spend(config: JobConfig, models: Models, *, on_demand: bool) -> Spend:
    return Spend(_rate(config, models, on_demand=on_demand), Decimal(str(config.limits.max_spend_usd)))


def _spent(draft: Draft, count: int, config: JobConfig, models: Models, *, on_demand: bool) -> Spend:
    """The first ``count`` records of the draft, as far as the limit lets them through."""
    spend = _spend(config, models, on_demand=on_demand)
    for tokens in draft.tokens[:count]:
        if not spend.take(tokens):
            break
    return spend
