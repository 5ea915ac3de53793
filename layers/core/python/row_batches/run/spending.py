"""Counts finished rows while a run goes on, and pulls the brake at ``stop_after.cost_usd``.

All workers add to one live count in the table of runs. The worker whose write reaches the limit sees it in the answer
and pulls the brake. Rows that could not be counted are counted together with the next ones.

The limit can be exceeded by the rows in flight, by those that start within the next second, and by a hundredth of the
limit: a worker of tools counts its rows when their cost is its share of that hundredth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from threading import Lock

from foundation.errors import Problem
from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Target
from row_batches.rows.records import FinishedRow, RowRecord
from row_batches.rows.work import Brake, cost_brake, failure_brake
from row_batches.run.batch import Batch
from row_batches.run.duplicates import failed_rows_sent
from row_batches.run.runs import BestEffort, Counts
from row_batches.targets.pricing import model_usd, row_usd

COUNTS_PER_LIMIT = 100


def cost_problems(config: BatchConfig, target: Target) -> Iterator[Problem]:
    """The problem of a cost limit for a target whose cost is not known."""
    limit = config.execution_config.cost_limit
    if limit is not None and not target.has_known_cost:
        message = f"the cost of {target.name} is not known"
        fix = (
            "give the target its cost_per_call_usd or its prices in the Terraform variable targets; 0 if its answers "
            "report their cost themselves"
        )
        yield Problem("execution_config.stop_after.cost_usd", str(limit), message, fix)


def spent_usd(batch: Batch, counts: Counts) -> float:
    """The known cost of the target so far, from the live counts."""
    return counts.model_usd + counts.attempts * (batch.plan.target.cost_per_call_usd or 0)


def count_rows(batch: Batch, notes: BestEffort, rows: Sequence[FinishedRow]) -> Counts | None:
    """Add stored rows to the live counts, and pull the brake if the run has cost its limit.

    Returns the counts of the run; None if they are not known.
    """
    counts = notes.count(batch.plan.execution.name, [finished.record for finished in rows])
    limit = batch.cost_limit
    if limit is not None and counts is not None and spent_usd(batch, counts) >= limit:
        batch.work.pull_brake(cost_brake(batch.plan))
    return counts


class WorkerSpending:
    """The cost of a run as a worker with many rows in flight sees it. It does nothing in a run without a limit.

    Safe in several threads: rows are added by those that ran them, and counted by the one that stores them.
    """

    def __init__(self, batch: Batch, notes: BestEffort) -> None:
        self._batch = batch
        self._notes = notes
        self._limit = batch.cost_limit
        run = None if self._limit is None else notes.get(batch.plan.execution.name)
        self._counted = 0.0 if run is None else spent_usd(batch, run.counts)
        self._uncounted = 0.0
        self._lock = Lock()

    def add(self, record: RowRecord) -> None:
        """Note a finished row that is not stored yet."""
        if self._limit is not None:
            usd = self._usd(record)
            with self._lock:
                self._uncounted += usd

    @property
    def is_over(self) -> bool:
        """Whether the run has cost its limit, as far as this worker knows."""
        return self._limit is not None and self._counted + self._uncounted >= self._limit

    @property
    def is_to_be_counted(self) -> bool:
        """Whether the rows that are not counted yet cost so much that the other workers should know."""
        share = COUNTS_PER_LIMIT * self._batch.plan.concurrency.children
        return self._limit is not None and self._uncounted >= self._limit / share

    def count(self, rows: Sequence[FinishedRow]) -> None:
        """Count stored rows."""
        counts = count_rows(self._batch, self._notes, rows)
        if self._limit is None:
            return
        usd = sum(self._usd(finished.record) for finished in rows)
        with self._lock:
            self._uncounted -= usd
            self._counted = self._counted + usd if counts is None else spent_usd(self._batch, counts)

    def _usd(self, record: RowRecord) -> float:
        return row_usd(self._batch.plan.target, record.get("usage", {}), record["attempts"]) or 0.0


def brake_of_rows(batch: Batch) -> Brake | None:
    """The brake for the limit that the finished rows themselves reach. The workers' counts can be too low."""
    failed, next_row, usd = 0, 1, 0.0
    with closing(batch.rows.read()) as reading:
        for rows in reading:
            columns = rows.columns_from(max(next_row, rows.first))
            failed += failed_rows_sent(columns)
            usd += sum(model_usd(details["usage"]) for details in columns["details"])
            usd += sum(columns["attempts"]) * (batch.plan.target.cost_per_call_usd or 0)
            next_row = rows.last + 1
    if batch.failure_limit is not None and failed >= batch.failure_limit:
        return failure_brake(batch.plan)
    return cost_brake(batch.plan) if batch.cost_limit is not None and usd >= batch.cost_limit else None
