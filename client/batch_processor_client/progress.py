"""The progress of an execution, computed from its follower's observations."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from row_batches.run.blanks import Unmatched
from row_batches.run.causes import Cause
from row_batches.run.runs import Approval, Counts

THROTTLED_NOTE_HOLDS = timedelta(seconds=30)
"""Workers repeat the note every ten seconds while the target throttles."""
HELD_BACK_NOTE_HOLDS = timedelta(minutes=2)
"""A child of an agent's run repeats the note each time it looks for a permit in vain."""
CAUSE_CHARACTERS = 60
RATE_WINDOW_SECONDS = 30.0
"""The rate covers the last half minute, so that it follows a change but does not jump with each batch."""


@dataclass
class Progress:
    """Rows done over time. ``total`` is None until the plan is written. Times are seconds of any single clock."""

    total: int | None = None
    done: int = 0
    failed: int = 0
    waiting_until: datetime | None = None
    """The latest time until which rows wait for an owner that was killed or still works."""
    throttled_since: datetime | None = None
    """Since when the target has throttled every call of a worker; ``throttled_noted`` is when it last said so."""
    throttled_noted: datetime | None = None
    held_back_noted: datetime | None = None
    """When rows last waited for the target's limits over all runs."""
    causes: list[Cause] = field(default_factory=list)
    """Why rows failed so far, the most frequent cause first."""
    spent_usd: float = 0
    """The known cost of the target so far."""
    tokens: int = 0
    approval: Approval | None = None
    """Given while the run waits for an approval after its trial."""
    empty: list[Unmatched] = field(default_factory=list)
    """The mapped columns that are mostly empty so far."""
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def update(self, now: float, done: int) -> None:
        """Note how many rows are done. The number never falls, although a second map run (recovery) counts from 0."""
        self.done = max(self.done, done if self.total is None else min(done, self.total))
        self._samples.append((now, self.done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_WINDOW_SECONDS:
            self._samples.popleft()

    def spend(self, counts: Counts, cost_per_call_usd: float) -> None:
        """Note what the target has cost, as far as that is known."""
        self.spent_usd = counts.model_usd + counts.attempts * cost_per_call_usd
        self.tokens = counts.input_tokens + counts.output_tokens

    @property
    def spent(self) -> list[str]:
        """Cost and tokens so far, if there are any."""
        cost = [money(self.spent_usd)] if self.spent_usd else []
        return [*cost, *([f"{self.tokens:,} tokens"] if self.tokens else [])]

    def waiting(self, now: datetime) -> str:
        """The note about rows that wait for their owner; "" if there are none."""
        if self.waiting_until is None or self.waiting_until <= now:
            return ""
        until = self.waiting_until.astimezone().strftime("%H:%M:%S")
        return f"waiting until {until} at most for rows whose worker was killed or is still at work"

    def throttled(self, now: datetime) -> str:
        """The note about a target that throttles; "" if it has not throttled lately."""
        if self.throttled_since is None or self.throttled_noted is None:
            return ""
        if now - self.throttled_noted > THROTTLED_NOTE_HOLDS:
            return ""
        return f"throttled since {self.throttled_since.astimezone().strftime('%H:%M:%S')}"

    def held_back(self, now: datetime) -> str:
        """The text about rows that wait for the target's limits over all runs; "" if none waited lately."""
        if self.held_back_noted is None or now - self.held_back_noted > HELD_BACK_NOTE_HOLDS:
            return ""
        return "waiting for the target's limits, which other runs share"

    def notes(self, now: datetime) -> list[str]:
        """What the run has cost, the reason why it is held up now, and why most of its failed rows failed."""
        notes = (*self.spent, self.waiting(now), self.throttled(now), self.held_back(now), self.most_frequent_cause)
        return [note for note in notes if note]

    @property
    def most_frequent_cause(self) -> str:
        """The text about the most frequent cause so far, such as ``12 × Boom: it broke``; "" if no row failed."""
        if not self.causes:
            return ""
        first, others = self.causes[0], len(self.causes) - 1
        text = f"{first.count:,} × {first.error}: {first.message}".removesuffix(": ")
        shown = text if len(text) <= CAUSE_CHARACTERS else text[: CAUSE_CHARACTERS - 1] + "…"
        return f"{shown} (and {others:,} more)" if others else shown

    @property
    def rate(self) -> float:
        """Rows a second over the last half minute; 0 before two samples."""
        if len(self._samples) < 2:
            return 0.0
        (first_time, first_done), (last_time, last_done) = self._samples[0], self._samples[-1]
        return (last_done - first_done) / (last_time - first_time) if last_time > first_time else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the current rate; None if unknown."""
        if self.total is None or self.rate <= 0:
            return None
        return (self.total - self.done) / self.rate


def money(amount: Any) -> str:
    """An amount in US dollars; small amounts have more digits."""
    value = float(amount)
    return f"{value:,.2f} USD" if value >= 1 else f"{value:.6f}".rstrip("0").rstrip(".") + " USD"


def rows_done(item_counts: dict[str, Any]) -> int:
    """Rows that a map run has completed, from DescribeMapRun's ``itemCounts``.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_MapRunItemCounts.html
    """
    return sum(int(item_counts.get(name, 0)) for name in ("succeeded", "failed", "timedOut", "aborted"))


def failed_rows(marker_keys: list[str]) -> int:
    """Failed rows, from the keys of the workers' markers ``…/failed/<first row>-<count>``."""
    return sum(int(key.rsplit("-", 1)[1]) for key in marker_keys)


def clock(seconds: float) -> str:
    """A duration as text: ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def line(progress: Progress) -> str:
    """One plain line, for an output that is not a terminal."""
    total = "?" if progress.total is None else f"{progress.total:,}"
    left = "" if progress.seconds_left is None else f", {clock(progress.seconds_left)} left"
    notes = ", ".join([left, *progress.notes(datetime.now(UTC))])
    return f"{progress.done:,} of {total} rows done, {progress.failed:,} failed, {progress.rate:,.1f} rows/s{notes}"
