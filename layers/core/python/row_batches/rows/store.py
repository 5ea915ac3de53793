"""The port to the store of one execution's finished rows. Adapters: ``s3``, ``dynamodb``; in tests, one in memory."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple, Protocol

from row_batches.rows.records import AnsweredRow, FinishedRow, KeptAnswer, KeptFailure, RowColumns, RowStatus


class RowRange(NamedTuple):
    """Rows ``first`` to ``last``, both included."""

    first: int
    last: int


class ListedRow(NamedTuple):
    """A finished row for a person: its line of the output and, if it is not SUCCESS, the reason."""

    row: int
    status: RowStatus
    error: str
    csv: str


class FinishedRows(Protocol):
    """Consecutive finished rows, ``first`` to ``last``, stored by ``writes`` writes.

    ``write_units`` are the write units of these writes in a table (1 KB each), 0 for objects. ``position`` is the
    position to continue reading from.
    """

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...

    @property
    def writes(self) -> int: ...

    @property
    def write_units(self) -> int: ...

    @property
    def position(self) -> str: ...

    def columns_from(self, row: int) -> RowColumns:
        """The rows from ``row`` on. Call it once, and in the order in which the rows were read."""


class RowStore(Protocol):
    """The finished rows of one execution. Safe in several threads.

    A row is finished when ``write`` has returned for it, and not before. If a row was written twice, because a worker
    seemed dead, it is read once. The store never holds rows that were not started.

    Every method raises errors of ``foundation.errors``: ``DeploymentError``, ``ThrottledError``,
    ``ServiceUnavailableError``.
    """

    def write(self, rows: Sequence[FinishedRow]) -> None:
        """Finish ascending rows. If it raises an error, some rows can be finished; write all of them again."""

    def finished(self, first: int = 1, last: int | None = None) -> Iterator[RowRange]:
        """The finished rows from ``first`` to ``last``, as ascending ranges inside them, which can overlap."""

    def read(self, row: int = 1, position: str = "") -> Generator[FinishedRows, None, None]:
        """The finished rows from ``row`` on, in order, without their answers. Close it if you stop early.

        If rows were written twice, ranges can overlap, and one of the two counts. ``position`` is the position of the
        last rows that were read before, "" at the beginning.
        """

    def listed(self, statuses: Collection[RowStatus], row: int = 1) -> Generator[ListedRow, None, None]:
        """The finished rows of these statuses from ``row`` on, in order. Close it when you stop early."""

    def answers(self, row: int = 1) -> Generator[AnsweredRow, None, None]:
        """Each finished row from ``row`` on once, ascending, with its answer. For a row written twice, the same one as
        ``read``."""

    def kept(self, rows: Collection[int]) -> Iterator[KeptAnswer]:
        """The answers of the ``rows`` that are SUCCESS, ascending. A row that was written twice can appear twice.

        Answers that have expired, or expire during the call, are left out.
        """

    def failures(self, rows: Collection[int]) -> Iterator[KeptFailure]:
        """The failures of the ``rows`` that are not SUCCESS, ascending. Rows that have expired are left out."""

    def count_failed(self, rows: Sequence[int]) -> None:
        """Count these rows as failed. They were written together."""

    def failed(self) -> int:
        """The number of rows counted as failed so far."""

    def mark_letters_sent(self, rows: Sequence[FinishedRow]) -> None:
        """Mark that the dead letters of the failed ones among these rows are sent. They were written together."""


def listed_by_reading(store: RowStore, statuses: Collection[RowStatus], row: int) -> Generator[ListedRow, None, None]:
    """``RowStore.listed`` of a store that finds a row's status only by reading it."""
    with closing(store.read(row)) as reading:
        for rows in reading:
            first = max(row, rows.first)
            columns = rows.columns_from(first)
            errors = {failure["row"]: failure["error"] for failure in columns["failures"]}
            for number, (status, line) in enumerate(zip(columns["status"], columns["csv"], strict=True), first):
                if status in statuses:
                    yield ListedRow(number, RowStatus(status), errors.get(number, ""), line)
            row = rows.last + 1


def find_gaps(ranges: Iterable[RowRange], total_rows: int) -> Iterator[RowRange]:
    """Each gap of rows that no range has, in order. ``ranges`` ascend and can overlap."""
    expected = 1
    for first, last in ranges:
        if first > expected:
            yield RowRange(expected, first - 1)
        expected = max(expected, last + 1)
    if expected <= total_rows:
        yield RowRange(expected, total_rows)
