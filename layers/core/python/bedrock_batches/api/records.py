"""Lists the records of a job page by page: each one's outcome, reason, and place of its content, in the order of the
input.

Outcomes come from the claims on the output objects, which have one bit for each record. Reasons come from the objects
under ``bedrock-batches/errors/``, which are read only for a page with a failed record. Memory: one part's records file
and the answers of one page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol

import orjson

from bedrock_batches.results.ports import Claim, newest_versions, places
from bedrock_batches.results.result_keys import part_errors_prefix
from bedrock_batches.submit import names
from bedrock_batches.submit.job import Job, Part, PartStatus, begins_of
from bedrock_batches.submit.records_in_flight import lines_of
from bedrock_batches.violations import CONTENT_SORT_KEY, KEY_PREFIX
from foundation.errors import ObjectNotFoundError
from foundation.ports import ObjectStore


class RecordOutcome(StrEnum):
    """``PENDING``: no answer yet. ``SUCCEEDED``: it has content. ``FAILED``: its answer has no content. ``UNANSWERED``:
    the job ended before its answer."""

    PENDING = "Pending"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNANSWERED = "Unanswered"


class JobClaims(Protocol):
    def of_job(self, job_id: str) -> list[Claim]: ...


@dataclass(frozen=True)
class RecordSources:
    """The stores of jobs' records. ``violations_table`` holds the content."""

    objects: ObjectStore
    claims: JobClaims
    violations_table: str


@dataclass(frozen=True)
class _Place:
    """A record of the job: its part, its line in the part's records file, its place in the job."""

    part: Part
    line: int
    place: int
    record_id: str
    agency: str


@dataclass(frozen=True)
class RecordPage:
    """A page of records. ``cursor`` gives the next page; "" at the end."""

    records: list[dict[str, Any]]
    cursor: str


def list_records(job: Job, parts: Sequence[Part], limit: int, cursor: str, sources: RecordSources) -> RecordPage:
    """The ``limit`` records after the cursor. Raises ValueError for a cursor from elsewhere. A part whose records file
    has expired has none."""
    begun = _read_cursor(cursor) if cursor else (0, 0)
    found = list(islice(_places(parts, begun, sources.objects), limit + 1))
    page, more = found[:limit], found[limit:]
    answered, succeeded = _bits(job.job_id, parts, sources.claims)
    outcomes = {one.place: _outcome(one, job, answered, succeeded) for one in page}
    wanted = {
        one.record_id: one for one in page if outcomes[one.place] in (RecordOutcome.FAILED, RecordOutcome.UNANSWERED)
    }
    reasons = dict(_reasons(job.job_id, wanted, sources.objects))
    bucket = sources.objects.bucket
    records = [
        {
            "recordId": one.record_id,
            "agency": one.agency,
            "part": one.part.number,
            "outcome": outcomes[one.place].value,
            "reason": _reason(one, outcomes[one.place], reasons),
            "input": f"s3://{bucket}/{one.part.input_key}",
            "error": f"s3://{bucket}/{reasons[one.record_id][1]}" if one.record_id in reasons else None,
            "content": {
                "table": sources.violations_table,
                "PK": f"{KEY_PREFIX}{one.record_id}",
                "SK": CONTENT_SORT_KEY,
            }
            if outcomes[one.place] == RecordOutcome.SUCCEEDED
            else None,
        }
        for one in page
    ]
    return RecordPage(records, _cursor(more[0]) if more else "")


def _places(parts: Sequence[Part], begun: tuple[int, int], objects: ObjectStore) -> Iterator[_Place]:
    """The records from a part and line on."""
    begins = begins_of(parts)
    for part in parts:
        if part.number >= begun[0]:
            skipped = begun[1] if part.number == begun[0] else 0
            try:
                for line, record in enumerate(lines_of(objects.read(part.records_key))):
                    if line >= skipped:
                        yield _Place(part, line, begins[part.number] + line, *names.split_records_line(record.decode()))
            except ObjectNotFoundError:
                pass


def _bits(job_id: str, parts: Sequence[Part], claims: JobClaims) -> tuple[int, int]:
    """The answered records, and those with content, as bits by their places in the job."""
    begins = begins_of(parts)
    answered = succeeded = 0
    for claim in newest_versions(claims.of_job(job_id)):
        answered |= places(claim, claim.answered, begins)
        succeeded |= places(claim, claim.succeeded, begins)
    return answered, succeeded


def _outcome(one: _Place, job: Job, answered: int, succeeded: int) -> RecordOutcome:
    if succeeded >> one.place & 1:
        return RecordOutcome.SUCCEEDED
    if answered >> one.place & 1:
        return RecordOutcome.FAILED
    return RecordOutcome.PENDING if job.is_in_progress else RecordOutcome.UNANSWERED


def _reasons(job_id: str, wanted: Mapping[str, _Place], objects: ObjectStore) -> Iterator[tuple[str, tuple[str, str]]]:
    """Reason and object of each wanted record in the objects under ``errors/``. The later object wins."""
    prefixes = [part_errors_prefix(job_id, part) for part in sorted({one.part.number for one in wanted.values()})]
    if wanted:
        prefixes.insert(0, part_errors_prefix(job_id, None))
    for prefix in prefixes:
        for found in objects.list_objects(prefix):
            for line in lines_of(objects.read(found.key)):
                record = orjson.loads(line)
                if record["recordId"] in wanted:
                    told = ": ".join(filter(None, [record.get("error", ""), record.get("reason", "")]))
                    yield record["recordId"], (told, found.key)


def _reason(one: _Place, outcome: RecordOutcome, reasons: Mapping[str, tuple[str, str]]) -> str | None:
    if one.record_id in reasons:
        return reasons[one.record_id][0]
    if outcome != RecordOutcome.UNANSWERED:
        return None
    said = one.part.message or one.part.bedrock_status or one.part.status
    if one.part.status is PartStatus.ENDED:
        return f"The part ended without an answer for this record: {said}"
    return f"The part did not run: {said}"


def _cursor(following: _Place) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([following.part.number, following.line])).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, int]:
    try:
        place = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        place = None
    if not isinstance(place, list) or len(place) != 2 or not all(type(one) is int and one >= 0 for one in place):
        raise ValueError("not a cursor of this listing")
    return place[0], place[1]
