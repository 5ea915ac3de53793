"""Brings a job's items in line with what Bedrock, the output objects and the claims say (issue part 5).

``reconcile`` may run at any time and any number of times. It is driven by the EventBridge event "Batch Inference Job
State Change" (https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-eventbridge.html), by the result function
when an object is done, and by a schedule over all jobs that are not settled: nothing depends on an event that is lost.

1. Parts that are with Bedrock: status, message, and at their end the tokens of ``manifest.json.out``.
2. Queued parts are submitted while the quota of concurrent jobs allows.
3. Output objects that nobody has taken, or whose taker died, are given to the result function again.
4. Each record counts once, whichever and however many objects answer it. When all parts have ended and all their
   objects are taken, the job is Completed or Failed: records that got no answer are written to
   ``bedrock-batches/errors/<jobId>/``, and one message is published.

A job is Completed when each part ended Completed or PartiallyCompleted (or was run on demand) and at least one record
has content. All else is Failed, with the reason in ``message``; what results there are, are kept.

A job that has ended and has no content to wait for settles here; one with content settles when the lake has it
(``results.settle``).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import orjson

from bedrock_batches.results.failures import failure_groups
from bedrock_batches.results.messages import ReconcileJob, TakeObjects
from bedrock_batches.results.model_output import RecordFailure
from bedrock_batches.results.ports import (
    Claim,
    Claims,
    ResultObject,
    ResultObjects,
    newest_versions,
    places,
    total,
)
from bedrock_batches.results.record_index import Answered, RecordIndex
from bedrock_batches.results.result_keys import MANIFEST, output_key, unanswered_key
from bedrock_batches.results.take_results import failed_line
from bedrock_batches.submit.job import (
    BEDROCK_FINAL,
    CREATION_TIME,
    ENDED_PARTS,
    ON_DEMAND,
    Creation,
    JobItem,
    JobStatus,
    PartItem,
    PartStatus,
    moment_of,
    on_demand_lease,
    output_prefix,
    part_of_name,
    records_key,
    timestamp,
)
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.submit.ports import BatchInference, FunctionCaller, JobsTable, Leases, all_jobs
from bedrock_batches.submit.pricing import Rate
from bedrock_batches.submit.run_on_demand import GIVE_UP_TIME
from bedrock_batches.submit.submit_parts import submit_queued
from foundation.errors import ObjectNotFoundError, PermanentError
from foundation.ports import Clock, Deadline, Metrics, Notifier, ObjectStore

LOGGER = logging.getLogger("batch_processor.reconcile")

EVENT_SOURCE = "aws.bedrock"
SUCCESSFUL = frozenset({"Completed", "PartiallyCompleted", ON_DEMAND})
NOTICE_TIME = timedelta(seconds=60)
"""So long may the notification of an output object take before the object is given to the result function from here."""
LATE_OUTPUT_TIME = timedelta(days=1)
"""A job whose announced output has not come is looked at for so long after the end of its part."""
OUTPUT_TIME = timedelta(minutes=10)
"""The output of a part is waited for so long after its end."""
ON_DEMAND_TIME = GIVE_UP_TIME + timedelta(hours=1)
"""So long for a part that is run on demand: its processor writes the output, and gives up before."""
METRIC_DIMENSION = "bedrock_job_events"
LEASE_SECONDS = 120.0
LEASE_WAIT_SECONDS = 20.0
POLL_SECONDS = 0.5
RESERVE_SECONDS = 20.0
NOT_ANSWERED = "Not processed by Bedrock"
PROGRESS = ("Queued", "Submitted", "Validating", "Scheduled", "InProgress", "Stopping")
TROUBLE = ("Failed", "Expired", "Stopped", "PartiallyCompleted", ON_DEMAND, "Completed")


@dataclass(frozen=True)
class ReconcileServices:
    """What reconciling needs from outside; ``taker`` is the result function, ``processor`` the one that creates
    jobs and asks for the records of a job on demand, ``owner`` names this call."""

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
    """What a job is now. ``busy``: another call reconciles it, and nothing was done here."""

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
    open_jobs = sorted({*(job["jobId"] for job in all_jobs(jobs, JobStatus.IN_PROGRESS)), *jobs.in_flight()})
    # When the time is not enough for all of them, it is not always for the same ones.
    random.shuffle(open_jobs)
    return open_jobs


def reconcile(job_id: str, services: ReconcileServices) -> Reconciled:
    """One job, one call at a time; a job that does not exist is left alone."""
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
        if job.get("dryRun"):
            return Reconciled(job_id)
        if "ttl" in job and "settledAt" not in job and job_id in services.jobs.in_flight():
            services.jobs.reopen(job_id)  # of an earlier release, which let a job expire from its creation on
        return _Job(job, services).reconcile()
    finally:
        services.leases.release(lease, services.owner)


class _Job:
    """One call's work on one job."""

    def __init__(self, job: JobItem, services: ReconcileServices) -> None:
        self._job = job
        self._job_id = job["jobId"]
        self._services = services
        self._now = datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC)
        self._parts = services.jobs.parts(self._job_id)
        self._claims: list[Claim] = []

    def reconcile(self) -> Reconciled:
        job, services = self._job, self._services
        if job.get("creation") == Creation.PENDING and not self._creation_died():
            return Reconciled(self._job_id, job["status"], job.get("bedrockStatus", ""))
        for part in self._parts:
            if part["status"] == PartStatus.SUBMITTED:
                self._follow(part)
        queued = _queued(self._parts)
        if job.get("creation") != Creation.PENDING:
            self._parts = submit_queued(job, services)
            if job.get("creation") == Creation.WRITTEN and self._processor_is_dead():
                # All that it had left to do was to submit parts and to say so.
                self._update({"creation": Creation.DONE.value})
        self._claims = services.claims.of_job(self._job_id)
        if not self._parts and not self._claims and job.get("creation") != Creation.PENDING:
            return Reconciled(self._job_id, job["status"], job.get("bedrockStatus", ""))
        given, waiting, missing = self._give_untaken()
        ended = all(part["status"] in ENDED_PARTS for part in self._parts) and not waiting
        bedrock_status = self._bedrock_status()
        status = self._conclude(bedrock_status) if ended else self._note_progress(bedrock_status)
        if ended and not missing and "settledAt" not in self._job and not self._counts()["stats"]["processed"]:
            services.jobs.settle(self._job_id, self._now)
        return Reconciled(self._job_id, status, bedrock_status, queued - _queued(self._parts), given)

    def _creation_died(self) -> bool:
        """Parts that a dead processor had not submitted are given up."""
        if not self._processor_is_dead():
            return False
        for part in self._parts:
            if part["status"] == PartStatus.QUEUED:
                self._update_part(part, {"status": PartStatus.CANCELLED.value, "endedAt": timestamp(self._now)})
        return True

    def _processor_is_dead(self) -> bool:
        """A processor that has not finished by now never will."""
        return self._now - moment_of(self._job["createdAt"]) >= CREATION_TIME

    # --- 1 parts

    def _follow(self, part: PartItem) -> None:
        found = self._services.batch.get(part["jobArn"])
        if self._job.get("stopRequestedAt") and found.status not in BEDROCK_FINAL | {"Stopping"}:
            self._services.batch.stop(part["jobArn"])
        changes: dict[str, Any] = {}
        if found.status != part.get("bedrockStatus"):
            changes["bedrockStatus"] = found.status
        if found.message and found.message != part.get("message"):
            changes["message"] = found.message
        if found.status in BEDROCK_FINAL:
            changes |= {"status": PartStatus.ENDED.value, "endedAt": timestamp(self._now), **self._manifest(part)}
            changes["processedCount"] = found.processed
        self._update_part(part, changes)

    def _manifest(self, part: PartItem) -> dict[str, int]:
        """Tokens by Bedrock's own count; nothing when there is no manifest, as after a job that never began.

        https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html
        """
        key = f"{output_prefix(self._job_id)}{part['jobArn'].rpartition('/')[2]}/{MANIFEST}"
        try:
            manifest = orjson.loads(self._services.objects.get(key))
        except (ObjectNotFoundError, orjson.JSONDecodeError):
            return {}
        names = {"inputTokens": "inputTokenCount", "outputTokens": "outputTokenCount"}
        told = manifest if isinstance(manifest, dict) else {}
        counts = {ours: told[theirs] for ours, theirs in names.items() if _is_count(told.get(theirs))}
        # Without both counts the answers say what they took.
        return counts if len(counts) == len(names) else {}

    def _update_part(self, part: PartItem, changes: Mapping[str, Any]) -> None:
        if changes and self._services.jobs.update_part(
            self._job_id, part["part"], changes, expected={"status": part["status"]}
        ):
            part.update(changes)  # type: ignore[typeddict-item]  # only names of PartItem

    # --- 3 results

    def _give_untaken(self) -> tuple[list[str], bool, bool]:
        """Give objects that stand still to the result function.

        Returns their keys, whether results are waited for, and whether some can still come after that.
        """
        claims = {(claim.key, claim.etag): claim for claim in self._claims}
        now_ms = self._services.clock.now_ms()
        given: list[str] = []
        waiting = False
        parts_with_output: set[int | None] = set()
        for result in self._services.results.list_objects(output_prefix(self._job_id)):
            whose = output_key(result.key)
            if whose is None:
                continue
            parts_with_output.add(whose.part)
            claim = claims.get((result.key, result.etag))
            if claim is not None and claim.done:
                continue
            waiting = True
            if self._stands_still(result, claim, now_ms):
                given.append(result.key)
        if given:
            self._services.taker.call(TakeObjects(keys=tuple(given)).payload())
        can_come = False
        for part in self._parts:
            if part["status"] == PartStatus.ENDED and _has_output(part):
                ended_at = moment_of(part.get("endedAt") or self._job["createdAt"])
                missing = not parts_with_output & {part["part"], None}
                most = ON_DEMAND_TIME if part.get("bedrockStatus") == ON_DEMAND else OUTPUT_TIME
                is_late = self._now - ended_at >= most
                waiting |= missing and not is_late
                can_come |= missing and self._now - ended_at < LATE_OUTPUT_TIME
                if missing and is_late and part.get("bedrockStatus") == ON_DEMAND and self._job.get("stopRequestedAt"):
                    # The call that asked died, and none came after it that would have noted the stop.
                    self._update_part(part, {"bedrockStatus": "Stopped"})
                if missing and not is_late and part.get("bedrockStatus") == ON_DEMAND and self._nobody_asks():
                    self._services.processor.call({"jobId": self._job_id})
        return given, waiting, can_come

    def _nobody_asks(self) -> bool:
        """Whether no call is asking for the records of this on-demand job, though its processor has had its time."""
        if not self._processor_is_dead():
            return False
        lease, owner = on_demand_lease(self._job_id), self._services.owner
        if not self._services.leases.acquire(lease, owner, POLL_SECONDS):
            return False
        self._services.leases.release(lease, owner)
        return True

    def _stands_still(self, result: ResultObject, claim: Claim | None, now_ms: int) -> bool:
        if claim is not None:
            return not claim.is_leased(now_ms)
        return self._now - result.last_modified >= NOTICE_TIME

    # --- 4 the job

    def _bedrock_status(self) -> str:
        """Of the part that is least far; when all have ended, of the one that ended worst."""
        statuses = [_status_of(part) for part in self._parts]
        for order in (PROGRESS, TROUBLE):
            for status in order:
                if status in statuses:
                    return status
        return self._job.get("bedrockStatus", "")

    def _counts(self) -> dict[str, Any]:
        counts = total(self._claims, self._begins())
        tokens = self._tokens()
        records = self._job.get("violationCount") or counts.processed + counts.errors
        found: dict[str, Any] = {
            "stats": {
                "processed": counts.processed,
                # Lines that name no record of the job stand for records without an answer, as far as there are any.
                "errors": min(counts.errors, max(0, records - counts.processed)),
                "total": records,
            },
            "inputTokens": tokens[0],
            "outputTokens": tokens[1],
        }
        if self._job.get("price"):
            found["actualCostUSD"] = float(round(Rate.of_document(self._job["price"]).actual_usd(*tokens), 6))
        return found

    def _begins(self) -> dict[int, int]:
        """The place of each part's first record in the job."""
        ends = accumulate((part.get("recordCount", 0) for part in self._parts), initial=0)
        return {part["part"]: begin for part, begin in zip(self._parts, ends, strict=False)}

    def _tokens(self) -> tuple[int, int]:
        """By the manifests; of parts without one (they run still, or ran on demand) by what the answers say.

        Of an object whose records another one has too, or a manifest, the share of its other records counts.
        """
        begins, seen = self._begins(), 0
        told = {part["part"]: part for part in self._parts if "inputTokens" in part}
        input_tokens = sum(part["inputTokens"] for part in told.values())
        output_tokens = sum(part.get("outputTokens", 0) for part in told.values())
        for number, part in told.items():
            seen |= ((1 << part.get("recordCount", 0)) - 1) << begins[number]
        all_told = bool(told) and len(told) == len(self._parts)
        for claim in sorted(newest_versions(self._claims), key=lambda claim: (claim.last_modified, claim.key)):
            answered = places(claim, claim.answered, begins)
            if all_told or claim.part in told:
                continue
            new, of = ((answered & ~seen).bit_count(), answered.bit_count()) if answered else (1, 1)
            input_tokens += claim.counts.input_tokens * new // of
            output_tokens += claim.counts.output_tokens * new // of
            seen |= answered
        return input_tokens, output_tokens

    def _note_progress(self, bedrock_status: str) -> str:
        if self._job["status"] == JobStatus.IN_PROGRESS:
            self._update({"bedrockStatus": bedrock_status, **self._counts(), **self._first_arn()})
        elif self._job.get("outputsTaken"):
            self._services.jobs.reopen(self._job_id)  # Output came after the end.
        return self._job["status"]

    def _conclude(self, bedrock_status: str) -> str:
        """Write down the end; a job that had ended only gets what came late."""
        had_ended = self._job["status"] != JobStatus.IN_PROGRESS
        if had_ended and not self._claims:
            self._update({"outputsTaken": True})
            return self._job["status"]
        counts = self._counts()
        reason = self._trouble(counts["stats"]["processed"])
        status = JobStatus.FAILED if reason else JobStatus.COMPLETED
        changes: dict[str, Any] = {"status": status.value, "bedrockStatus": bedrock_status, "message": reason or None}
        changes |= counts | self._first_arn() | {"outputsTaken": True}
        if not had_ended:
            changes["processedAt"] = timestamp(self._now)
        if all(self._job.get(name) == value for name, value in changes.items()):
            return status
        self._write_unanswered()
        changes |= self._failures(counts["stats"], tell=not had_ended)
        if "settledAt" in self._job:
            # Its results came late: the lake is to get them first.
            self._services.jobs.reopen(self._job_id)
            self._job = self._services.jobs.get(self._job_id) or self._job
        if not had_ended:
            try:
                self._notify({**self._job, **changes})
            except PermanentError:
                # A topic that is gone must not keep the job open: its records would be in no other job.
                LOGGER.exception("end not announced", extra={"job_id": self._job_id})
        self._update(changes)
        return status

    def _failures(self, stats: Mapping[str, int], *, tell: bool) -> dict[str, Any]:
        """Why records have no content. With ``tell``, the share of them is a metric, which has an alarm."""
        if tell and stats["total"]:
            percent = 100 * stats["errors"] / stats["total"]
            self._services.metrics.put(METRIC_DIMENSION, {"FailedRecordsPercent": (percent, "Percent")})
        groups = failure_groups(self._job_id, self._services.objects) if stats["errors"] else []
        return {"failures": groups or None}

    def _trouble(self, processed: int) -> str:
        """Why the job has failed; "" when it has not."""
        if self._job.get("creation") == Creation.PENDING:
            return (
                "The processor ended before the job was created completely: see its log, then create the job again"
                f" or retry it.{self._of_parts()}"
            )
        troubles = self._of_parts()
        if troubles:
            return troubles.strip()
        if not processed:
            return "No record got content: failures of the job has the reasons, bedrock-batches/errors/ each record's."
        return ""

    def _of_parts(self) -> str:
        troubled = [part for part in self._parts if _status_of(part) not in SUCCESSFUL]
        texts = [f" Part {part['part']}: {_status_of(part)}{_said(part)}." for part in troubled[:10]]
        more = len(troubled) - len(texts)
        return "".join(texts) + (f" … and {more} more parts." if more else "")

    def _update(self, changes: dict[str, Any]) -> None:
        changed = {name: value for name, value in changes.items() if self._job.get(name) != value}
        if changed:
            self._services.jobs.update(self._job_id, changed)
            self._job.update(changed)  # type: ignore[typeddict-item]  # only names of JobItem

    def _first_arn(self) -> dict[str, str]:
        arns = [part["jobArn"] for part in self._parts if part.get("jobArn")]
        return {"jobArn": arns[0]} if arns else {}

    def _write_unanswered(self) -> None:
        """The records of parts that Bedrock ran, but left without an answer: a retry looks for them there."""
        begins = self._begins()
        for part in self._parts:
            lines = list(self._unanswered(part, begins[part["part"]])) if part["status"] == PartStatus.ENDED else []
            if lines:
                self._services.objects.put(unanswered_key(self._job_id, part["part"]), b"".join(lines))
            else:
                self._services.objects.delete(unanswered_key(self._job_id, part["part"]))

    def _unanswered(self, part: PartItem, begin: int) -> Iterator[bytes]:
        """``begin`` is the place of the part's first record in an object of the older layout, which has all parts."""
        try:
            index = RecordIndex([self._services.objects.get(records_key(self._job_id, part["part"]))])
        except ObjectNotFoundError:
            return
        claims = newest_versions(self._claims)
        own = [Answered(claim.answered) for claim in claims if claim.part == part["part"]]
        whole = [Answered(claim.answered) for claim in claims if claim.part is None]
        failure = RecordFailure(NOT_ANSWERED, f"the part ended {_status_of(part)}{_said(part)}")
        for record in index:
            place = record.place
            if not any(place in seen for seen in own) and not any(begin + place in seen for seen in whole):
                yield failed_line(record.violation_id, record.agency, failure)

    def _notify(self, job: Mapping[str, Any]) -> None:
        """Before the end is written: a call that is killed between the two publishes again."""
        body = {
            "jobId": self._job_id,
            "jobArn": job.get("jobArn", ""),
            "status": job["status"],
            "bedrockStatus": job["bedrockStatus"],
            "message": job.get("message", ""),
            "violationCount": job.get("violationCount", 0),
            "stats": job["stats"],
            "inputTokens": job["inputTokens"],
            "outputTokens": job["outputTokens"],
            "actualCostUSD": job.get("actualCostUSD"),
            "failures": job.get("failures") or [],
            "estimate": job.get("estimate", {}),
            "createdAt": job["createdAt"],
            "processedAt": job["processedAt"],
        }
        attributes: dict[str, str | int] = {
            "job_id": self._job_id,
            "status": str(job["status"]),
            "bedrock_status": str(job["bedrockStatus"]),
            "processed": int(job["stats"]["processed"]),
            "errors": int(job["stats"]["errors"]),
        }
        self._services.notifier.publish(f"Bedrock batch {self._job_id}: {job['status']}", body, attributes)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _queued(parts: list[PartItem]) -> int:
    return sum(part["status"] == PartStatus.QUEUED for part in parts)


def _status_of(part: PartItem) -> str:
    """Bedrock's status of a part, or the word for one that Bedrock does not have."""
    words: Mapping[str, str] = {
        PartStatus.QUEUED.value: "Queued",
        PartStatus.REFUSED.value: "Failed",
        PartStatus.CANCELLED.value: "Stopped",
    }
    return words.get(part["status"]) or part.get("bedrockStatus") or "Submitted"


def _has_output(part: PartItem) -> bool:
    """Of a part that has ended: whether Bedrock writes an object for it. It does for what was answered before a stop,
    and counts it, though the object may come after the status."""
    return part.get("bedrockStatus") in SUCCESSFUL or part.get("processedCount", 0) > 0


def _said(part: PartItem) -> str:
    message = part.get("message", "").rstrip(". ")
    return f" ({message})" if message else ""
