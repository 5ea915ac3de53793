"""Reads stored answers without content again with the current reader, so that they need not be paid for twice.

Every output object stays, with every answer as the model gave it. ``reparse`` goes through the objects of a job that
are taken, reads the answers of records without content with the current parser, and stores what it finds, as if it had
been found at once: content that a person verified, or that is newer, stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bedrock_batches.results.job_records import records_of
from bedrock_batches.results.messages import ReconcileJob
from bedrock_batches.results.model_output import FailureKind, RecordResult, read_result
from bedrock_batches.results.output_lines import CHUNK_RECORDS, chunks
from bedrock_batches.results.ports import Claim, ContentItem, Counts, ResultObject, newest_versions, places
from bedrock_batches.results.record_index import Answered, IndexedRecord
from bedrock_batches.results.record_outcomes import content_item, forget_failed
from bedrock_batches.results.result_keys import part_errors_prefix
from bedrock_batches.results.take_results import ResultServices
from bedrock_batches.submit.job import Job, begins_of
from bedrock_batches.submit.names import timestamp
from foundation.errors import InvalidInputError, ObjectChangedError, ObjectNotFoundError, Problem

LOGGER = logging.getLogger("batch_processor.reparse")

RESERVE_SECONDS = 60.0


@dataclass(frozen=True)
class Reparsed:
    """The result of a call.

    ``answers`` are the stored answers of records without content. ``read`` of them have content for the current
    reader, ``repaired`` of these after a repair. ``complete`` says that every object was read in time.
    """

    job_id: str
    dry_run: bool
    answers: int = 0
    read: int = 0
    repaired: int = 0
    complete: bool = True
    last: str = ""
    """The object that was read last. The next call continues after it, unless this one is ``complete``."""

    def document(self) -> dict[str, Any]:
        return {
            "jobId": self.job_id,
            "dryRun": self.dry_run,
            "answers": self.answers,
            "read": self.read,
            "repaired": self.repaired,
            "costUSD": 0.0,
            "complete": self.complete,
            "last": self.last,
        }


def reparse(job_id: str, services: ResultServices, *, dry_run: bool, after: str = "") -> Reparsed:
    """Read the stored answers of a job's records without content, and store their content unless it is a dry run.

    Raises InvalidInputError when there is no such job.
    """
    job = services.jobs.get(job_id)
    if job is None:
        fix = "name a job of the list of jobs; their items are kept for 30 days after they have settled"
        raise InvalidInputError([Problem("jobId", repr(job_id[:100]), "there is no such job", fix)])
    claims = [claim for claim in newest_versions(services.claims.of_job(job_id)) if claim.done]
    begins = begins_of(services.jobs.parts(job_id))
    found = Reparsed(job_id, dry_run)
    # A record can be in several objects. It counts once, by its place in the job.
    with_content = 0
    for claim in claims:
        with_content |= places(claim, claim.succeeded, begins)
    for claim in sorted(claims, key=lambda claim: claim.key):
        if claim.key <= after:
            continue
        if services.deadline.remaining_seconds() <= RESERVE_SECONDS:
            found = replace(found, complete=False)
            break
        begin = 0 if claim.part is None else begins.get(claim.part, 0)
        of_object = _Object(job, claim, begin, services)
        try:
            with_content = of_object.read(with_content)
        except (ObjectChangedError, ObjectNotFoundError):
            LOGGER.warning("the object is gone or another one", extra={"job_id": job_id, "key": claim.key})
            found = replace(found, last=claim.key)
            continue
        if not dry_run and of_object.items:
            of_object.store()
        found = replace(
            found,
            answers=found.answers + of_object.answers,
            read=found.read + len(of_object.items),
            repaired=found.repaired + of_object.repaired,
            last=claim.key,
        )
    if not dry_run and found.read:
        services.reconciler.call(ReconcileJob(job_id=job_id).payload())
    LOGGER.info("answers read again", extra=found.document())
    return found


class _Object:
    """Reads one output object. Memory: the content found in it."""

    def __init__(self, job: Job, claim: Claim, begin: int, services: ResultServices) -> None:
        self._job = job
        self._claim = claim
        self._begin = begin
        self._services = services
        self.items: dict[int, ContentItem] = {}
        """Content by the place of its record in the object."""
        self.answers = 0
        self.repaired = 0

    def read(self, with_content: int) -> int:
        """Read every answer. ``with_content`` has a bit for each record of the job, and so has the return value."""
        seen: set[int] = set()
        for record, result in self._results():
            place = record.place
            if with_content >> (self._begin + place) & 1:
                continue
            if place not in seen:
                seen.add(place)
                self.answers += 1
            if result.content is not None:
                self.items[place] = content_item(
                    record.violation_id, record.agency, result, timestamp(self._claim.last_modified), self._job
                )
                self.repaired += bool(result.repairs)
                with_content |= 1 << (self._begin + place)
        return with_content

    def _results(self) -> Iterator[tuple[IndexedRecord, RecordResult]]:
        """The records of the object that a model answered."""
        claim, services = self._claim, self._services
        records = records_of(self._job, claim.part, services.jobs, services.objects)
        result_object = ResultObject(claim.key, claim.etag, claim.size, claim.last_modified)
        for lines, _ in chunks(services.results.read(result_object, 0), 0):
            for line in lines:
                result = read_result(line)
                record = records.find(result.record_id)
                is_answer = result.failure is None or result.failure.kind is FailureKind.UNREADABLE
                if record is not None and is_answer:
                    yield record, result

    def store(self) -> None:
        """Write the content, delete the failures and correct the claim. After a kill, all of it is repeated."""
        items = list(self.items.values())
        kept = 0
        for begin in range(0, len(items), CHUNK_RECORDS):
            kept += self._services.violations.put_content(items[begin : begin + CHUNK_RECORDS])
        ids = {item.violation_id for item in items}
        forget_failed(ids, part_errors_prefix(self._claim.job_id, self._claim.part), self._services.objects)
        succeeded, answered = Answered(self._claim.succeeded), Answered(self._claim.answered)
        for place in self.items:
            succeeded.add(place)
            answered.add(place)
        counts = self._claim.counts + Counts(processed=len(items), errors=-len(items), kept=kept)
        after = replace(self._claim, succeeded=bytes(succeeded), answered=bytes(answered), counts=counts)
        if not self._services.claims.amend(self._claim, after):
            LOGGER.warning("another call reads the answers again too", extra={"key": self._claim.key})
