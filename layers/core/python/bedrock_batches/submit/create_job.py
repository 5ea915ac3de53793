"""Creates a batch job: selects records, writes the input, cuts it into parts and submits them to Bedrock.

The job's item exists before (``submit.job.new_job``). Another call for the same job continues where the earlier call
ended, so Lambda can repeat the call. Until the job is WRITTEN, nothing has been submitted, and the next call starts
again with the same keys. After that, only queued parts are submitted, each with a token that Bedrock accepts once.

Selections run one at a time, under the lease ``create``. A selection notes its records as in flight before it releases
the lease, so no record is in two jobs.
"""

from __future__ import annotations

import errno
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bedrock_batches.request.job_config import JobConfig, stored_config
from bedrock_batches.request.models import Models
from bedrock_batches.submit import names
from bedrock_batches.submit.draft import Draft
from bedrock_batches.submit.draft_records import draft_records, leave_to_sync
from bedrock_batches.submit.job import (
    SCHEMA_VERSION,
    BedrockStatus,
    Creation,
    Job,
    JobStatus,
    Part,
    PartStatus,
    Stats,
    expected_completion,
)
from bedrock_batches.submit.parts import Quotas, Span, cut
from bedrock_batches.submit.ports import (
    BatchInference,
    Contents,
    FunctionCaller,
    Guard,
    JobRefusedError,
    JobsTable,
    OnDemand,
    ViolationsLake,
)
from bedrock_batches.submit.records_in_flight import write_in_flight
from bedrock_batches.submit.run_on_demand import run_on_demand
from bedrock_batches.submit.spending import spent
from bedrock_batches.submit.submit_parts import cancel_queued, submit_queued
from foundation.errors import DeploymentError, InvalidInputError, PermanentError, ThrottledError
from foundation.ports import Clock, Deadline, Leases, ObjectStore

LOGGER = logging.getLogger("batch_processor.create_job")

NOTHING = "No violations to process"
REFUSED = "Failed to create batch job"
CREATED = "Batch job created successfully"
ESTIMATED = "Cost estimation complete"

WORK_SECONDS = 150.0
"""Seconds that a creation needs after it has the lease. A call with less time left stops waiting for the lease."""
POLL_SECONDS = 0.5
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class CreateServices:
    """The ports of a creation. ``owner`` identifies this call and is unique. ``again`` invokes this function again."""

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


def create_job(job_id: str, services: CreateServices) -> Job:
    """Create the job. Returns it as it is stored afterwards, with the problems of the request or the reason for a
    refusal.

    Raises RetryableError, after which another call continues, and DeploymentError after noting it in the job.
    """
    job = services.jobs.get(job_id)
    if job is None:
        raise PermanentError(f"There is no job {job_id}: it was deleted, or never requested.")
    try:
        if _is_open(job) and job.creation is Creation.PENDING:
            job = _prepare(job, services)
        if _is_open(job):
            _start(job, services)
    except InvalidInputError as error:
        problems = [{"path": p.path, "value": p.value, "message": p.message, "fix": p.fix} for p in error.problems]
        _fail(job, replace(job, problems=problems, reason=str(error)), services)
    except JobRefusedError as error:
        LOGGER.warning("job refused", extra={"job_id": job_id, "why": str(error)})
        _fail(job, replace(job, reason=str(error)), services)
    except PermanentError as error:
        LOGGER.exception("creation failed", extra={"job_id": job_id})
        _fail(job, replace(job, reason=str(error)), services)
        if isinstance(error, DeploymentError):
            raise
    return services.jobs.get(job_id) or job


def _is_open(job: Job) -> bool:
    """On-demand work stays open until its answers are taken, although the creation is done."""
    return job.is_in_progress and (job.creation is not Creation.DONE or bool(job.on_demand))


@contextmanager
def _holding(lease: str, services: CreateServices, busy: ThrottledError) -> Iterator[None]:
    """Hold the lease for the rest of this call. Raises ``busy`` if others hold it all the time."""
    while not services.leases.acquire(lease, services.owner, services.deadline.remaining_seconds()):
        if services.deadline.remaining_seconds() < WORK_SECONDS:
            raise busy
        services.clock.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        services.leases.release(lease, services.owner)


def _prepare(job: Job, services: CreateServices) -> Job:
    if job.dry_run:
        _draft_and_plan(job, services)
    else:
        busy = ThrottledError("Other calls hold the lease on creations: this one is retried.")
        with _holding(names.CREATE_LEASE, services, busy):
            # Another call for the same job can have held the lease before.
            job = services.jobs.get(job.job_id) or job
            if _is_open(job) and job.creation is Creation.PENDING:
                _draft_and_plan(job, services)
    return services.jobs.get(job.job_id) or job


# --- the records of the job


def _draft_and_plan(job: Job, services: CreateServices) -> None:
    config = stored_config(job.config)
    with tempfile.TemporaryDirectory(prefix="job-") as name:
        folder = Path(name)
        try:
            in_flight = write_in_flight(services, folder, but=job.job_id)
            while not _draft(job, config, folder, in_flight, services):
                pass
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise PermanentError(
                "The records and those in flight do not fit into /tmp: lower limits.maxViolations."
            ) from error


def _draft(job: Job, config: JobConfig, folder: Path, in_flight: list[Path], services: CreateServices) -> bool:
    """Draft the job and decide whether to run it. Returns False if it must be drafted again.

    The lake says which records have no content. The table that holds the content can know more: content that is not
    merged yet must not be paid for again. Such records join those in flight, and the next draft takes others.
    """
    with Draft(folder) as draft:
        drafted = draft_records(job, config, in_flight, draft, services)
        draft.put_in_order()
        draft.cut_after(spent(draft.tokens, config, services.models, on_demand=False).count)
        found = services.contents.with_content(draft.violation_ids())
        if found:
            in_flight.append(leave_to_sync(found, job, folder / f"content-found-{len(in_flight)}.txt", services))
            return False
        _decide(job, drafted, config, draft, services)
    return True


# --- the decision


def _decide(job: Job, drafted: Job, config: JobConfig, draft: Draft, services: CreateServices) -> None:
    """End the job, answer the estimate, or write a job with files and parts. ``job`` is as it is stored, ``drafted`` is
    what the selection found."""
    quotas, on_demand = services.quotas.of(services.models.get(str(config.batch.model_id))), False
    spans = cut(draft.sizes, quotas)
    taken = draft.tokens[: spans[-1].end] if spans else draft.tokens
    spend = spent(taken, config, services.models, on_demand=False)
    if len(draft) == 0:
        emptied_by = drafted.emptied_by or "maxSpendUSD"
        _end_empty(job, replace(drafted, estimate=spend.estimate(), emptied_by=emptied_by), services)
        return
    shortfall = ""
    if not spans and len(draft) >= quotas.minimum_records:
        raise JobRefusedError(
            f"An input file of {quotas.bytes_per_file:,} bytes cannot hold {quotas.minimum_records:,} records, the "
            "minimum of a batch inference job: correct the deployment's quotas."
        )
    if not spans and config.batch.on_demand_below_minimum:
        on_demand = True
        spend = spent(draft.tokens, config, services.models, on_demand=True)
        spans = [Span(1, 0, spend.count)] if spend.count else []
        if not spans:
            _end_empty(job, replace(drafted, estimate=spend.estimate(), emptied_by="maxSpendUSD"), services)
            return
    elif not spans:
        shortfall = _shortfall(len(draft), quotas)
    planned = replace(
        drafted,
        violation_count=spend.count,
        estimate=spend.estimate(),
        price=spend.rate,
        model_id=str(config.batch.model_id),
        on_demand=on_demand,
    )
    if job.dry_run:
        _end(job, replace(planned, message=ESTIMATED, reason=shortfall), services)
    elif shortfall:
        services.jobs.change(job, replace(planned, shortfall=quotas.minimum_records - len(draft)))
        raise JobRefusedError(shortfall)
    else:
        _write(job, planned, config, draft, spans, services)


def _shortfall(count: int, quotas: Quotas) -> str:
    least = quotas.minimum_records
    return (
        f"{count:,} records are selected, and a batch inference job takes at least {least:,}: {least - count:,} are "
        "missing. Widen the filters or the limits, or set batch.onDemandBelowMinimum to run them at once at the "
        "on-demand price."
    )


def _write(
    job: Job, planned: Job, config: JobConfig, draft: Draft, spans: list[Span], services: CreateServices
) -> None:
    """Write the parts with their files, then the plan."""
    job_id = job.job_id
    parts = [_part(planned, span, config, draft.upload(job_id, span, services.objects), services) for span in spans]
    services.jobs.put_parts(job_id, parts)
    services.jobs.enter_in_flight(job_id)
    written = replace(
        planned,
        schema_version=SCHEMA_VERSION,
        creation=Creation.WRITTEN,
        part_count=len(parts),
        stats=Stats(total=planned.violation_count),
        expected_completion=expected_completion(
            job.created_at, len(parts), services.quotas.concurrent_jobs, on_demand=bool(planned.on_demand)
        ),
    )
    if not services.jobs.change(job, written, only_if=(Guard.CREATION, Guard.STATUS)):
        # The answer to our own write can be lost and repeated by the SDK; or another call wrote the same for this job.
        now = services.jobs.get(job_id) or job
        if not now.is_in_progress or now.creation is Creation.PENDING:
            services.jobs.leave_in_flight(job_id)
            raise PermanentError(f"Job {job_id} was ended while it was being created.")
    LOGGER.info("job written", extra={"job_id": job_id, "records": planned.violation_count, "parts": len(parts)})


def _part(job: Job, span: Span, config: JobConfig, size_bytes: int, services: CreateServices) -> Part:
    """The part before its submission. A part that runs on demand has already ended for Bedrock."""
    part = Part(
        job_id=job.job_id,
        number=span.number,
        status=PartStatus.QUEUED,
        job_name=names.part_name(job.job_id, span.number),
        input_key=names.input_key(job.job_id, span.number),
        records_key=names.records_key(job.job_id, span.number),
        record_count=span.count,
        size_bytes=size_bytes,
        model_id=job.model_id,
        timeout_hours=config.batch.timeout_hours,
    )
    if not job.on_demand:
        return part
    return replace(part, status=PartStatus.ENDED, bedrock_status=BedrockStatus.ON_DEMAND, ended_at=_now(services))


def _start(job: Job, services: CreateServices) -> None:
    job_id = job.job_id
    parts = submit_queued(job, services)
    statuses = {part.status for part in parts}
    if statuses == {PartStatus.REFUSED}:
        raise JobRefusedError(parts[0].message)
    if statuses == {PartStatus.CANCELLED}:
        reason = "The job was stopped before any record was submitted."
        _fail(job, replace(job, reason=reason, bedrock_status=BedrockStatus.STOPPED), services)
        return
    services.jobs.change(job, replace(job, creation=Creation.DONE, bedrock_status=_first_status(job, statuses)))
    if job.on_demand:
        busy = ThrottledError("Another call runs the records of this job on demand: this one is retried.")
        with _holding(names.on_demand_lease(job_id), services, busy):
            # The call that held the lease before can have ended the job.
            all_asked = not _is_open(services.jobs.get(job_id) or job) or run_on_demand(job, services)
        if not all_asked:
            services.again.call({"jobId": job_id})


def _first_status(job: Job, statuses: set[PartStatus]) -> BedrockStatus:
    if job.on_demand:
        return BedrockStatus.ON_DEMAND
    return BedrockStatus.SUBMITTED if PartStatus.SUBMITTED in statuses else BedrockStatus.QUEUED


# --- ends without a Bedrock job


def _end_empty(job: Job, after: Job, services: CreateServices) -> None:
    _end(job, replace(after, violation_count=0, message=ESTIMATED if job.dry_run else NOTHING), services)


def _end(job: Job, after: Job, services: CreateServices) -> None:
    """End a job without records, or an estimate."""
    ended = replace(after, status=JobStatus.COMPLETED, creation=Creation.DONE, processed_at=_now(services))
    is_ended = services.jobs.change(job, ended, only_if=(Guard.CREATION,))
    # The answer to our own write can be lost and repeated by the SDK.
    if not job.dry_run and (
        is_ended or (services.jobs.get(job.job_id) or job).request_outcome is ended.request_outcome
    ):
        services.jobs.settle(job.job_id, _now(services))


def _fail(job: Job, after: Job, services: CreateServices) -> None:
    """End the job, unless Bedrock has records of it: then it continues with these."""
    parts = services.jobs.parts(job.job_id)
    if any(part.status is PartStatus.SUBMITTED for part in parts):
        return
    ended = replace(
        after, status=JobStatus.FAILED, creation=Creation.DONE, message=REFUSED, processed_at=_now(services)
    )
    failed = services.jobs.change(job, ended, only_if=(Guard.STATUS,))
    # The answer to our own write can be lost and repeated by the SDK.
    if failed or (services.jobs.get(job.job_id) or job).status is JobStatus.FAILED:
        cancel_queued(parts, services)
        if not job.dry_run:
            services.jobs.settle(job.job_id, _now(services))


def _now(services: CreateServices) -> datetime:
    return names.moment_at(services.clock.now_ms())
