"""Rows without content, which are not sent (``input_format.empty_rows``). The output lists them as SKIPPED.

They are staged in a separate object, so nothing that reads the rows to send needs to know about them. Code that
writes or counts all rows reads them from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice

from foundation.ports import ObjectStore
from row_batches.document.plan import Plan
from row_batches.files.staged_copy import read_staged, staged_header, staged_lines, whole_lines
from row_batches.rows.records import FinishedRow, RowStatus
from row_batches.rows.store import ListedRow, RowRange
from row_batches.run.batch import Batch
from row_batches.targets.protocol import Outcome

SKIPPED = Outcome(RowStatus.SKIPPED, error_message="the row has no content")

LINES_AT_ONCE = 100
"""A row has up to 200 KB."""


class SkippedRows:
    """The skipped rows of an execution. Ask for them in ascending order. Memory: a chunk of their lines."""

    def __init__(self, objects: ObjectStore, plan: Plan) -> None:
        self._rows = _read(objects, plan)
        self._next: tuple[int, list[str]] | None = (0, [])

    def between(self, first: int, last: int) -> Iterator[tuple[int, list[str]]]:
        """The skipped rows from ``first`` to ``last``, with their cells."""
        while self._next is not None and self._next[0] <= last:
            row, cells = self._next
            self._next = next(self._rows, None)
            if row >= first:
                yield row, cells

    def without(self, gaps: Iterable[RowRange]) -> Iterator[RowRange]:
        """The rows in ``gaps`` that are not skipped. ``gaps`` are in ascending order."""
        for first, last in gaps:
            begins = first
            for row, _ in self.between(first, last):
                if begins < row:
                    yield RowRange(begins, row - 1)
                begins = row + 1
            if begins <= last:
                yield RowRange(begins, last)


def finish_skipped(batch: Batch, row: int, cells: Sequence[str]) -> FinishedRow:
    """The record of a skipped row. It ends when the execution starts, so that every reader gives the same bytes."""
    began_ms = int(batch.plan.execution.started_at.timestamp() * 1000)
    return batch.finish_uncalled(row, cells, SKIPPED, at_ms=began_ms)


def list_skipped(batch: Batch, row: int) -> Iterator[ListedRow]:
    """The skipped rows from ``row`` on, as ``RowStore.listed`` gives finished ones."""
    skipped = SkippedRows(batch.work.objects, batch.plan)
    for number, cells in skipped.between(row, batch.plan.total_rows):
        record = finish_skipped(batch, number, cells).record
        yield ListedRow(number, record["status"], record["error"], record["csv"])


def all_rows(objects: ObjectStore, plan: Plan) -> Iterator[tuple[int, list[str], bool]]:
    """Every row of the input with its cells, in order, and whether it is skipped."""
    staged = read_staged(objects.read(plan.staged.key, plan.staged.version_id))
    sent = ((row, cells, False) for row, cells in staged)
    skipped = ((row, cells, True) for row, cells in _read(objects, plan))
    return merge(sent, skipped, key=lambda row: row[0])


def all_staged(objects: ObjectStore, plan: Plan) -> Iterator[bytes]:
    """The whole staged copy, skipped rows included, in chunks of whole lines."""
    staged = objects.read(plan.staged.key, plan.staged.version_id)
    if plan.skipped is None:
        yield from whole_lines(staged)
        return
    skipped = objects.read(plan.skipped.key, plan.skipped.version_id)
    yield staged_header(len(plan.columns))
    lines = merge(staged_lines(staged), staged_lines(skipped), key=lambda line: line[0])
    while chunk := b"".join(line for _, line in islice(lines, LINES_AT_ONCE)):
        yield chunk


def _read(objects: ObjectStore, plan: Plan) -> Iterator[tuple[int, list[str]]]:
    if plan.skipped is not None:
        yield from read_staged(objects.read(plan.skipped.key, plan.skipped.version_id))
