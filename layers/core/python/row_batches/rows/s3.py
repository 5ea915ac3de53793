"""Finished rows as objects in S3, behind ``row_batches.rows.store.RowStore``.

A rows object holds consecutive rows, and its key has the first and the last row number
(docs/decisions/0004-rows-objects-named-by-range.md). So keys are listed in row order, and the listing shows gaps.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from typing import NamedTuple

from foundation.errors import ObjectChangedError, ObjectNotFoundError
from foundation.json_text import parse_json
from foundation.ports import ObjectStore, StoredObject
from row_batches.document.plan import Keys
from row_batches.rows.markers import Covered, Markers
from row_batches.rows.read_ahead import read_ahead
from row_batches.rows.records import (
    AnsweredRow,
    FinishedRow,
    KeptAnswer,
    KeptFailure,
    RowColumns,
    RowStatus,
    consecutive_runs,
)
from row_batches.rows.rows_object import encode_rows, first_line, read_columns, split_answer
from row_batches.rows.store import FinishedRows, ListedRow, RowRange, listed_by_reading

GROUP_OBJECTS = 16
GROUP_BYTES = 1024 * 1024
"""One reader reads up to this many neighbouring objects, of up to this size, and yields them as one group. The
aggregator's work for a group is nearly the same for any number of its rows."""
WRITERS = 16
"""The objects that one write puts at once."""
MOST_GROUPS_AHEAD = 24
MOST_BYTES_AHEAD = 8 * 1024 * 1024
MOST_OBJECTS_AHEAD = 48
MOST_ANSWER_BYTES_AHEAD = 32 * 1024 * 1024


class S3RowStore:
    """The rows objects of the execution of ``keys``. An object has up to ``batch_size`` rows.

    Memory: ``read`` holds ``MOST_BYTES_AHEAD`` and one group. ``answers`` holds ``MOST_ANSWER_BYTES_AHEAD``, one rows
    object (up to some 40 MB) and one parsed answer. ``kept`` holds a chunk of a rows object and one row.
    """

    def __init__(self, objects: ObjectStore, keys: Keys, batch_size: int) -> None:
        self._objects = objects
        self._keys = keys
        self._batch_size = batch_size
        self._markers = Markers(objects, keys, batch_size)

    def write(self, rows: Sequence[FinishedRow]) -> None:
        runs = list(consecutive_runs(rows))
        if len(runs) == 1:
            self._put(runs[0])
            return
        # If rows between these are duplicates of others, there are many small objects.
        with ThreadPoolExecutor(min(len(runs), WRITERS), "writer") as pool:
            for written in [pool.submit(self._put, run) for run in runs]:
                written.result()

    def _put(self, run: Sequence[FinishedRow]) -> None:
        self._objects.put(self._keys.rows_object(run[0].row, run[-1].row), encode_rows(run))

    def finished(self, first: int = 1, last: int | None = None) -> Iterator[RowRange]:
        if self._batch_size == 1 and first == last:  # One cheap request instead of a listing.
            if self._objects.exists(self._keys.rows_object(first, first)):
                yield RowRange(first, first)
            return
        for begins, ends in self._markers.ranges(self._keys.rows, first):
            if last is not None and begins > last:
                return
            yield RowRange(max(begins, first), ends if last is None else min(ends, last))

    # --- in order, without answers

    def read(self, row: int = 1, position: str = "") -> Generator[FinishedRows, None, None]:
        def read(group: _Group) -> list[bytes]:
            return [first_line(self._objects.get(key)) for key in group.keys]

        sent = self._markers.letters_sent(row)
        listing = self._objects.list_objects(self._keys.rows, position)
        groups = _grouped(_useful(listing, self._keys, row))
        reading = read_ahead(groups, read, most_parts=MOST_GROUPS_AHEAD, most_bytes=MOST_BYTES_AHEAD)
        with closing(reading):
            for group, lines in reading:
                yield _StoredRows(group.keys[-1], group.first, group.last, lines, sent)
                del lines

    def listed(self, statuses: Collection[RowStatus], row: int = 1) -> Generator[ListedRow, None, None]:
        return listed_by_reading(self, statuses, row)

    # --- with answers

    def answers(self, row: int = 1) -> Generator[AnsweredRow, None, None]:
        reading = read_ahead(
            self._parts(row),
            lambda part: self._objects.get(part.key),
            most_parts=MOST_OBJECTS_AHEAD,
            most_bytes=MOST_ANSWER_BYTES_AHEAD,
        )
        with closing(reading):
            for part, body in reading:
                yield from _answered_rows(part, BytesIO(body))
                del body

    def _parts(self, next_row: int) -> Iterator[_Part]:
        for stored, first, last in _useful(self._objects.list_objects(self._keys.rows), self._keys, next_row):
            yield _Part(stored.key, stored.size, first, max(first, next_row))
            next_row = last + 1

    def kept(self, rows: Collection[int]) -> Iterator[KeptAnswer]:
        wanted = frozenset(rows)
        for key, first, last in self._objects_with(wanted):
            for row, version, line in self._successes(key, first):
                if row in wanted:
                    row_hash, answer = split_answer(row, line)
                    yield KeptAnswer(row, row_hash, version, answer)
                if row >= last:
                    break

    def failures(self, rows: Collection[int]) -> Iterator[KeptFailure]:
        wanted = frozenset(rows)
        for key, first, _ in self._objects_with(wanted):
            try:
                columns = read_columns([next(_lines(self._objects.read(key)))], first, 0)
            except (ObjectNotFoundError, ObjectChangedError):
                continue
            for failed in columns["failures"]:
                if failed["row"] in wanted:
                    status, name = RowStatus(failed["status"]), failed.get("error_name", "")
                    yield KeptFailure(failed["row"], status, name, failed["error"])

    def _objects_with(self, wanted: frozenset[int]) -> Iterator[tuple[str, int, int]]:
        """Key, first row and last wanted row of each rows object with wanted rows."""
        if self._batch_size == 1:  # One request for each row, without a listing.
            yield from ((self._keys.rows_object(row, row), row, row) for row in sorted(wanted))
            return
        if not wanted:
            return
        last = max(wanted)
        for begins, ends in self._markers.ranges(self._keys.rows, min(wanted)):
            if begins > last:
                return
            inside = [row for row in range(begins, ends + 1) if row in wanted]
            if inside:
                yield self._keys.rows_object(begins, ends), begins, inside[-1]

    def _successes(self, key: str, first: int) -> Iterator[tuple[int, str, bytes]]:
        """Row number, version of the target, and line, of each SUCCESS row of a rows object."""
        try:
            lines = _lines(self._objects.read(key))
            columns = read_columns([next(lines)], first, 0)
            values = zip(columns["status"], columns["target_version"], lines, strict=True)
            for row, (status, version, line) in enumerate(values, first):
                if status == RowStatus.SUCCESS:
                    yield row, version, line
        except (ObjectNotFoundError, ObjectChangedError):
            return

    # --- markers

    def count_failed(self, rows: Sequence[int]) -> None:
        self._markers.count_failed(rows)

    def failed(self) -> int:
        return self._markers.failed()

    def mark_letters_sent(self, rows: Sequence[FinishedRow]) -> None:
        self._markers.mark_letters_sent(rows)


class _StoredRows(NamedTuple):
    """The first lines of consecutive rows objects. The key of the last object is the position."""

    position: str
    first: int
    last: int
    lines: list[bytes]
    sent: Covered

    @property
    def writes(self) -> int:
        return len(self.lines)

    @property
    def write_units(self) -> int:
        return 0

    def columns_from(self, row: int) -> RowColumns:
        return read_columns(self.lines, row, row - self.first, self.sent.covers)


class _Group(NamedTuple):
    """Consecutive rows objects, without gap or overlap."""

    keys: list[str]
    first: int
    last: int
    size: int


class _Part(NamedTuple):
    """A rows object. Its rows before ``first_new`` are also in an earlier object."""

    key: str
    size: int
    first: int
    first_new: int


def _useful(listing: Iterator[StoredObject], keys: Keys, next_row: int) -> Iterator[tuple[StoredObject, int, int]]:
    """Rows objects with their first and last row, without objects that have no new rows."""
    for stored in listing:
        first, last = keys.range_of(stored.key)
        if last >= next_row:
            next_row = last + 1
            yield stored, first, last


def _grouped(listing: Iterator[tuple[StoredObject, int, int]]) -> Iterator[_Group]:
    group: _Group | None = None
    for stored, first, last in listing:
        if (
            group is not None
            and first == group.last + 1
            and len(group.keys) < GROUP_OBJECTS
            and group.size + stored.size <= GROUP_BYTES
        ):
            group = _Group([*group.keys, stored.key], group.first, last, group.size + stored.size)
            continue
        if group is not None:
            yield group
        group = _Group([stored.key], first, last, stored.size)
    if group is not None:
        yield group


def _answered_rows(part: _Part, lines: BytesIO) -> Iterator[AnsweredRow]:
    skip = part.first_new - part.first
    columns = read_columns([lines.readline()], part.first_new, skip)
    for _ in range(skip):
        lines.readline()
    failures = {failure["row"]: (failure["error"], failure.get("error_name", "")) for failure in columns["failures"]}
    missing = {details["row"] for details in columns["details"] if details.get("missing")}
    usage = {details["row"]: details["usage"] for details in columns["details"]}
    times = zip(columns["started_ms"], columns["duration_ms"], strict=True)
    values = zip(columns["status"], times, columns["attempts"], columns["target_version"], strict=True)
    for row, (status, (started_ms, duration_ms), attempts, version) in enumerate(values, part.first_new):
        line = lines.readline()
        unmatched = status != RowStatus.SUCCESS and row in missing
        has_answer = status == RowStatus.SUCCESS or unmatched
        error, error_name = failures.get(row, ("", ""))
        yield AnsweredRow(
            row=row,
            status=RowStatus(status),
            started_ms=started_ms,
            ended_ms=started_ms + duration_ms,
            attempts=attempts,
            error=error,
            answer=parse_json(split_answer(row, line)[1].decode()) if has_answer else None,
            unmatched=unmatched,
            target_version=version,
            error_name=error_name,
            usage=usage.get(row, {}),
        )


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a text that ends with a line end."""
    parts: list[bytes] = []
    for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join([*parts, end])
            parts = []
        parts.append(rest)
