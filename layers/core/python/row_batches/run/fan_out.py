"""Gives the duplicates of sent rows the outcome of their originals (``execution_config.deduplicate``).

Each duplicate becomes a finished row of its own, so readers of rows need not know about duplicates: output, failed
rows, dead letters, ``make remap`` and a run that resumes this one. A duplicate of a failed row fails with the same
error. A duplicate of a row that no worker finished stays unfinished.

A call after a kill continues with the duplicates that are not finished.

Memory: that of ``RowStore.answers``, and ``FLUSH_BYTES`` of finished rows. ``/tmp`` holds ``SPOOL_BYTES`` of answers,
one answer more, and 8 bytes for each row. Answers that do not fit are handled in further rounds, and each round reads
the staged input again.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from tempfile import TemporaryFile

import orjson

from foundation.json_text import parse_json, render_json
from foundation.ports import Deadline
from row_batches.files.staged_copy import read_staged
from row_batches.rows.records import AnsweredRow, FinishedRow, RowOrigin, RowStatus
from row_batches.rows.store import find_gaps
from row_batches.run.batch import Batch, input_hash
from row_batches.run.duplicates import Originals
from row_batches.run.skipped import SkippedRows

SPOOL_BYTES = 256 * 1024 * 1024
PLACE_BYTES = 8
FLUSH_BYTES = 4 * 1024 * 1024
FLUSH_ROWS = 1_000
RESERVE_SECONDS = 60.0
"""The part of the function's time that is kept for writing the rows in memory."""
WRITE_SECONDS = 450.0
"""The part of the function's time that is kept for finding and writing the duplicates of the answers that were read.
Large answers take longer to read than a call lasts, so each call must finish some duplicates."""


def fan_out(batch: Batch, deadline: Deadline) -> bool:
    """Finish the duplicates of finished rows. False if the time ended before that; then call again."""
    if next(_unfinished(batch), None) is None:
        return True
    with ExitStack() as open_until_done:
        wanted = _originals_of_unfinished(batch)
        answers = batch.rows.answers(wanted.first)
        open_until_done.callback(answers.close)
        spool = open_until_done.enter_context(_Spool(batch.plan.total_rows))
        while spool.fill(answers, wanted, lambda: deadline.remaining_seconds() > WRITE_SECONDS):
            if not _finish_duplicates(batch, spool, deadline) or deadline.remaining_seconds() <= WRITE_SECONDS:
                return False
    return True


def _unfinished(batch: Batch) -> Iterator[tuple[int, int]]:
    """The unfinished duplicates whose originals are finished, each with its original, ascending."""
    originals = Originals(batch.work.objects, batch.plan)
    unanswered = _Rows(batch.plan.total_rows)
    for first, last in find_gaps(batch.rows.finished(), batch.plan.total_rows):
        for row in range(first, last + 1):
            original = originals.of(row)
            if original == row:
                unanswered.add(row)
            elif original not in unanswered:  # an original comes before its duplicates
                yield row, original


def _originals_of_unfinished(batch: Batch) -> _Rows:
    wanted = _Rows(batch.plan.total_rows)
    for _, original in _unfinished(batch):
        wanted.add(original)
    return wanted


class _Rows:
    """A set of rows, with one bit for each row of the execution. ``first`` is the lowest of them."""

    def __init__(self, total_rows: int) -> None:
        self._bits = bytearray(total_rows // 8 + 1)
        self.first = total_rows + 1

    def add(self, row: int) -> None:
        self._bits[row // 8] |= 1 << row % 8
        self.first = min(self.first, row)

    def __contains__(self, row: int) -> bool:
        return bool(self._bits[row // 8] & 1 << row % 8)


class _Spool:
    """Answers of originals in temporary files, which can be read in any order."""

    def __init__(self, total_rows: int) -> None:
        self._total_rows = total_rows

    def __enter__(self) -> _Spool:
        with ExitStack() as files:
            self._answers = files.enter_context(TemporaryFile())
            places = files.enter_context(TemporaryFile())
            places.truncate((self._total_rows + 1) * PLACE_BYTES)
            self._places = files.enter_context(mmap.mmap(places.fileno(), 0))
            self._files = files.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def fill(self, answers: Iterator[AnsweredRow], wanted: _Rows, has_time: Callable[[], bool]) -> bool:
        """Replace the answers by the next ones of ``wanted`` rows. Returns whether there were any.

        Reads at least one answer even without time left, so that each call makes progress.
        """
        self._answers.seek(0)
        self._answers.truncate()
        self._places[:] = bytes(len(self._places))
        taken = False
        for answered in answers:
            if taken and not has_time():
                break
            if answered.row in wanted:
                taken = True
                place = answered.row * PLACE_BYTES
                # 0 means that there is no answer.
                self._places[place : place + PLACE_BYTES] = (self._answers.tell() + 1).to_bytes(PLACE_BYTES)
                self._answers.write(_as_line(answered))
                if self._answers.tell() >= SPOOL_BYTES:
                    break
        return taken

    def get(self, row: int) -> AnsweredRow | None:
        place = int.from_bytes(self._places[row * PLACE_BYTES : (row + 1) * PLACE_BYTES])
        if not place:
            return None
        self._answers.seek(place - 1)
        return _of_line(row, self._answers.readline())


def _as_line(answered: AnsweredRow) -> bytes:
    head = [answered.status, answered.error, answered.unmatched, answered.target_version, answered.error_name]
    return orjson.dumps(head) + b"\t" + render_json(answered.answer).encode() + b"\n"


def _of_line(row: int, line: bytes) -> AnsweredRow:
    head, _, answer = line.partition(b"\t")
    status, error, unmatched, version, error_name = orjson.loads(head)
    return AnsweredRow(
        row=row,
        status=RowStatus(status),
        started_ms=0,
        ended_ms=0,
        attempts=0,
        error=error,
        answer=parse_json(answer.decode()),
        unmatched=unmatched,
        target_version=version,
        error_name=error_name,
    )


def _finish_duplicates(batch: Batch, spool: _Spool, deadline: Deadline) -> bool:
    """Write the duplicates whose originals are in the spool. Returns whether there was time for all of them."""
    staged, objects = batch.plan.staged, batch.work.objects
    originals = Originals(objects, batch.plan)
    finished: list[FinishedRow] = []
    size = 0
    in_time = True
    gaps = SkippedRows(objects, batch.plan).without(find_gaps(batch.rows.finished(), batch.plan.total_rows))
    for row, cells in read_staged(objects.read(staged.key, staged.version_id), gaps):
        original = originals.of(row)
        answered = spool.get(original) if original != row else None
        if answered is None:
            continue
        finished.append(_finish(batch, row, cells, answered))
        size += len(finished[-1].answer) + len(finished[-1].record["csv"])
        if size >= FLUSH_BYTES or len(finished) >= FLUSH_ROWS:
            batch.rows.write(finished)
            finished, size = [], 0
            in_time = deadline.remaining_seconds() > RESERVE_SECONDS
            if not in_time:
                break
    if finished:
        batch.rows.write(finished)
    return in_time


def _finish(batch: Batch, row: int, cells: list[str], answered: AnsweredRow) -> FinishedRow:
    return batch.finish_uncalled(
        row,
        cells,
        batch.outcome_of(answered),
        row_hash=input_hash(batch.input_mapper.map(cells)),
        target_version=answered.target_version,
        origin=RowOrigin.DUPLICATE,
    )
