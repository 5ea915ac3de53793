"""Reads the finished rows of an execution in row order, several rows objects at once, with their raw answers."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from foundation.json_text import parse_json
from foundation.ports import ObjectStore
from row_batches.document.plan import Keys
from row_batches.rows.read_ahead import read_ahead
from row_batches.rows.records import RowStatus
from row_batches.rows.rows_object import read_columns

MOST_OBJECTS_AHEAD = 48
MOST_BYTES_AHEAD = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A finished row. ``answer`` is None, and ``error`` says why, on a row that is not SUCCESS."""

    row: int
    status: RowStatus
    started_ms: int
    ended_ms: int
    error: str
    answer: Any


@dataclass(frozen=True, slots=True)
class _Part:
    """A rows object. Its rows before ``first_new`` are in one before it."""

    key: str
    size: int
    first: int
    first_new: int


def read_answers(objects: ObjectStore, keys: Keys) -> Generator[AnsweredRow, None, None]:
    """Every finished row once, ascending. Of rows that were written twice, the one that the aggregator takes.

    Memory: ``MOST_BYTES_AHEAD``, and one rows object (a worker's are some 40 MB at most) with one answer parsed.
    """
    reading = read_ahead(
        _parts(objects, keys),
        lambda part: objects.get(part.key),
        most_parts=MOST_OBJECTS_AHEAD,
        most_bytes=MOST_BYTES_AHEAD,
    )
    with closing(reading):
        for part, body in reading:
            yield from _rows(part, BytesIO(body))
            del body


def _parts(objects: ObjectStore, keys: Keys) -> Iterator[_Part]:
    """The rows objects, but for those that hold nothing new."""
    next_row = 1
    for stored in objects.list_objects(keys.rows):
        first, last = keys.rows_range(stored.key)
        if last >= next_row:
            yield _Part(stored.key, stored.size, first, max(first, next_row))
            next_row = last + 1


def _rows(part: _Part, lines: BytesIO) -> Iterator[AnsweredRow]:
    skip = part.first_new - part.first
    columns = read_columns([lines.readline()], part.first_new, skip)
    for _ in range(skip):
        lines.readline()
    errors = {failure["row"]: failure["error"] for failure in columns["failures"]}
    values = zip(columns["status"], columns["started_ms"], columns["duration_ms"], strict=True)
    for row, (status, started_ms, duration_ms) in enumerate(values, part.first_new):
        line = lines.readline()
        yield AnsweredRow(
            row=row,
            status=RowStatus(status),
            started_ms=started_ms,
            ended_ms=started_ms + duration_ms,
            error=errors.get(row, ""),
            answer=parse_json(line.decode())["answer"] if status == RowStatus.SUCCESS else None,
        )
