"""Lists the records that no other job takes, and those that a job left without content.

A job's records are in flight until it is settled (``submit.job``). When it has ended and its outputs are taken, records
without an answer are free: those under ``bedrock-batches/errors/``, and those of parts that Bedrock never ran. Records
whose content could not be merged stay in flight while they are under ``bedrock-batches/sync-failed/``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import orjson

from bedrock_batches.select.selection import is_usable_id
from bedrock_batches.submit import names
from bedrock_batches.submit.job import Creation, JobStatus, Part, PartStatus
from bedrock_batches.submit.job_items import UnreadableItemError
from bedrock_batches.submit.ports import JobsTable
from bedrock_batches.sync.failed_items import FAILED_PREFIX, FailedItem, failed_items
from foundation.errors import ObjectNotFoundError
from foundation.ports import ObjectStore

LOGGER = logging.getLogger("batch_processor.records_in_flight")

THREADS = 8


class Services(Protocol):
    @property
    def jobs(self) -> JobsTable: ...
    @property
    def objects(self) -> ObjectStore: ...


def write_in_flight(services: Services, folder: Path, *, but: str = "") -> list[Path]:
    """Files with the records in flight of all jobs except one, as lines of violation id, tab, agency. Each file is
    named after its job. Jobs that are gone or have no records leave the list of jobs in flight."""
    jobs = [job_id for job_id in services.jobs.in_flight() if job_id != but]
    with ThreadPoolExecutor(THREADS) as threads:
        written = threads.map(lambda job_id: _write(job_id, services, folder / f"{job_id}.txt"), jobs)
        return [
            *(path for path in written if path is not None),
            _write_not_synced(services, folder / "not-synced.txt"),
        ]


def _write(job_id: str, services: Services, path: Path) -> Path | None:
    try:
        job = services.jobs.get(job_id)
    except UnreadableItemError as error:
        # A broken item must not stop other jobs. Its records stay in flight: they can be paid for.
        LOGGER.error("all records of a job count as in flight", extra={"job_id": job_id, "why": str(error)})
        return _write_records(services.jobs.parts(job_id), set(), services, path)
    if job is None or (job.status is JobStatus.FAILED and job.creation is Creation.PENDING):
        services.jobs.leave_in_flight(job_id)
        return None
    if job.creation is Creation.PENDING:
        return None
    parts = services.jobs.parts(job_id)
    failed: set[str] = set()
    if not job.is_in_progress:
        parts = [part for part in parts if part.status is PartStatus.ENDED]
        failed = _failed_ids(job_id, services) if job.outputs_taken else set()
    return _write_records(parts, failed, services, path)


def _write_records(parts: Iterable[Part], but: Collection[str], services: Services, path: Path) -> Path:
    with path.open("wb") as file:
        for part in parts:
            for line in record_lines(part, services):
                if names.split_records_line(line)[0] not in but:
                    file.write(line.encode() + b"\n")
    return path


def _write_not_synced(services: Services, path: Path) -> Path:
    """The records whose content ``bedrock_sync`` could not merge yet, each with the object that holds it."""
    with path.open("wb") as file:
        for found in services.objects.list_objects(FAILED_PREFIX):
            for failed in _not_synced(found.key, services):
                if is_usable_id(failed.violation_id):
                    file.write(names.records_line(failed.violation_id, found.key))
    return path


def _not_synced(key: str, services: Services) -> list[FailedItem]:
    try:
        return failed_items(services.objects.get(key))
    except ObjectNotFoundError:  # Another call has just emptied it.
        return []


def ids_without_content(job_id: str, services: Services) -> set[str]:
    """The records of an ended job that got no content. Memory: about 100 bytes each."""
    never_run = {
        names.split_records_line(line)[0]
        for part in services.jobs.parts(job_id)
        if part.status is not PartStatus.ENDED
        for line in record_lines(part, services)
    }
    return never_run | _failed_ids(job_id, services)


def _failed_ids(job_id: str, services: Services) -> set[str]:
    """The parts that Bedrock ran."""
    return {
        str(orjson.loads(line)["recordId"])
        for found in services.objects.list_objects(names.errors_prefix(job_id))
        for line in lines_of(services.objects.read(found.key))
    }


def record_lines(part: Part, services: Services) -> Iterator[str]:
    """The lines of a part's records file; none if the file has expired."""
    try:
        for line in lines_of(services.objects.read(part.records_key)):
            yield line.decode()
    except ObjectNotFoundError:
        return


def lines_of(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines without their ends and without blank lines."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)
    if rest:
        yield rest
