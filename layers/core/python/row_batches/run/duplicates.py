"""Finds rows with equal mapped inputs. Each such input is sent once, for the first row that has it: the *original*.

The index of duplicates is an object with 4 bytes for each row, big-endian: the number of the row's original, or 0 if
the row is an original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from heapq import merge
from itertools import islice
from typing import IO, TYPE_CHECKING

from foundation.errors import InvalidInputError, MappingError, Problem
from foundation.ports import ObjectStore
from row_batches.document.plan import DistinctInput, Keys, Plan
from row_batches.files.ports import WorkObjects
from row_batches.files.staged_copy import read_staged, staged_header, staged_lines
from row_batches.mapping.mapping_in import InputMapper
from row_batches.rows.records import RowColumns, RowOrigin
from row_batches.rows.store import RowRange
from row_batches.run.batch import input_hash

if TYPE_CHECKING:
    from mmap import mmap

MOST_ROWS = 5_000_000
"""The search takes some 60 microseconds and 24 bytes of ``/tmp`` a row. For this many rows, that is five of the
function's 15 minutes and 120 of its 512 MB."""
ROWS_SORTED_AT_ONCE = 200_000
"""They take some 30 MB of memory."""
HASH_BYTES = 16
ROW_BYTES = 4
RECORD_BYTES = HASH_BYTES + ROW_BYTES
CHUNK_BYTES = 1024 * 1024


class FoundDuplicates:
    """The index of duplicates, in a temporary file. ``distinct_rows`` is the number of rows that are originals."""

    def __init__(self, index: mmap, total_rows: int, duplicates: int) -> None:
        self._index = index
        self.duplicates = duplicates
        self.distinct_rows = total_rows - duplicates

    def is_original(self, row: int) -> bool:
        return not any(self._index[(row - 1) * ROW_BYTES : row * ROW_BYTES])

    def chunks(self) -> Iterator[bytes]:
        """The index in chunks, for the upload."""
        for start in range(0, len(self._index), CHUNK_BYTES):
            yield self._index[start : start + CHUNK_BYTES]


@contextmanager
def find_duplicates(
    rows: Iterable[tuple[int, Sequence[str]]], digest: Callable[[Sequence[str]], bytes | None], total_rows: int
) -> Iterator[FoundDuplicates]:
    """Find rows that have the same ``digest`` among ``rows`` 1 to ``total_rows``, which come in order.

    A row whose digest is None equals no other row.

    An external merge sort of digest and row number. Memory: ``ROWS_SORTED_AT_ONCE`` records, whatever the number of
    rows; the rest lies in ``/tmp``. Raises ``InvalidInputError`` above ``MOST_ROWS``.
    """
    if total_rows > MOST_ROWS:
        message = f"duplicates are found among up to {MOST_ROWS:,} rows, and the input has {total_rows:,}"
        fix = "split the input, or leave it out"
        raise InvalidInputError([Problem("execution_config.deduplicate", "true", message, fix)])
    from mmap import mmap  # noqa: PLC0415 (few runs look for duplicates)

    with _temporary_file() as index_file:
        index_file.truncate(max(1, total_rows) * ROW_BYTES)
        with mmap(index_file.fileno(), total_rows * ROW_BYTES) as index:
            duplicates = 0
            original = of = b""
            for record in _sorted(_records(rows, digest)):
                row = record[HASH_BYTES:]
                if record[:HASH_BYTES] != of:
                    original, of = row, record[:HASH_BYTES]
                    continue
                place = (int.from_bytes(row) - 1) * ROW_BYTES
                index[place : place + ROW_BYTES] = original
                duplicates += 1
            yield FoundDuplicates(index, total_rows, duplicates)


def stage_distinct(
    work: WorkObjects, keys: Keys, version_id: str, columns: int, mapper: InputMapper, total_rows: int, skipped: int = 0
) -> DistinctInput | None:
    """Stage the rows to send and the index of duplicates; None if no two inputs are equal.

    ``version_id`` is the version of the staged input, which lacks ``skipped`` of the rows. A row that cannot be mapped
    equals no other row. Raises what ``find_duplicates`` raises.
    """

    def digest(cells: Sequence[str]) -> bytes | None:
        try:
            return bytes.fromhex(input_hash(mapper.map(cells)))
        except MappingError:
            return None

    size = runs = 0

    def originals(found: FoundDuplicates) -> Iterator[bytes]:
        nonlocal size, runs
        header = staged_header(columns)
        size += len(header)
        yield header
        before = (0, False)
        for row, line in staged_lines(work.read(keys.staged, version_id)):
            is_original = found.is_original(row)
            runs += before != (row - 1, is_original)
            before = (row, is_original)
            if is_original:
                size += len(line)
                yield line

    rows = read_staged(work.read(keys.staged, version_id))
    with find_duplicates(rows, digest, total_rows) as found:
        if not found.duplicates:
            return None
        work.upload(keys.duplicates, found.chunks())
        version = work.upload(keys.distinct, originals(found))
        return DistinctInput(
            key=keys.distinct, version_id=version, size_bytes=size, rows=found.distinct_rows - skipped, runs=runs
        )


def _temporary_file() -> IO[bytes]:
    from tempfile import TemporaryFile  # noqa: PLC0415 (few runs look for duplicates)

    return TemporaryFile()


def _records(
    rows: Iterable[tuple[int, Sequence[str]]], digest: Callable[[Sequence[str]], bytes | None]
) -> Iterator[bytes]:
    for row, cells in rows:
        found = digest(cells)
        if found is not None:
            yield found[:HASH_BYTES] + row.to_bytes(ROW_BYTES)


def _sorted(records: Iterator[bytes]) -> Iterator[bytes]:
    """The records, ordered by digest, then by row."""
    with ExitStack() as files:
        runs: list[IO[bytes]] = []
        while batch := sorted(islice(records, ROWS_SORTED_AT_ONCE)):
            if len(batch) < ROWS_SORTED_AT_ONCE and not runs:
                yield from batch
                return
            runs.append(files.enter_context(_temporary_file()))
            runs[-1].write(b"".join(batch))
            runs[-1].seek(0)
        yield from merge(*map(_read_run, runs))


def _read_run(run: IO[bytes]) -> Iterator[bytes]:
    while record := run.read(RECORD_BYTES):
        yield record


def duplicates_among(columns: RowColumns) -> frozenset[int]:
    """The finished rows that were not sent themselves."""
    return rows_from(columns, RowOrigin.DUPLICATE)


def rows_from(columns: RowColumns, origin: RowOrigin) -> frozenset[int]:
    """The finished rows whose outcome comes from ``origin``."""
    return frozenset(of["row"] for of in columns["details"] if of.get("origin") == origin)


def failed_rows_sent(columns: RowColumns) -> int:
    """The number of finished rows that were sent themselves and are not SUCCESS."""
    not_sent = duplicates_among(columns) | rows_from(columns, RowOrigin.LEFT)
    return sum(failure["row"] not in not_sent for failure in columns["failures"])


class Originals:
    """Looks up the originals of an execution's rows, in ascending order. Memory: a chunk of the index."""

    def __init__(self, objects: ObjectStore, plan: Plan) -> None:
        self._chunks = iter(()) if plan.distinct is None else objects.read(plan.keys.duplicates)
        self._has_duplicates = plan.distinct is not None
        self._chunk = b""
        self._before = 0
        """The number of index bytes before the chunk."""

    def of(self, row: int) -> int:
        """The row that is sent for this one: the row itself, unless it is a duplicate."""
        if not self._has_duplicates:
            return row
        place = (row - 1) * ROW_BYTES - self._before
        while place >= len(self._chunk):
            place -= len(self._chunk)
            self._before += len(self._chunk)
            self._chunk = next(self._chunks)
        return int.from_bytes(self._chunk[place : place + ROW_BYTES]) or row

    def sent(self, gaps: Iterable[RowRange]) -> Iterator[RowRange]:
        """The rows in ``gaps`` that are sent themselves. ``gaps`` are in ascending order."""
        if not self._has_duplicates:
            yield from gaps
            return
        for first, last in gaps:
            begins = 0
            for row in range(first, last + 1):
                is_sent = self.of(row) == row
                if is_sent and not begins:
                    begins = row
                if not is_sent and begins:
                    yield RowRange(begins, row - 1)
                    begins = 0
            if begins:
                yield RowRange(begins, last)
