"""Writes the results of Bedrock batch inference from their objects to ``VentureOS-Violations``.

S3 notifications call it, at least once for each object and in any order
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html). These rules count each record once:

* Each version of an object (key and ETag) has a claim in the job table, with a lease, an offset and counts. A call does
  nothing if the object is done. If another call holds the lease, it waits until the object is done or the lease ends;
  if both take too long it fails, so that Lambda repeats it.
* An object is read in chunks. The call writes a chunk's items, then its failed records, and then moves the claim, if
  its offset is still the start of the chunk. A killed call leaves at most one chunk that is written and not counted;
  the next call writes the same items again (``generated_at`` is the object's LastModified) and counts them.
* The claim stores which records are answered, and which of them have content: a record that occurs twice in an object,
  or in several objects, counts once (``results.ports.total``).

A call without time left calls its own function again, asynchronously, with the rest. ``reconcile`` finds the claim of a
call that died by its lease, which has ended.

Memory: a range of the object, two chunks of 800 records, and 40 bytes a record for the part's index.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from bedrock_batches.results.job_records import JobRecords, records_of
from bedrock_batches.results.messages import ReconcileJob, TakeObjects
from bedrock_batches.results.model_output import FailureKind, RecordFailure, RecordResult, read_result
from bedrock_batches.results.output_lines import chunks
from bedrock_batches.results.ports import (
    Claim,
    ClaimLostError,
    Claims,
    ContentItem,
    Counts,
    ResultObject,
    ResultObjects,
    Violations,
)
from bedrock_batches.results.record_index import Answered
from bedrock_batches.results.record_outcomes import content_item, failed_line, forget_failed
from bedrock_batches.results.result_keys import OutputKey, errors_key, output_key, part_errors_prefix
from bedrock_batches.submit.job import Job, Part
from bedrock_batches.submit.names import timestamp
from bedrock_batches.submit.ports import FunctionCaller
from foundation.errors import ObjectChangedError, ObjectNotFoundError, RetryableError
from foundation.ports import Clock, Deadline, ObjectStore

LOGGER = logging.getLogger("batch_processor.take_results")

LEASE_SECONDS = 60.0
"""The length of a lease, which each chunk extends. After a kill, the object waits at least this long."""
RESERVE_SECONDS = 45.0
"""A call with less time left than this starts no chunk."""
WAIT_SECONDS = LEASE_SECONDS + 5.0
"""A call waits this long for an object that another call holds. The lease of a killed call ends before."""
POLL_SECONDS = 2.0


class ObjectBusyError(RetryableError):
    """Raised when another call holds an object all the time. This call is repeated later, in case the other dies."""


class Jobs(Protocol):
    def get(self, job_id: str) -> Job | None: ...

    def parts(self, job_id: str) -> list[Part]: ...

    def reopen(self, job_id: str) -> None:
        """See ``submit.ports.JobsTable``."""


@dataclass(frozen=True)
class ResultServices:
    """The ports of taking results; ``owner`` identifies this call.

    ``again`` is this function itself, ``reconciler`` the function that settles a job.
    """

    jobs: Jobs
    claims: Claims
    results: ResultObjects
    objects: ObjectStore
    violations: Violations
    again: FunctionCaller
    reconciler: FunctionCaller
    clock: Clock
    deadline: Deadline
    owner: str


class Outcome(StrEnum):
    IGNORED = "ignored"
    """The key does not belong to an output object."""
    GONE = "gone"
    """The object is no longer there."""
    UNKNOWN_JOB = "unknown job"
    DONE_BEFORE = "done before"
    """Another call has taken all of the object."""
    LOST = "lost"
    """Another call has taken over the object, because this one was too slow."""
    CONTINUED = "continued"
    """The time was not enough. Another call continues."""
    REPLACED = "replaced"
    """The object has been replaced by a newer version, which has its own notification."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome of one key; ``counts`` are those of the object so far."""

    key: str
    outcome: Outcome
    counts: Counts = field(default_factory=Counts)

    def document(self) -> dict[str, Any]:
        counts = {name: getattr(self.counts, name) for name in ("processed", "errors", "kept")}
        return {"key": self.key, "outcome": self.outcome.value, **counts}


def take_objects(keys: Sequence[str], services: ResultServices) -> list[Taken]:
    """Take output objects, one after the other.

    An object that fails, in whatever way, does not keep the others from being taken; the first error is raised at the
    end, and Lambda repeats the call.
    """
    taken: list[Taken] = []
    remaining: list[str] = []
    failure: Exception | None = None
    for key in dict.fromkeys(keys):
        if services.deadline.remaining_seconds() <= RESERVE_SECONDS:
            remaining.append(key)
            continue
        try:
            taken.append(_take(key, services))
        except Exception as error:
            LOGGER.exception("object not taken", extra={"key": key})
            failure = failure or error
        else:
            LOGGER.info("object taken", extra=taken[-1].document())
    remaining += [each.key for each in taken if each.outcome is Outcome.CONTINUED]
    if remaining:
        services.again.call(TakeObjects(keys=tuple(remaining)).payload())
    if failure is not None:
        raise failure
    return taken


def _of_its_job(whose: OutputKey, job: Job) -> OutputKey:
    """The part of a file. A file that is named after a part that the job does not have belongs to no single part."""
    parts = job.part_count
    return whose if not parts or whose.part in range(1, parts + 1) else replace(whose, part=None)


def _take(key: str, services: ResultServices) -> Taken:
    whose = output_key(key)
    if whose is None:
        return Taken(key, Outcome.IGNORED)
    job = services.jobs.get(whose.job_id)
    if job is None:
        LOGGER.error("output of an unknown job: is its item deleted?", extra={"key": key, "job_id": whose.job_id})
        return Taken(key, Outcome.UNKNOWN_JOB)
    whose = _of_its_job(whose, job)
    try:
        result = services.results.head(key)
    except ObjectNotFoundError:
        return Taken(key, Outcome.GONE)
    claim = _claim(Claim(whose.job_id, key, result.etag, result.size, result.last_modified, whose.part), services)
    if claim is None:
        return Taken(key, Outcome.DONE_BEFORE)
    if not job.is_in_progress and job.outputs_taken is not False:
        # Its records without an answer count as free, which is wrong until this output is taken.
        services.jobs.reopen(whose.job_id)
    if claim.chunks == 0:
        _forget_replaced(claim, services)
    return _Taking(whose, job, result, claim, services).run()


def _claim(new: Claim, services: ResultServices) -> Claim | None:
    """The claim, leased to this call; None when the object is done. Raises ObjectBusyError."""
    until_ms = services.clock.now_ms() + int(WAIT_SECONDS * 1000)
    while True:
        now_ms = services.clock.now_ms()
        claim = services.claims.take(new, services.owner, now_ms + int(LEASE_SECONDS * 1000), now_ms)
        if claim is None or claim.lease_owner == services.owner:
            return claim
        if now_ms >= until_ms or services.deadline.remaining_seconds() <= RESERVE_SECONDS:
            raise ObjectBusyError(f"Another call processes s3 object {new.key}: this one is retried.")
        services.clock.sleep(POLL_SECONDS)


def _forget_replaced(claim: Claim, services: ResultServices) -> None:
    """Delete the failed records of an earlier version of this object, because the new version replaces them."""
    others = [c for c in services.claims.of_job(claim.job_id) if c.key == claim.key and c.etag != claim.etag]
    if others:
        for stale in list(services.objects.list_objects(part_errors_prefix(claim.job_id, claim.part))):
            services.objects.delete(stale.key)


@dataclass
class _Chunk:
    """The results of some lines. ``end`` is the offset after the last one. ``answered`` and ``succeeded`` hold every
    record up to there.

    ``failed`` are lines for the errors object, ``nameless`` those of lines without a record id. ``recovered`` are
    records that failed in an earlier chunk, and have content in this one.
    """

    end: int
    items: dict[str, ContentItem] = field(default_factory=dict)
    failed: dict[str, bytes] = field(default_factory=dict)
    nameless: list[bytes] = field(default_factory=list)
    recovered: set[str] = field(default_factory=set)
    answered: bytes = b""
    succeeded: bytes = b""
    truncated: int = 0
    repaired: int = 0
    repeated: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class _Taking:
    """One call's work on one version of an object."""

    def __init__(
        self, whose: OutputKey, job: Job, result: ResultObject, claim: Claim, services: ResultServices
    ) -> None:
        self._job_id = whose.job_id
        self._job = job
        self._result = result
        self._claim = claim
        self._services = services
        self._generated_at = timestamp(result.last_modified)
        self._answered = Answered(claim.answered)
        self._succeeded = Answered(claim.succeeded)
        # Claims of an earlier release do not say which records have content.
        self._knows_failed = int.from_bytes(claim.succeeded, "little").bit_count() == claim.counts.processed
        self._records = JobRecords(None, None)

    def run(self) -> Taken:
        try:
            self._records = records_of(self._job, self._claim.part, self._services.jobs, self._services.objects)
            outcome = self._chunks()
        except ObjectChangedError:
            outcome = Outcome.REPLACED
        except ClaimLostError:
            outcome = Outcome.LOST
        finally:
            self._services.claims.release(self._claim)
        if outcome is Outcome.DONE:
            self._services.reconciler.call(ReconcileJob(job_id=self._job_id).payload())
        return Taken(self._result.key, outcome, self._claim.counts)

    def _chunks(self) -> Outcome:
        """Read one chunk while the one before it is written."""
        ranges = self._services.results.read(self._result, self._claim.offset)
        with ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            for lines, end in chunks(ranges, self._claim.offset):
                chunk = self._read_chunk(lines, end)
                if writing is not None:
                    writing.result()
                if self._services.deadline.remaining_seconds() <= RESERVE_SECONDS:
                    return Outcome.CONTINUED
                writing = writer.submit(self._write_chunk, chunk)
            if writing is not None:
                writing.result()
        self._commit(replace(self._claim, offset=self._result.size, done=True))
        return Outcome.DONE

    def _read_chunk(self, lines: list[bytes], end: int) -> _Chunk:
        chunk = _Chunk(end)
        for line in lines:
            self._read_line(line, chunk)
        chunk.answered = bytes(self._answered)
        chunk.succeeded = bytes(self._succeeded)
        return chunk

    def _read_line(self, line: bytes, chunk: _Chunk) -> None:
        result = read_result(line)
        record = self._records.find(result.record_id)
        # Without records files, a place names no violation.
        is_known = record is not None or (self._records.index is None and self._records.begin is None)
        place, agency = (record.place, record.agency) if record is not None else (None, "")
        violation_id = record.violation_id if record is not None else result.record_id
        if not violation_id:
            chunk.nameless.append(self._failed_line(violation_id, result, agency))
        elif result.content is not None and is_known and self._has_failed(violation_id, place, chunk):
            # Content wins over an error of the same record, because it is paid for.
            chunk.repeated += 1
            if chunk.failed.pop(violation_id, None) is None:
                chunk.recovered.add(violation_id)
            self._add_content(violation_id, place, result, agency, chunk)
        elif violation_id in chunk.items or violation_id in chunk.failed or self._is_answered(place):
            chunk.repeated += 1
            return
        elif result.content is None or not is_known:
            chunk.failed[violation_id] = self._failed_line(violation_id, result, agency)
            chunk.truncated += result.answer.truncated
        else:
            self._add_content(violation_id, place, result, agency, chunk)
        chunk.input_tokens += result.answer.input_tokens
        chunk.output_tokens += result.answer.output_tokens
        if place is not None:
            self._answered.add(place)

    def _has_failed(self, violation_id: str, place: int | None, chunk: _Chunk) -> bool:
        """Whether an earlier line of the object says that this record of the job failed."""
        known = self._knows_failed and place is not None and place in self._answered and place not in self._succeeded
        return known or violation_id in chunk.failed

    def _add_content(
        self, violation_id: str, place: int | None, result: RecordResult, agency: str, chunk: _Chunk
    ) -> None:
        chunk.items[violation_id] = content_item(violation_id, agency, result, self._generated_at, self._job)
        chunk.repaired += bool(result.repairs)
        if place is not None:
            self._succeeded.add(place)

    def _write_chunk(self, chunk: _Chunk) -> None:
        kept = self._services.violations.put_content(list(chunk.items.values()))
        failed = [*chunk.failed.values(), *chunk.nameless]
        if failed:
            key = errors_key(self._job_id, self._claim.part, self._claim.chunks + 1)
            self._services.objects.put(key, b"".join(failed))
        if chunk.recovered:
            forget_failed(chunk.recovered, part_errors_prefix(self._job_id, self._claim.part), self._services.objects)
        counts = Counts(
            processed=len(chunk.items),
            errors=len(failed) - len(chunk.recovered),
            kept=kept,
            truncated=chunk.truncated,
            repaired=chunk.repaired,
            repeated=chunk.repeated,
            input_tokens=chunk.input_tokens,
            output_tokens=chunk.output_tokens,
        )
        self._commit(
            replace(
                self._claim,
                offset=chunk.end,
                chunks=self._claim.chunks + 1,
                counts=self._claim.counts + counts,
                answered=chunk.answered,
                succeeded=chunk.succeeded,
            )
        )

    def _commit(self, after: Claim) -> None:
        after = replace(after, lease_until_ms=self._services.clock.now_ms() + int(LEASE_SECONDS * 1000))
        self._services.claims.commit(self._claim, after)
        self._claim = after

    def _is_answered(self, place: int | None) -> bool:
        return place is not None and place in self._answered

    def _failed_line(self, violation_id: str, result: RecordResult, agency: str) -> bytes:
        failure = result.failure or RecordFailure(
            FailureKind.NOT_OF_THE_JOB, "its id is not in the part's records file", raw_text=result.answer.text
        )
        return failed_line(violation_id, agency, failure, result)
