"""Writes finished rows, then counts them and sends their dead letters.

The write alone decides that a row is finished. Counting and sending are best effort: if they fail, no row runs again
and no batch fails. The aggregator sends the letters that are not marked as sent, and counts from the rows themselves.
"""

from __future__ import annotations

import logging
import zlib
from typing import Any

from foundation.errors import BatchProcessorError
from row_batches.rows.records import FinishedRow
from row_batches.rows.work import failure_brake
from row_batches.run.batch import Batch
from row_batches.run.cached_answers import keep_answers
from row_batches.run.ports import DeadLetters

LOGGER = logging.getLogger("batch_processor.commit")
CHECKS_PER_LIMIT = 100


class Commit:
    """Commits the rows of one worker's call. Used by one thread.

    If the dead-letter queue is unavailable, the call tries it once, not once for each write.
    """

    def __init__(self, batch: Batch, dead_letters: DeadLetters) -> None:
        self._batch = batch
        self._dead_letters = dead_letters
        self._uncounted: list[list[int]] = []
        """One list for each write. If the response to a count was lost, the retry counts exactly the same rows."""
        self._unchecked: list[int] = []
        self._queue_is_away = False

    def write(self, finished: list[FinishedRow]) -> None:
        """Write finished rows, which ascend. Raises what ``RowStore.write`` raises, and nothing after the write."""
        self._batch.rows.write(finished)
        keep_answers(self._batch, finished)
        failed = [row for row in finished if row.has_failed]
        if failed:
            self._uncounted.append([row.row for row in failed if row.has_failed_here])
            self._count()
            self._send_letters(finished, failed)

    def _count(self) -> None:
        """Count the failed rows, and pull the brake when the batch reaches its limit.

        Reading all counts takes time. For a large limit, it happens only for about every ``limit / 100``-th failed row,
        chosen by row number. Rows that could not be counted are counted together with the next ones.
        """
        limit = self._batch.failure_limit
        try:
            while self._uncounted:
                self._batch.rows.count_failed(self._uncounted[0])
                self._unchecked += self._uncounted.pop(0)
            if limit is not None and self._is_checked(limit) and self._batch.rows.failed() >= limit:
                self._batch.work.pull_brake(failure_brake(self._batch.plan))
            self._unchecked = []
        except BatchProcessorError:
            LOGGER.warning("failed rows not counted", exc_info=True)

    def _is_checked(self, limit: int) -> bool:
        step = max(1, limit // CHECKS_PER_LIMIT)
        return any(zlib.crc32(b"%d" % row) % step == 0 for row in self._unchecked)

    def _send_letters(self, finished: list[FinishedRow], failed: list[FinishedRow]) -> None:
        if self._queue_is_away:
            return
        try:
            self._dead_letters.send([_letter(self._batch, row) for row in failed])
            self._batch.rows.mark_letters_sent(finished)
        except BatchProcessorError:
            self._queue_is_away = True
            LOGGER.warning("dead letters not sent; they are sent at the end of the run", exc_info=True)


def _letter(batch: Batch, finished: FinishedRow) -> dict[str, Any]:
    record = finished.record
    return batch.dead_letter(
        finished.row, finished.cells, record["status"], record.get("error", ""), record["attempts"]
    )
