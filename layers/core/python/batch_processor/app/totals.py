"""What the aggregator counts while rows pass by, and what it says about the run in the end (design 3.9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from math import ceil

from pydantic import BaseModel

from batch_processor.domain.cost import WORKER_SECONDS, WORKER_START_SECONDS, actual_cost, counted_usage
from batch_processor.domain.plan import Invocation, Plan
from batch_processor.domain.records import RowColumns, RowStatus

MOST_EXAMPLES = 10
SUMMARY_SCHEMA_VERSION = 1


class Failure(BaseModel):
    """One failed row, as an example for summary and notification."""

    row: int
    status: RowStatus
    error: str


class Totals(BaseModel):
    """Sums over the rows so far.

    ``in_flight_changes``: by epoch second, how many more rows were in flight at that second than at the one before.
    Sampling each second keeps it small for runs of days, and exact at each sample.
    """

    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    not_attempted: int = 0
    """Of the failed: rows that no worker finished, with no word of theirs."""
    attempted: int = 0
    attempts: int = 0
    cast_failures: int = 0
    processing_ms: int = 0
    rows_objects: int = 0
    in_flight_changes: dict[int, int] = {}
    first_failures: list[Failure] = []

    def add(self, rows: RowColumns) -> None:
        """Count finished rows."""
        statuses = Counter(rows["status"])
        self.succeeded += statuses[RowStatus.SUCCESS]
        self.failed += statuses[RowStatus.FAILED]
        self.timed_out += statuses[RowStatus.TIMEOUT]
        self.attempted += len(rows["status"])
        self.attempts += sum(rows["attempts"])
        self.cast_failures += sum(rows["cast_failures"])
        self.processing_ms += sum(rows["duration_ms"])
        # A row is in flight at the full seconds from ``began`` to before ``ended``: none, when the two are one.
        began = Counter([-(-started_ms // 1000) for started_ms in rows["started_ms"]])
        times = zip(rows["started_ms"], rows["duration_ms"], strict=True)
        ended = Counter([(started_ms + duration_ms) // 1000 + 1 for started_ms, duration_ms in times])
        began.subtract(ended)
        changes = self.in_flight_changes
        for second, change in began.items():
            if change:
                changes[second] = changes.get(second, 0) + change

    def add_failure(self, row: int, status: RowStatus, error: str) -> None:
        if len(self.first_failures) < MOST_EXAMPLES:
            self.first_failures.append(Failure(row=row, status=status, error=error))

    def add_unfinished(self, row: int, error: str) -> None:
        """Count a row that no worker finished."""
        self.failed += 1
        self.not_attempted += 1
        self.add_failure(row, RowStatus.FAILED, error)

    @property
    def all_failed(self) -> int:
        return self.failed + self.timed_out

    @property
    def peak_rows_in_flight(self) -> int:
        """The most rows in flight at the full seconds of the run; at least one when any row was attempted."""
        in_order: Iterable[int] = (change for _, change in sorted(self.in_flight_changes.items()))
        return max(accumulate(in_order), default=0) or min(self.attempted, 1)


def cost_of(plan: Plan, totals: Totals, *, stopped: bool = False) -> dict[str, object]:
    """The cost of what was counted (``domain.cost.actual_cost``). ``stopped``: from outside, before every child began.

    Workers are paid for while they wait: the rows' own time, spread over the threads of a worker, and its start.
    """
    is_agent = plan.target.invocation is Invocation.STANDARD
    batches = ceil(totals.attempted / plan.concurrency.batch_size)
    busy_seconds = totals.processing_ms / 1000 / min(plan.concurrency.threads, plan.concurrency.batch_size)
    worker_calls = max(batches, ceil(busy_seconds / WORKER_SECONDS))
    usage = counted_usage(
        plan.target,
        children=totals.attempted if is_agent else batches,
        worker_seconds=busy_seconds + worker_calls * WORKER_START_SECONDS,
        worker_calls=worker_calls,
        attempts=totals.attempts,
        attempted_rows=totals.attempted,
        failed_rows=totals.all_failed - totals.not_attempted,
        rows_objects=totals.rows_objects,
        staged_bytes=plan.staged.size_bytes,
        total_rows=plan.total_rows,
        idle_rows=0 if stopped else totals.not_attempted,
    )
    return actual_cost(usage, plan.target)


def warnings_of(plan: Plan, totals: Totals) -> list[str]:
    warnings = list(plan.warnings)
    if totals.cast_failures:
        warnings.append(
            f"{totals.cast_failures:,} values could not be cast to their column's type and hold its default instead"
        )
    return warnings
