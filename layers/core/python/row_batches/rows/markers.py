"""Empty objects in S3 whose keys mark failed rows and sent dead letters. Every store uses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foundation.ports import ObjectStore
from row_batches.document.plan import Keys
from row_batches.rows.records import FinishedRow, consecutive_runs
from row_batches.rows.store import RowRange


class Markers:
    """The markers of the execution of ``keys``. A marker spans up to ``batch_size`` rows."""

    def __init__(self, objects: ObjectStore, keys: Keys, batch_size: int) -> None:
        self._objects = objects
        self._keys = keys
        self._batch_size = batch_size

    def count_failed(self, rows: Sequence[int]) -> None:
        if rows:
            self._objects.put(self._keys.failures_marker(rows[0], len(rows)), b"")

    def failed(self) -> int:
        markers = self._objects.list_objects(self._keys.failures)
        return sum(int(marker.key.rpartition("-")[2]) for marker in markers)

    def mark_letters_sent(self, rows: Sequence[FinishedRow]) -> None:
        for run in consecutive_runs(rows):
            if any(finished.has_failed for finished in run):
                self._objects.put(self._keys.letters_marker(run[0].row, run[-1].row), b"")

    def letters_sent(self, first: int) -> Covered:
        """Tells whether the letters of rows from ``first`` on are sent."""
        return Covered(self.ranges(self._keys.letters, first))

    def ranges(self, prefix: str, first: int) -> Iterator[RowRange]:
        """The ranges in the keys under ``prefix``, without those that end before ``first``."""
        earliest = max(1, first - self._batch_size + 1)
        for stored in self._objects.list_objects(prefix, f"{prefix}{earliest:012d}"):
            begins, ends = self._keys.range_of(stored.key)
            if ends >= first:
                yield RowRange(begins, ends)


class Covered:
    """Tells whether rows are in ``ranges``, which ascend and can overlap. Ask for rows in ascending order."""

    def __init__(self, ranges: Iterator[RowRange]) -> None:
        self._ranges = ranges
        self._next: RowRange | None = None
        self._began = False
        self._reach = 0

    def covers(self, row: int) -> bool:
        if not self._began:  # Only at the first failed row, because most runs have none.
            self._began, self._next = True, next(self._ranges, None)
        while self._next is not None and self._next.first <= row:
            self._reach = max(self._reach, self._next.last)
            self._next = next(self._ranges, None)
        return row <= self._reach
