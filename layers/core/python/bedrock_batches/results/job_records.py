"""Finds the record of a job for a line of an output object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bedrock_batches.results.record_index import IndexedRecord, RecordIndex
from bedrock_batches.results.result_keys import records_prefix
from bedrock_batches.submit.job import Job, Part, begins_of
from bedrock_batches.submit.names import place_of_record_id, records_key
from foundation.errors import ObjectNotFoundError
from foundation.ports import ObjectStore


class Parts(Protocol):
    def parts(self, job_id: str) -> list[Part]: ...


@dataclass(frozen=True)
class JobRecords:
    """The records that an object answers; ``index`` is None for a job without records files.

    ``begin`` is the place in the job of the object's first record, or None for a job of schema version 1, whose lines
    name the violation itself.
    """

    index: RecordIndex | None
    begin: int | None

    def find(self, record_id: str) -> IndexedRecord | None:
        """The record that a line names, with its place among those of the object."""
        if self.index is None:
            return None
        if self.begin is None:
            return self.index.find(record_id) if record_id else None
        place = place_of_record_id(record_id)
        return None if place is None else self.index.at(place - self.begin)


def records_of(job: Job, part: int | None, jobs: Parts, objects: ObjectStore) -> JobRecords:
    """The records that an object of this part, or of all parts (None), can answer."""
    job_id = job.job_id
    begin: int | None = None
    if (job.schema_version or 1) >= 2:
        begin = 0 if part is None else begins_of(jobs.parts(job_id)).get(part, 0)
    if part is not None:
        keys = [records_key(job_id, part)]
    else:
        keys = [found.key for found in objects.list_objects(records_prefix(job_id))]
    try:
        return JobRecords(RecordIndex([objects.get(key) for key in keys]) if keys else None, begin)
    except ObjectNotFoundError:
        return JobRecords(None, begin)
