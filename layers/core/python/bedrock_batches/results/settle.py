"""Settles jobs: notes which ended jobs have all their content in the lake (``submit.job``).

For each record that an output of the job answers, the facts decide:

* The lake has content of the violation, from this job or newer. Or the violation is gone from the lake.
* ``VentureOS-Violations`` has no content of it: the answer failed, or somebody deleted the content.
* The content is under ``sync-failed/``, for a reason that does not go away by itself.

Otherwise the record waits, and so does the job. Content that waits for longer than a stream needs is merged here.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, Protocol

from bedrock_batches.results.ports import Claims, newest_versions
from bedrock_batches.results.record_index import Answered, RecordIndex
from bedrock_batches.submit.job import Job, begins_of
from bedrock_batches.submit.names import moment_at
from bedrock_batches.submit.ports import JobsTable
from bedrock_batches.sync.failed_items import FAILED_PREFIX, Kind, failed_items
from bedrock_batches.sync.merge import SyncServices
from bedrock_batches.sync.sync_lake import merge_now, replay
from foundation.errors import ObjectNotFoundError

LOGGER = logging.getLogger("batch_processor.settle")
MOST_MERGED = 5_000
"""The most items that one call merges for a job. The next call continues."""

STREAM_TIME = timedelta(hours=1)
"""This is longer than the stream collects content and repeats a batch."""
RESERVE_SECONDS = 60.0


class Lake(Protocol):
    def have_content(self, violation_ids: Collection[str]) -> dict[str, bool]:
        """Whether the lake has content of each of the violations that it has."""


@dataclass(frozen=True)
class SettleServices:
    """The ports of settling."""

    jobs: JobsTable
    claims: Claims
    lake: Lake
    sync: SyncServices


def heal(services: SettleServices) -> dict[str, Any]:
    """Merge content that could not be merged before, then settle the jobs whose content is in the lake."""
    replayed = replay(services.sync)
    return {"replayed": replayed.document(), "settled": settle_jobs(services)}


def settle_jobs(services: SettleServices) -> list[str]:
    """Settle the jobs that can be settled. Returns their ids.

    An error of one job does not stop the others. The first error is raised at the end.
    """
    settled: list[str] = []
    failure: Exception | None = None
    job_ids = services.jobs.in_flight()
    random.shuffle(job_ids)
    kept_out = _kept_out(services) if job_ids else set()
    for job_id in job_ids:
        if services.sync.deadline.remaining_seconds() <= RESERVE_SECONDS:
            LOGGER.warning("out of time: the next schedule goes on", extra={"next_job_id": job_id})
            break
        try:
            job = services.jobs.get(job_id)
            if job is not None and _settle(job, kept_out, services):
                settled.append(job_id)
        except Exception as error:
            LOGGER.exception("job not settled", extra={"job_id": job_id})
            failure = failure or error
    if failure is not None:
        raise failure
    return settled


def _settle(job: Job, kept_out: Collection[str], services: SettleServices) -> bool:
    if job.is_in_progress or not job.outputs_taken:
        return False
    now = moment_at(services.sync.clock.now_ms())
    waiting: set[str] = set()
    for answered in _answered(job.job_id, services):
        absent = {one for one, has_content in services.lake.have_content(answered).items() if not has_content}
        waiting |= services.sync.contents.with_content(absent - set(kept_out))
    if waiting and now - (job.processed_at or job.created_at) > STREAM_TIME:
        now_merged = set(islice(waiting, MOST_MERGED))
        result = merge_now(now_merged, job.job_id, services.sync)
        waiting = waiting - now_merged | {one.violation_id for one in result.of_kind(Kind.PASSING)}
    LOGGER.info("job looked at", extra={"job_id": job.job_id, "waiting": len(waiting)})
    if waiting:
        return False
    services.jobs.settle(job.job_id, now)
    return True


def _answered(job_id: str, services: SettleServices) -> Iterator[set[str]]:
    """The violations that have an answer, part by part. Memory: about 100 bytes for each violation of a part."""
    claims = newest_versions(services.claims.of_job(job_id))
    parts = services.jobs.parts(job_id)
    begins = begins_of(parts)
    for part in parts:
        begin = begins[part.number]
        own = [Answered(claim.answered) for claim in claims if claim.part == part.number]
        whole = [Answered(claim.answered) for claim in claims if claim.part is None]
        if own or whole:
            try:
                index = RecordIndex([services.sync.objects.get(part.records_key)])
            except ObjectNotFoundError:
                continue  # The file has expired, and with it the names of the records.
            yield {
                record.violation_id
                for record in index
                if any(record.place in seen for seen in own) or any(begin + record.place in seen for seen in whole)
            }


def _kept_out(services: SettleServices) -> set[str]:
    """Violations whose content cannot be merged until somebody changes something."""
    found: set[str] = set()
    for stored in services.sync.objects.list_objects(FAILED_PREFIX):
        try:
            items = failed_items(services.sync.objects.get(stored.key))
        except ObjectNotFoundError:
            continue  # It has just been emptied.
        found |= {item.violation_id for item in items if item.kind is Kind.PERMANENT}
    return found
