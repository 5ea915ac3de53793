"""The progress of a run: what the table of runs holds of it, and the pace over the last half minute."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict

from batch_processor_client.executions import Ending
from row_batches.document.plan import Plan
from row_batches.run.blanks import Unmatched
from row_batches.run.causes import Cause
from row_batches.run.runs import Approval, Counts, Run

THROTTLED_NOTE_HOLDS = timedelta(seconds=30)
"""Workers repeat the note every ten seconds while the target throttles."""
HELD_BACK_NOTE_HOLDS = timedelta(minutes=2)
"""A child of an agent's run repeats the note each time it looks for a permit in vain."""
CAUSE_CHARACTERS = 60
RATE_WINDOW_SECONDS = 30.0
"""The rate covers the last half minute, so that it follows a change but does not jump with each batch."""
OF_THE_TARGET = ("target", "model")
"""The parts of an estimate that are the target's own cost."""


class Progress(BaseModel):
    """The progress of a run. Followers of one run show the same counts, because the counts are stored.

    ``total`` is None until the plan is written; then it is the number of rows that are sent. ``in_flight`` is the most
    rows that workers can have started, None if it is not known. ``cost_usd`` is the cost so far: the target's own by
    count, AWS's as a share of the estimate. ``notes`` say why the run is held up now, and why most of its failed rows
    failed. ``empty`` are mapped columns that are mostly empty so far. ``approval`` is set while the run waits for one
    after its trial, ``ending`` when the execution has ended.
    """

    model_config = ConfigDict(frozen=True)

    execution: str
    total: int | None = None
    succeeded: int = 0
    failed: int = 0
    """Rows that failed or timed out."""
    in_flight: int | None = None
    rows_per_second: float = 0.0
    seconds_left: float | None = None
    cost_usd: float | None = None
    tokens: int = 0
    notes: list[str] = []
    empty: list[Unmatched] = []
    approval: Approval | None = None
    ending: Ending | None = None

    @property
    def done(self) -> int:
        """Rows with an outcome. A row can be counted twice if its worker was killed."""
        done = self.succeeded + self.failed
        return done if self.total is None else min(done, self.total)


class Pace:
    """Rows done over time, in seconds of any single clock.

    Workers count their rows now and then. Between two counts, rows finish at the same pace, so only a pause that is
    longer than the longest one so far slows it down.
    """

    def __init__(self) -> None:
        self._changes: deque[tuple[float, int]] = deque()
        """The moments at which the number was seen to grow, before them the last moment without a row."""
        self._now = 0.0

    def add(self, now: float, done: int) -> None:
        """Note how many rows are done. The number never falls."""
        self._now, changes = now, self._changes
        if done <= 0 and (not changes or changes[-1][1] == 0):
            changes.clear()  # the time before the first row is not part of the pace
            changes.append((now, 0))
        elif not changes or done > changes[-1][1]:
            changes.append((now, done))
            if len(changes) > 2 and changes[0][1] == 0:
                changes.popleft()  # the first rows began earlier than the look before them
        while len(changes) > 2 and now - changes[1][0] >= RATE_WINDOW_SECONDS:
            changes.popleft()

    @property
    def rows_per_second(self) -> float:
        """The rate over the last half minute; 0 before two different numbers of rows."""
        if len(self._changes) < 2:
            return 0.0
        (first_time, first_done), (last_time, last_done) = self._changes[0], self._changes[-1]
        until = last_time + self._since_change() - self._between_counts()
        return (last_done - first_done) / (until - first_time) if until > first_time else 0.0

    def seconds_for(self, rows: int) -> float | None:
        """Seconds that this many rows take at the current rate, of which some passed since the last count.

        None if unknown.
        """
        rate = self.rows_per_second
        return max(0.0, rows / rate - self._between_counts()) if rate > 0 else None

    def _since_change(self) -> float:
        return self._now - self._changes[-1][0]

    def _between_counts(self) -> float:
        """The seconds since the last count in which rows finish although none is counted."""
        longest = max(later - earlier for (earlier, _), (later, _) in pairwise(self._changes))
        return min(self._since_change(), longest)


def cost_so_far(plan: Plan, counts: Counts) -> float:
    """The cost of a run in US dollars by now: the target's own by count, AWS's as a share of the best estimate."""
    parts = plan.estimate.parts.items()
    aws = sum(part.best for name, part in parts if name not in OF_THE_TARGET)
    done = counts.succeeded + counts.failed + counts.timed_out
    share = min(1.0, done / max(1, plan.rows_sent))
    return aws * share + counts.model_usd + counts.attempts * (plan.target.cost_per_call_usd or 0)


def notes_of(run: Run, now: datetime) -> list[str]:
    """The reasons why a run is held up at ``now``, and why most of its failed rows failed."""
    return [*held_up(run, now), *([_most_frequent(run.causes)] if run.causes else [])]


def held_up(run: Run, now: datetime) -> list[str]:
    """The reasons why a run is held up at ``now``."""
    notes = []
    if run.waiting_until is not None and run.waiting_until > now:
        until = _time(run.waiting_until)
        notes.append(f"waiting until {until} at most for rows whose worker was killed or is still at work")
    if run.throttled_noted is not None and now - run.throttled_noted <= THROTTLED_NOTE_HOLDS:
        notes.append(f"throttled since {_time(run.throttled_since or run.throttled_noted)}")
    if run.held_back_noted is not None and now - run.held_back_noted <= HELD_BACK_NOTE_HOLDS:
        notes.append("waiting for the target's limits, which other runs share")
    return notes


def _most_frequent(causes: list[Cause]) -> str:
    """The text about the most frequent cause so far, such as ``12 × Boom: it broke``."""
    first, others = causes[0], len(causes) - 1
    text = f"{first.count:,} × {first.error}: {first.message}".removesuffix(": ")
    shown = text if len(text) <= CAUSE_CHARACTERS else text[: CAUSE_CHARACTERS - 1] + "…"
    return f"{shown} (and {others:,} more)" if others else shown


def _time(moment: datetime) -> str:
    return moment.astimezone().strftime("%H:%M:%S")


def money(amount: Any) -> str:
    """An amount in US dollars; small amounts have more digits."""
    value = float(amount)
    return f"{value:,.2f} USD" if value >= 1 else f"{value:.6f}".rstrip("0").rstrip(".") + " USD"


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


def size_text(size_bytes: int) -> str:
    """A size as text: ``812 B``, ``3.4 kB``, ``1.2 GB``."""
    size, units = float(size_bytes), iter(("kB", "MB", "GB", "TB"))
    if size < 1_000:
        return f"{size_bytes} B"
    while (size := size / 1_000) >= 999.95:
        next(units)
    return f"{size:,.1f} {next(units)}"
