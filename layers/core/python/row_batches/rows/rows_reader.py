"""Reads the rows objects of an execution in row order, several at once, with bounded memory, without their answers."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from foundation.ports import ObjectStore, StoredObject
from row_batches.document.plan import Keys
from row_batches.rows.read_ahead import read_ahead
from row_batches.rows.records import RowColumns
from row_batches.rows.rows_object import first_line, read_columns

GROUP_OBJECTS = 16
GROUP_BYTES = 256 * 1024
"""Neighbours up to so many and so large are read by one reader and handed on as one."""
MOST_GROUPS_AHEAD = 24
MOST_BYTES_AHEAD = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FinishedRows:
    """The finished rows ``first`` to ``last``: the first lines of their rows objects, of which ``key`` is the last."""

    key: str
    first: int
    last: int
    lines: list[bytes]

    def columns_from(self, row: int) -> RowColumns:
        """``row`` and those after it."""
        return read_columns(self.lines, row, row - self.first)


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows objects that follow one another without gap or overlap."""

    keys: list[str]
    first: int
    last: int
    size: int


def read_finished_rows(
    objects: ObjectStore, keys: Keys, next_row: int, start_after: str = ""
) -> Generator[FinishedRows, None, None]:
    """The finished rows after the rows object ``start_after``, from ``next_row`` on, in row order.

    Rows objects that overlap (a worker that was thought dead wrote, too) are given as they are, but for those whose
    rows all are in an earlier one. Memory: ``MOST_BYTES_AHEAD``, and one group.
    """

    def read(group: _Group) -> list[bytes]:
        return [first_line(objects.get(key)) for key in group.keys]

    groups = _grouped(_useful(objects.list_objects(keys.rows, start_after), keys, next_row))
    reading = read_ahead(groups, read, most_parts=MOST_GROUPS_AHEAD, most_bytes=MOST_BYTES_AHEAD)
    with closing(reading):
        for group, lines in reading:
            yield FinishedRows(group.keys[-1], group.first, group.last, lines)
            del lines


def _useful(listing: Iterator[StoredObject], keys: Keys, next_row: int) -> Iterator[tuple[StoredObject, int, int]]:
    """Rows objects with their first and last row, but for those that hold nothing new."""
    for stored in listing:
        first, last = keys.rows_range(stored.key)
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


def find_gaps(ranges: Iterator[tuple[int, int]], total_rows: int) -> Iterator[tuple[int, int]]:
    """First and last row of each run of rows that no range has, in order. ``ranges`` ascend, and may overlap."""
    expected = 1
    for first, last in ranges:
        if first > expected:
            yield expected, first - 1
        expected = max(expected, last + 1)
    if expected <= total_rows:
        yield expected, total_rows
