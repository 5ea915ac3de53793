"""Updates a job's items from Bedrock, the output objects and the claims.

``reconcile`` can run at any time and any number of times. Three things call it: the EventBridge event "Batch Inference
Job State Change" (https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-eventbridge.html), the result
function when an object is done, and a schedule over all jobs that are not settled. So a lost event loses nothing.

1. It reads status and message of the parts that are with Bedrock, and the tokens of ``manifest.json.out`` at their end.
2. It submits queued parts, up to the quota of concurrent jobs.
3. It gives output objects that no call has taken, or whose call died, to the result function again.
4. It counts each record once, whichever objects answer it. When all parts have ended and all their objects are taken,
   it ends the job as Completed or Failed, writes the records without an answer to ``bedrock-batches/errors/<jobId>/``,
   and publishes one message.

A job is Completed when each part ended Completed or PartiallyCompleted (or was run on demand) and at least one record
has content. Otherwise it is Failed, with the reason in ``message``. Existing results are kept either way.

A job that has ended without content settles here. A job with content settles when the lake has it (``results.settle``).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import orjson

from bedrock_batches.results.failures import failure_groups
from bedrock_batches.results.job_counts import with_counts
from bedrock_batches.results.job_end import announcement, write_unanswered
from bedrock_batches.results.messages import ReconcileJob, TakeObjects
from bedrock_batches.results.part_progress import has_output, status_of_job, troubles_of
from bedrock_batches.results.ports import Claim, Claims, ResultObject, ResultObjects
from bedrock_batches.results.result_keys import MANIFEST, output_key
from bedrock_batches.submit.job import (
    BEDROCK_FINAL,
    CREATION_TIME,
    BedrockStatus,
    Creation,
    FailureGroup,
    Job,
    JobStatus,
    Part,
    PartStatus,
)
from bedrock_batches.submit.names import moment_at, on_demand_lease, output_prefix, part_of_name
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.submit.ports import BatchInference, FunctionCaller, Guard, JobsTable, all_jobs
from bedrock_batches.submit.run_on_demand import GIVE_UP_TIME
from bedrock_batches.submit.submit_parts import cancel_queued, submit_queued
from foundation.errors import ObjectNotFoundError, PermanentError
from foundation.ports import Clock, Deadline, Leases, Metrics, Notifier, ObjectStore

LOGGER = logging.getLogger("batch_processor.reconcile")

EVENT_SOURCE = "aws.bedrock"
NOTICE_TIME = timedelta(seconds=60)
"""Wait this long for the notification of an output object, then give the object to the result function from here."""
OUTPUT_TIME = timedelta(minutes=10)
"""Wait this long after the end of a part for its output, then end the job without it."""
LATE_OUTPUT_TIME = timedelta(days=1)
"""Look for announced output that did not come until this long after the end of the part."""
ON_DEMAND_TIME = GIVE_UP_TIME + timedelta(hours=1)
"""Wait this long for the output of an on-demand part. Its processor writes it, or gives up earlier."""
METRIC_DIMENSION = "bedrock_job_events"
LEASE_SECONDS = 120.0
LEASE_WAIT_SECONDS = 20.0
POLL_SECONDS = 0.5
RESERVE_SECONDS = 20.0


@dataclass(frozen=True)
class ReconcileServices:
    """The ports of reconciling.

    ``taker`` is the result function. ``processor`` is the function that creates jobs and asks for records on demand.
    ``owner`` names this call.
    """

    jobs: JobsTable
    claims: Claims
    batch: BatchInference
    results: ResultObjects
    objects: ObjectStore
    leases: Leases
    taker: FunctionCaller
    processor: FunctionCaller
    notifier: Notifier
    clock: Clock
    deadline: Deadline
    owner: str
    quotas: Quotas
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The state of a job after a call. ``busy`` means that another call reconciles it, and this one did nothing."""

    job_id: str
    status: str = ""
    bedrock_status: str = ""
    submitted: int = 0
    given: list[str] = field(default_factory=list)
    busy: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "jobId": self.job_id,
            "status": self.status,
            "bedrockStatus": self.bedrock_status,
            "submitted": self.submitted,
            "given": self.given,
            "busy": self.busy,
        }


def reconcile_event(event: Mapping[str, Any], services: ReconcileServices) -> list[Reconciled]:
    """Reconcile the job of a Bedrock event or of ``ReconcileJob``; with any other event (a schedule's) all that are not
    settled.

    One job's error, of whatever kind, does not keep the others from their turn; the first is raised at the end.
    """
    done: list[Reconciled] = []
    failure: Exception | None = None
    for job_id in _job_ids(event, services.jobs):
        if services.deadline.remaining_seconds() <= RESERVE_SECONDS:
            LOGGER.warning("out of time: the next schedule goes on", extra={"next_job_id": job_id})
            break
        try:
            done.append(reconcile(job_id, services))
        except Exception as error:
            LOGGER.exception("job not reconciled", extra={"job_id": job_id})
            failure = failure or error
        else:
            LOGGER.info("job reconciled", extra=done[-1].document())
    if failure is not None:
        raise failure
    return done


def _job_ids(event: Mapping[str, Any], jobs: JobsTable) -> list[str]:
    if "jobId" in event:
        return [ReconcileJob.model_validate(event).job_id]
    if event.get("source") == EVENT_SOURCE:
        named = part_of_name(str(event.get("detail", {}).get("batchJobName", "")))
        return [named[0]] if named else []
    open_jobs = sorted({*(job.job_id for job in all_jobs(jobs, JobStatus.IN_PROGRESS)), *jobs.in_flight()})
    # In random order, so that no job always comes last when there is not enough time for all.
    random.shuffle(open_jobs)
    return open_jobs


def reconcile(job_id: str, services: ReconcileServices) -> Reconciled:
    """Reconcile a job, one call at a time. Does nothing for a job that does not exist."""
    lease = f"reconcile#{job_id}"
    until_ms = services.clock.now_ms() + int(LEASE_WAIT_SECONDS * 1000)
    while not services.leases.acquire(lease, services.owner, LEASE_SECONDS):
        if services.clock.now_ms() >= until_ms or services.deadline.remaining_seconds() <= RESERVE_SECONDS:
            return Reconciled(job_id, busy=True)
        services.clock.sleep(POLL_SECONDS)
    try:
        job = services.jobs.get(job_id)
        if job is None:
            services.jobs.leave_in_flight(job_id)
            return Reconciled(job_id)
        if job.dry_run:
            return Reconciled(job_id)
        if job.ttl is not None and job.settled_at is None and job_id in services.jobs.in_flight():
            services.jobs.reopen(job_id)  # In an earlier release, a job began to expire at its creation.
        return _Job(job, services).reconcile()
    finally:
        services.leases.release(lease, services.owner)


class _Job:
    """One call's work on one job."""

    def __init__(self, job: Job, services: ReconcileServices) -> None:
        self._job = job
        self._job_id = job.job_id
        self._services = services
        self._now = moment_at(services.clock.now_ms())
        self._parts = services.jobs.parts(self._job_id)
        self._claims: list[Claim] = []

    def reconcile(self) -> Reconciled:
        services = self._services
        if self._job.creation is Creation.PENDING and not self._creation_died():
            return self._unchanged()
        self._parts = [self._follow(part) if part.status is PartStatus.SUBMITTED else part for part in self._parts]
        queued = _queued(self._parts)
        if self._job.creation is not Creation.PENDING:
            self._parts = submit_queued(self._job, services)
            if self._job.creation is Creation.WRITTEN and self._processor_is_dead():
                # It only had to submit parts and note that.
                self._change(replace(self._job, creation=Creation.DONE))
        self._claims = services.claims.of_job(self._job_id)
        if not self._parts and not self._claims and self._job.creation is not Creation.PENDING:
            return self._unchanged()
        untaken = self._give_untaken()
        can_come = any(self._can_still_come(part, untaken.parts) for part in self._parts)
        waiting = [self._waits_for_output(part, untaken.parts) for part in self._parts]
        ended = all(part.status.is_final for part in self._parts) and not untaken.waiting and not any(waiting)
        bedrock_status = status_of_job(self._parts, self._job.bedrock_status)
        counted = replace(
            with_counts(self._job, self._parts, self._claims),
            bedrock_status=bedrock_status,
            job_arn=next((part.job_arn for part in self._parts if part.job_arn), self._job.job_arn),
        )
        status = self._conclude(counted) if ended else self._note_progress(counted)
        if ended and not can_come and self._job.settled_at is None and not counted.stats.processed:
            services.jobs.settle(self._job_id, self._now)
        return Reconciled(self._job_id, status, bedrock_status, queued - _queued(self._parts), untaken.given)

    def _unchanged(self) -> Reconciled:
        return Reconciled(self._job_id, self._job.status, self._job.bedrock_status)

    def _creation_died(self) -> bool:
        """Give up parts that a dead processor had not submitted."""
        if not self._processor_is_dead():
            return False
        self._parts = cancel_queued(self._parts, self._services)
        return True

    def _processor_is_dead(self) -> bool:
        """Whether the processor is dead, because it has not finished in its time."""
        return self._now - self._job.created_at >= CREATION_TIME

    # --- 1 parts

    def _follow(self, part: Part) -> Part:
        found = self._services.batch.get(part.job_arn)
        if self._job.stop_requested_at and found.status not in BEDROCK_FINAL | {BedrockStatus.STOPPING}:
            self._services.batch.stop(part.job_arn)
        after = replace(part, bedrock_status=found.status, message=found.message or part.message)
        if found.status in BEDROCK_FINAL:
            ended = replace(after, status=PartStatus.ENDED, ended_at=self._now, processed_count=found.processed)
            after = self._with_manifest(ended)
        return self._change_part(part, after)

    def _with_manifest(self, part: Part) -> Part:
        """The part with tokens as Bedrock counts them; without if there is no manifest, as after a job that never
        began.

        https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html
        """
        key = f"{output_prefix(self._job_id)}{part.job_arn.rpartition('/')[2]}/{MANIFEST}"
        try:
            manifest = orjson.loads(self._services.objects.get(key))
        except (ObjectNotFoundError, orjson.JSONDecodeError):
            return part
        told = manifest if isinstance(manifest, dict) else {}
        counts = told.get("inputTokenCount"), told.get("outputTokenCount")
        # Without both counts, the tokens come from the answers.
        if not all(map(_is_count, counts)):
            return part
        return replace(part, input_tokens=counts[0], output_tokens=counts[1])

    def _change_part(self, before: Part, after: Part) -> Part:
        """The part as it is stored."""
        if before == after:
            return before
        return after if self._services.jobs.change_part(before, after, only_if=(Guard.STATUS,)) else before

    # --- 3 results

    def _give_untaken(self) -> _Untaken:
        """Give objects that make no progress to the result function."""
        claims = {(claim.key, claim.etag): claim for claim in self._claims}
        now_ms = self._services.clock.now_ms()
        untaken = _Untaken()
        for result in self._services.results.list_objects(output_prefix(self._job_id)):
            whose = output_key(result.key)
            if whose is None:
                continue
            untaken.parts.add(whose.part)
            claim = claims.get((result.key, result.etag))
            if claim is not None and claim.done:
                continue
            untaken.waiting = True
            if self._stands_still(result, claim, now_ms):
                untaken.given.append(result.key)
        if untaken.given:
            self._services.taker.call(TakeObjects(keys=tuple(untaken.given)).payload())
        return untaken

    def _stands_still(self, result: ResultObject, claim: Claim | None, now_ms: int) -> bool:
        if claim is not None:
            return not claim.is_leased(now_ms)
        return self._now - result.last_modified >= NOTICE_TIME

    def _waits_for_output(self, part: Part, with_output: set[int | None]) -> bool:
        """Whether the job waits for output of this part. Calls the processor if no call asks for its records."""
        if not _lacks_output(part, with_output):
            return False
        since_end = self._now - (part.ended_at or self._job.created_at)
        is_late = since_end >= (ON_DEMAND_TIME if part.is_on_demand else OUTPUT_TIME)
        if part.is_on_demand and is_late and self._job.stop_requested_at:
            # The call that asked died, and no later call has noted the stop.
            stopped = self._change_part(part, replace(part, bedrock_status=BedrockStatus.STOPPED))
            self._parts = [stopped if one is part else one for one in self._parts]
        if part.is_on_demand and not is_late and self._nobody_asks():
            self._services.processor.call({"jobId": self._job_id})
        return not is_late

    def _can_still_come(self, part: Part, with_output: set[int | None]) -> bool:
        since_end = self._now - (part.ended_at or self._job.created_at)
        return _lacks_output(part, with_output) and since_end < LATE_OUTPUT_TIME

    def _nobody_asks(self) -> bool:
        """Whether no call asks for the records of this on-demand job, although its processor has had its time."""
        if not self._processor_is_dead():
            return False
        lease, owner = on_demand_lease(self._job_id), self._services.owner
        if not self._services.leases.acquire(lease, owner, POLL_SECONDS):
            return False
        self._services.leases.release(lease, owner)
        return True

    # --- 4 the job

    def _change(self, after: Job) -> None:
        if after != self._job:
            self._services.jobs.change(self._job, after)
            self._job = after

    def _note_progress(self, counted: Job) -> JobStatus:
        if self._job.is_in_progress:
            self._change(counted)
        elif self._job.outputs_taken:
            self._services.jobs.reopen(self._job_id)  # Output came after the end.
        return self._job.status

    def _conclude(self, counted: Job) -> JobStatus:
        """Write the end of the job. A job that had already ended only gets late results."""
        had_ended = not self._job.is_in_progress
        if had_ended and not self._claims:
            self._change(replace(self._job, outputs_taken=True))
            return self._job.status
        reasons = self._reasons(counted)
        ended = replace(
            counted,
            status=JobStatus.FAILED if reasons else JobStatus.COMPLETED,
            message=" ".join(reasons),
            outputs_taken=True,
            processed_at=self._job.processed_at if had_ended else self._now,
        )
        if ended == self._job:
            return ended.status
        write_unanswered(self._job_id, self._parts, self._claims, self._services.objects)
        ended = replace(ended, failures=self._failures(ended, tell=not had_ended))
        if self._job.settled_at is not None:
            # Its results came late, so the lake gets them first.
            self._services.jobs.reopen(self._job_id)
            self._job = self._services.jobs.get(self._job_id) or self._job
            ended = replace(ended, settled_at=self._job.settled_at, ttl=self._job.ttl)
        if not had_ended:
            try:
                # Publish before the end is written. If this call is killed in between, the next one publishes again.
                self._services.notifier.publish(*announcement(ended))
            except PermanentError:
                # A missing topic must not keep the job open, because no other job could take its records.
                LOGGER.exception("end not announced", extra={"job_id": self._job_id})
        self._change(ended)
        return ended.status

    def _failures(self, ended: Job, *, tell: bool) -> tuple[FailureGroup, ...]:
        """The reasons of records without content. With ``tell``, their share becomes a metric that has an alarm."""
        if tell and ended.stats.total:
            percent = 100 * ended.stats.errors / ended.stats.total
            self._services.metrics.put(METRIC_DIMENSION, {"FailedRecordsPercent": (percent, "Percent")})
        return failure_groups(self._job_id, self._services.objects) if ended.stats.errors else ()

    def _reasons(self, counted: Job) -> list[str]:
        """The reasons why the job has failed, as sentences; empty if it has not failed."""
        troubles = troubles_of(self._parts)
        if counted.creation is Creation.PENDING:
            died = "The processor ended before the job was created completely: see its log, then create the job again"
            return [f"{died} or retry it.", *troubles]
        if troubles or counted.stats.processed:
            return troubles
        return [
            "No record got content: `failures` of the job has the reasons, bedrock-batches/errors/ that of each record."
        ]


@dataclass
class _Untaken:
    """Output objects that are not taken yet.

    ``waiting`` says whether there are any. ``given`` are those that were given to the result function. ``parts`` have
    an output object, taken or not; None stands for an object of all parts.
    """

    waiting: bool = False
    given: list[str] = field(default_factory=list)
    parts: set[int | None] = field(default_factory=set)


def _lacks_output(part: Part, with_output: set[int | None]) -> bool:
    return part.status is PartStatus.ENDED and has_output(part) and not with_output & {part.number, None}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _queued(parts: list[Part]) -> int:
    return sum(part.status is PartStatus.QUEUED for part in parts)
