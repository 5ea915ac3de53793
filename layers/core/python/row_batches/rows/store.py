"""The port to the store of one execution's finished rows. Adapters: ``s3``; in tests, one in memory."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from row_batches.rows.records import AnsweredRow, FinishedRow, KeptAnswer, RowColumns


class RowRange(NamedTuple):
    """Rows ``first`` to ``last``, both included."""

    first: int
    last: int


class FinishedRows(Protocol):
    """Consecutive finished rows, ``first`` to ``last``, stored by ``writes`` writes.

    ``position`` is the position to continue reading from.
    """

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...

    @property
    def writes(self) -> int: ...

    @property
    def position(self) -> str: ...

    def columns_from(self, row: int) -> RowColumns:
        """The rows from ``row`` on. Call it once, and in the order in which the rows were read."""


class RowStore(Protocol):
    """The finished rows of one execution. Safe in several threads.

    A row is finished when, and only when, ``write`` has returned for it. A row that was written twice, because a worker
    was thought dead, is read once. The store never holds rows that were not attempted.

    Every method raises errors of ``foundation.errors``: ``DeploymentError``, ``ThrottledError``,
    ``ServiceUnavailableError``.
    """

    def write(self, rows: Sequence[FinishedRow]) -> None:
        """Finish ascending rows. If it raises, some of them can be finished already; write all of them again."""

    def finished(self, first: int = 1, last: int | None = None) -> Iterator[RowRange]:
        """The finished rows from ``first`` to ``last``, as ascending ranges inside them, which can overlap."""

    def read(self, row: int = 1, position: str = "") -> Generator[FinishedRows, None, None]:
        """The finished rows from ``row`` on, in order, without their answers. Close it if you stop early.

        If rows were written twice, ranges can overlap, and the first one counts. ``position`` is the position of the
        last rows that were read before, "" at the beginning.
        """

    def answers(self) -> Generator[AnsweredRow, None, None]:
        """Each finished row once, ascending, with its answer. For a row written twice, the same one as ``read``."""

    def kept(self, rows: Collection[int]) -> Iterator[KeptAnswer]:
        """The answers of the ``rows`` that are SUCCESS, ascending. A row that was written twice can appear twice.

        Answers that have expired, or expire during the call, are left out.
        """

    def count_failed(self, rows: Sequence[int]) -> None:
        """Count these rows as failed. They were written together."""

    def failed(self) -> int:
        """The number of rows counted as failed so far."""

    def mark_letters_sent(self, rows: Sequence[FinishedRow]) -> None:
        """Mark that the dead letters of the failed ones among these rows are sent. They were written together."""


def find_gaps(ranges: Iterable[RowRange], total_rows: int) -> Iterator[RowRange]:
    """Each gap of rows that no range has, in order. ``ranges`` ascend and can overlap."""
    expected = 1
    for first, last in ranges:
        if first > expected:
            yield RowRange(expected, first - 1)
        expected = max(expected, last + 1)
    if expected <= total_rows:
        yield RowRange(expected, total_rows)
