"""Where the finished rows of one execution are kept, as a port. Adapters: ``s3``; in tests, one in memory."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from row_batches.rows.records import AnsweredRow, FinishedRow, KeptAnswer, RowColumns


class RowRange(NamedTuple):
    """Rows ``first`` to ``last``, both included."""

    first: int
    last: int


class FinishedRows(Protocol):
    """Consecutive finished rows, ``first`` to ``last``, that were kept by ``writes`` writes.

    ``position`` is where reading goes on after them.
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
        """``row`` and those after it. Call it once, and in the order in which the rows were read."""


class RowStore(Protocol):
    """The finished rows of one execution. Safe in several threads.

    A row is finished when, and only when, ``write`` has returned for it. One that was written twice, by a worker that
    was thought dead, is read once. Rows that were not attempted are in here not at all.

    Every method raises errors of ``foundation.errors``: ``DeploymentError``, ``ThrottledError``,
    ``ServiceUnavailableError``.
    """

    def write(self, rows: Sequence[FinishedRow]) -> None:
        """Finish rows, ascending. When it raises, some of them may be finished; writing all again is right."""

    def finished(self, first: int = 1, last: int | None = None) -> Iterator[RowRange]:
        """The finished rows from ``first`` to ``last``, as ranges that ascend and may overlap; none lies outside."""

    def read(self, row: int = 1, position: str = "") -> Generator[FinishedRows, None, None]:
        """The finished rows from ``row`` on, in order, without their answers. Close it when you stop early.

        Ranges may overlap, when rows were written twice: the first one stands. ``position`` is that of the last
        rows that were read before, "" at the beginning.
        """

    def answers(self) -> Generator[AnsweredRow, None, None]:
        """Each finished row once, ascending, with its answer: of one that was written twice, what ``read`` gives."""

    def kept(self, rows: Collection[int]) -> Iterator[KeptAnswer]:
        """The answers of those of ``rows`` that are SUCCESS, ascending. One that was written twice may come twice.

        What has expired, or expires meanwhile, is left out.
        """

    def count_failed(self, rows: Sequence[int]) -> None:
        """Count these rows, which were written together, as failed."""

    def failed(self) -> int:
        """How many rows are counted as failed so far."""

    def mark_letters_sent(self, rows: Sequence[FinishedRow]) -> None:
        """Say of these rows, which were written together, that the dead letters of the failed ones are sent."""


def find_gaps(ranges: Iterable[RowRange], total_rows: int) -> Iterator[RowRange]:
    """Each run of rows that no range has, in order. ``ranges`` ascend, and may overlap."""
    expected = 1
    for first, last in ranges:
        if first > expected:
            yield RowRange(expected, first - 1)
        expected = max(expected, last + 1)
    if expected <= total_rows:
        yield RowRange(expected, total_rows)
