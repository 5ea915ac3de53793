"""Sends the dead letters that no worker sent, while the output is written."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from foundation.errors import BatchProcessorError
from foundation.ports import Clock
from row_batches.rows.records import RowStatus
from row_batches.run.batch import Batch
from row_batches.run.ports import DeadLetters
from row_batches.run.totals import Totals

LOGGER = logging.getLogger("batch_processor.letters")
MOST_LETTER_BYTES = 1024 * 1024
MOST_LETTERS = 1000
"""The most letters that wait to be sent. Sending them takes some 10 s."""
PAUSE_MS = 60_000
"""No letter is sent for this long after the queue failed, because each attempt takes seconds."""


class UnsentLetters:
    """Sends letters in groups. Counts rows whose letters the queue does not take in ``totals``, and raises nothing."""

    def __init__(self, batch: Batch, dead_letters: DeadLetters, clock: Clock, totals: Totals) -> None:
        self._batch = batch
        self._dead_letters = dead_letters
        self._clock = clock
        self._totals = totals
        self._waiting: list[tuple[int, Sequence[str], RowStatus, str, int]] = []
        self._waiting_bytes = 0
        self._away_until_ms = 0
        self._refusal = ""

    def add(self, row: int, cells: Sequence[str], status: RowStatus, error: str, attempts: int) -> None:
        self._waiting.append((row, cells, status, error, attempts))
        self._waiting_bytes += sum(map(len, cells)) + len(error)
        if self._waiting_bytes >= MOST_LETTER_BYTES or len(self._waiting) >= MOST_LETTERS:
            self.send()

    def send(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not waiting:
            return
        if self._clock.now_ms() >= self._away_until_ms:
            try:
                self._dead_letters.send([self._batch.dead_letter(*letter) for letter in waiting])
                return
            except BatchProcessorError as error:
                LOGGER.warning("dead letters not sent", exc_info=True)
                self._refusal = str(error)
                self._away_until_ms = self._clock.now_ms() + PAUSE_MS
        self._totals.add_unsent_letters([row for row, *_ in waiting], self._refusal)
