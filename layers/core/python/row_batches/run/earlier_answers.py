"""Rows that an earlier execution finished (``execution_config.resume_from``): taken over with the answer that is kept.

A row is taken over when the earlier execution has it under the same number, as SUCCESS, with the same mapped input. Its
answer is mapped by this batch's own output mapping. It has no attempt and no duration: nothing was called.

Memory: a chunk of a rows object, its first line, the answer of one row and what it is parsed into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from foundation.errors import MappingError, ObjectChangedError, ObjectNotFoundError
from foundation.json_text import parse_json
from foundation.ports import Clock, ObjectStore
from row_batches.document.plan import EarlierExecution, Keys
from row_batches.rows.records import RowStatus
from row_batches.rows.rows_object import answer_start, read_columns
from row_batches.run.batch import Batch, FinishedRow, input_hash


def take_over(
    batch: Batch, items: Mapping[int, Mapping[str, str]], clock: Clock, goes_on: Callable[[], bool] = lambda: True
) -> Iterator[FinishedRow]:
    """Those of the staged rows ``items``, by number, that need no call. Ends early when ``goes_on`` says so.

    Rows objects that have expired, or expire meanwhile, give nothing: their rows are run.
    """
    left = dict(items)
    for earlier in batch.plan.resume_from:
        for key, first, wanted in _rows_objects(batch.work.objects, earlier, left):
            for row, line in _successes(batch.work.objects, key, first):
                if not goes_on():
                    return
                if row in left:
                    finished = _finish(batch, row, left[row], line, clock)
                    if finished is not None:
                        del left[row]
                        yield finished
                if row >= wanted[-1]:
                    break


def _rows_objects(
    objects: ObjectStore, earlier: EarlierExecution, left: Mapping[int, object]
) -> Iterator[tuple[str, int, list[int]]]:
    """Key, first row and wanted rows of each rows object with some that are ``left``, which may shrink meanwhile."""
    keys = Keys(earlier.name)
    if earlier.batch_size == 1:  # a request for each row, instead of one more for the listing
        yield from ((keys.rows_object(row, row), row, [row]) for row in sorted(left))
        return
    last = max(left, default=0)
    first_key = f"{keys.rows}{max(1, min(left, default=1) - earlier.batch_size + 1):012d}"
    for stored in objects.list_objects(keys.rows, first_key):
        begins, ends = keys.rows_range(stored.key)
        if begins > last:
            return
        wanted = [row for row in range(begins, ends + 1) if row in left]
        if wanted:
            yield stored.key, begins, wanted


def _successes(objects: ObjectStore, key: str, first: int) -> Iterator[tuple[int, bytes]]:
    """Number and line of the rows of a rows object that are SUCCESS."""
    try:
        lines = _lines(objects.read(key))
        statuses = read_columns([next(lines)], first, 0)["status"]
        for row, (status, line) in enumerate(zip(statuses, lines, strict=True), first):
            if status == RowStatus.SUCCESS:
                yield row, line
    except (ObjectNotFoundError, ObjectChangedError):
        return


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a text that ends with a line end."""
    parts: list[bytes] = []
    for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join([*parts, end])
            parts = []
        parts.append(rest)


def _finish(batch: Batch, row: int, item: Mapping[str, str], line: bytes, clock: Clock) -> FinishedRow | None:
    """The finished row, if the line has the answer to its input."""
    cells = batch.cells(item)
    try:
        row_hash = input_hash(batch.input_mapper.map(cells))
    except MappingError:
        return None
    if not line.startswith(answer_start(row, row_hash)):
        return None
    outcome = batch.read_kept(parse_json(line.decode())["answer"])
    now = clock.now_ms()
    finished = batch.finish(row, cells, outcome, row_hash=row_hash, attempts=0, started_ms=now, ended_ms=now)
    finished.record["answer"] = None  # its text is in the line
    return finished if outcome.status is RowStatus.SUCCESS else None
