"""Sets the pace at which a worker starts rows: as many at once as the target can take, up to the given rate.

Concurrency starts low, grows while calls succeed and halves when the target throttles. This is additive increase and
multiplicative decrease, as in TCP (https://www.rfc-editor.org/rfc/rfc5681, section 3.1). A worker's rate is its share
of the run's rate. Workers do not coordinate, so none waits for a lock.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

from foundation.ports import Clock
from row_batches.document.batch_config import Rate

FIRST_LIMIT = 4
"""Rows in flight before the first answer arrives."""
DECREASE_MS = 1_000
"""Throttled calls within this time count as one sign: they halve the limit once."""
TOKEN_BURST_SECONDS = 10.0
"""The part of a token rate that can be used at once, in seconds of the rate."""


class Allowance(NamedTuple):
    """The limits of one worker: rows in flight, and rows and tokens a minute (None: no limit)."""

    rows_in_flight: int
    rows_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def share(self, workers: int) -> Allowance:
        """An equal share of this allowance among ``workers``; at least one row in flight each."""
        return Allowance(
            max(1, self.rows_in_flight // workers),
            None if self.rows_per_minute is None else self.rows_per_minute / workers,
            None if self.tokens_per_minute is None else self.tokens_per_minute / workers,
        )

    def at_most(self, rate: Rate, part: float) -> Allowance:
        """This allowance with no more rows and tokens a minute than ``part`` of ``rate``."""
        rows, tokens = rate.rows_per_minute, rate.tokens_per_minute
        return self._replace(
            rows_per_minute=_lower(self.rows_per_minute, rows and rows * part),
            tokens_per_minute=_lower(self.tokens_per_minute, tokens and tokens * part),
        )


def _lower(one: float | None, other: float | None) -> float | None:
    given = [rate for rate in (one, other) if rate is not None]
    return min(given, default=None)


class Pace:
    """The pace of one worker process at one run. Safe in several threads."""

    def __init__(self, allowance: Allowance, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._allowance = allowance
        self._limit = float(min(FIRST_LIMIT, allowance.rows_in_flight))
        self._grows_fast_to = float(allowance.rows_in_flight)
        self._decreased_ms = -DECREASE_MS
        self._throttled_since_ms: int | None = None
        self._next_row_ms = float(clock.now_ms())
        self._tokens = self._most_tokens
        self._tokens_ms = clock.now_ms()

    @property
    def allowance(self) -> Allowance:
        """The current limits of the worker."""
        return self._allowance

    @property
    def limit(self) -> int:
        """Rows that may be in flight now."""
        return int(self._limit)

    @property
    def throttled_since_ms(self) -> int | None:
        """When the target began to throttle every call (milliseconds since the epoch). None if the last call passed."""
        return self._throttled_since_ms

    def allow(self, allowance: Allowance) -> None:
        """Change what the worker may use while it works."""
        with self._lock:
            if allowance == self._allowance:
                return
            self._refill()
            had_token_rate = self._allowance.tokens_per_minute is not None
            self._allowance = allowance
            self._limit = min(self._limit, float(allowance.rows_in_flight))
            self._grows_fast_to = float(allowance.rows_in_flight)
            self._tokens = min(self._tokens, self._most_tokens) if had_token_rate else self._most_tokens
            self._next_row_ms = min(self._next_row_ms, self._clock.now_ms() + self._row_interval_ms)

    def begin(self) -> None:
        """Begin a new batch of rows. Throttling during an earlier batch does not count any more."""
        with self._lock:
            self._throttled_since_ms = None

    def start(self, in_flight: int) -> float | None:
        """Try to start a row. 0.0: it counts as started. Otherwise the seconds to wait; None: wait until a row ends."""
        with self._lock:
            if in_flight >= self.limit:
                return None
            now = self._clock.now_ms()
            self._refill()
            wait_ms = max(0.0, self._next_row_ms - now)
            if self._allowance.tokens_per_minute is not None and self._tokens <= 0:
                wait_ms = max(wait_ms, (1 - self._tokens) * 60_000 / self._allowance.tokens_per_minute)
            if wait_ms > 0:
                return wait_ms / 1_000
            # A late start lets the next one come earlier. Time lost in a longer pause is not made up.
            self._next_row_ms = max(self._next_row_ms, now - self._row_interval_ms) + self._row_interval_ms
            return 0.0

    def answered(self, tokens: int = 0) -> None:
        """Note a call that the target accepted. Its answer reports ``tokens`` used."""
        with self._lock:
            self._throttled_since_ms = None
            if self._allowance.tokens_per_minute is not None:
                self._refill()
                self._tokens -= tokens
            grown = self._limit + (1.0 if self._limit < self._grows_fast_to else 1.0 / self._limit)
            self._limit = min(float(self._allowance.rows_in_flight), grown)

    def throttled(self) -> None:
        """Note a call that the target refused because calls came too fast."""
        with self._lock:
            now = self._clock.now_ms()
            if self._throttled_since_ms is None:
                self._throttled_since_ms = now
                self._grows_fast_to = self._limit / 2
            if now - self._decreased_ms >= DECREASE_MS:
                self._decreased_ms = now
                self._limit = max(1.0, self._limit / 2)

    @property
    def _row_interval_ms(self) -> float:
        rate = self._allowance.rows_per_minute
        return 0.0 if rate is None else 60_000 / rate

    @property
    def _most_tokens(self) -> float:
        rate = self._allowance.tokens_per_minute
        return 0.0 if rate is None else rate * TOKEN_BURST_SECONDS / 60

    def _refill(self) -> None:
        now = self._clock.now_ms()
        rate = self._allowance.tokens_per_minute or 0.0
        self._tokens = min(self._most_tokens, self._tokens + (now - self._tokens_ms) * rate / 60_000)
        self._tokens_ms = now
