"""The report of a trial: answers, failures, times and cost of its rows, and a forecast for the whole run.

It is written to ``results/<execution>/trial.json``. Memory: the rows of the trial, up to 500.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from foundation.lazy_model import LazyModel
from row_batches.document.plan import Plan
from row_batches.files.result_table import read_rows
from row_batches.rows.records import RowStatus, Usage
from row_batches.run.batch import Batch
from row_batches.run.causes import Causes, shown_causes
from row_batches.run.cost import measured_usd
from row_batches.run.trial_forecast import Forecast, mean_of, percentile, share_of
from row_batches.targets.answer import TOKENS
from row_batches.targets.pricing import row_usd

MOST_ANSWERS_SHOWN = 50
MOST_CELL_CHARACTERS = 200
SCHEMA_VERSION = 1


class RowSeconds(LazyModel):
    """The time of a row, from its first attempt to its end, pauses included."""

    median: float
    p90: float
    mean: float


class WholeRun(LazyModel):
    """The forecast for the whole run, including the rows of the trial. ``basis`` explains it to a person.

    ``cost_usd`` leaves out the target if nothing is known of its cost (``target_included``).
    """

    rows: int
    seconds: Forecast
    cost_usd: Forecast
    target_included: bool
    failed_percent: Forecast
    failed_rows: Forecast
    basis: list[str]


class TrialReport(LazyModel):
    """The report of a trial. Of its ``rows``, ``finished`` have an outcome, and ``called`` were sent to the target.

    ``answers`` has a list for each of the first rows: row number, status, the mapped columns (``columns``), and the
    error. Long cells are cut. Parts that nothing is known of are None.
    """

    schema_version: int = SCHEMA_VERSION
    execution_id: str
    target: str
    total_rows: int
    rows: int
    finished: int
    called: int
    succeeded: int
    failed: int
    timed_out: int
    columns: list[str]
    answers: list[list[str]]
    failures_by_cause: list[dict[str, Any]]
    row_seconds: RowSeconds | None
    row_tokens: dict[str, float] | None
    """The mean of input and output tokens of a row."""
    row_cost_usd: float | None
    """The mean of the known cost of a row's calls and tokens."""
    whole: WholeRun | None
    """None if fewer than two rows were called."""

    @property
    def for_the_summary(self) -> dict[str, Any]:
        """The report without answers and failures, which output document and summary have room for."""
        return self.model_dump(mode="json", exclude={"schema_version", "execution_id", "answers", "failures_by_cause"})


@dataclass(frozen=True, slots=True)
class _Row:
    row: int
    status: str
    line: str
    attempts: int
    seconds: float
    usage: Usage
    error: str

    @property
    def is_called(self) -> bool:
        return self.attempts > 0


def report_of(batch: Batch) -> TrialReport:
    """The report of a run whose finished rows are those of its trial."""
    plan = batch.plan
    trial = plan.config.trial
    assert trial is not None
    causes = Causes()
    rows = list(_rows(batch, causes))
    statuses = [row.status for row in rows]
    called = [row for row in rows if row.is_called]
    failed = len(rows) - statuses.count(RowStatus.SUCCESS)
    tokens = [{name: sum(used[name] for used in row.usage.values()) for name in TOKENS} for row in called if row.usage]
    costs = [cost for row in called if (cost := row_usd(plan.target, row.usage, row.attempts)) is not None]
    seconds = [row.seconds for row in called]
    return TrialReport(
        execution_id=plan.execution.name,
        target=plan.target.name,
        total_rows=plan.total_rows,
        rows=trial.rows,
        finished=len(rows),
        called=len(called),
        succeeded=statuses.count(RowStatus.SUCCESS),
        failed=statuses.count(RowStatus.FAILED),
        timed_out=statuses.count(RowStatus.TIMEOUT),
        columns=plan.config.output_columns,
        answers=[_answer(plan, row) for row in rows[:MOST_ANSWERS_SHOWN]],
        failures_by_cause=shown_causes(causes, failed),
        row_seconds=RowSeconds(
            median=percentile(seconds, 50), p90=percentile(seconds, 90), mean=round(fmean(seconds), 3)
        )
        if seconds
        else None,
        row_tokens={name: round(fmean(row[name] for row in tokens), 1) for name in TOKENS} if tokens else None,
        row_cost_usd=round(fmean(costs), 9) if costs else None,
        whole=_whole(plan, rows, called, trial.seed) if len(called) > 1 else None,
    )


def _rows(batch: Batch, causes: Causes) -> Iterator[_Row]:
    """The finished rows, in order, each once. Their failures are added to ``causes``."""
    next_row = 1
    with closing(batch.rows.read()) as reading:
        for stored in reading:
            first = max(next_row, stored.first)
            columns = stored.columns_from(first)
            causes.add(columns["failures"])
            errors = {failure["row"]: failure["error"] for failure in columns["failures"]}
            usage = {details["row"]: details["usage"] for details in columns["details"]}
            values = zip(columns["status"], columns["csv"], columns["attempts"], columns["duration_ms"], strict=True)
            for row, (status, line, attempts, duration_ms) in enumerate(values, first):
                yield _Row(row, status, line, attempts, duration_ms / 1000, usage.get(row, {}), errors.get(row, ""))
            next_row = stored.last + 1


def _answer(plan: Plan, row: _Row) -> list[str]:
    """The row for the table of answers."""
    mapping = plan.config.output_mapping
    (cells,) = read_rows(row.line)
    end = len(cells) - len(mapping.metadata_columns)
    mapped = cells[end - len(plan.config.output_columns) : end]
    return [_cut(cell) for cell in (str(row.row), str(row.status), *mapped, row.error)]


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CELL_CHARACTERS else f"{text[: MOST_CELL_CHARACTERS - 1]}…"


def _whole(plan: Plan, rows: list[_Row], called: list[_Row], seed: int) -> WholeRun:
    settings, total = plan.config.execution_config, plan.rows_to_run
    in_flight = plan.concurrency.children * plan.concurrency.threads
    row_seconds = mean_of([row.seconds for row in called], seed)
    failures = share_of(sum(row.status != RowStatus.SUCCESS for row in rows), len(rows))
    rates = [rate.rows_per_minute for rate in (settings.rate, plan.target.rate) if rate and rate.rows_per_minute]
    least_seconds = max((total / rate * 60 for rate in rates), default=0.0)
    attempts = fmean(row.attempts for row in called)
    own = Forecast(
        **{
            end: measured_usd(
                plan, row_seconds=getattr(row_seconds, end), attempts=attempts, failed=getattr(failures, end)
            )
            for end in Forecast.model_fields
        }
    )
    known = [row_usd(plan.target, row.usage, row.attempts) for row in called]
    is_known = any(cost is not None for cost in known)
    target = mean_of([cost or 0.0 for cost in known], seed).times(total)
    without = "" if is_known else f"; the cost of {plan.target.name} is not known and not included"
    rated = f", and the rate of {min(rates):g} rows a minute" if rates else ""
    return WholeRun(
        rows=total,
        seconds=row_seconds.times(total / in_flight).at_least(least_seconds).rounded(1),
        cost_usd=own.plus(target).rounded(6),
        target_included=is_known,
        failed_percent=failures.times(100).rounded(1),
        failed_rows=failures.times(total).rounded(0),
        basis=[
            f"90 % ranges from {len(called):,} called rows of the trial",
            f"time: mean time of a row (t interval and bootstrap), {in_flight:,} rows in flight{rated}",
            f"cost: mean cost of a row (the same way), and AWS's prices for running it{without}",
            f"failures: Wilson score interval of {len(rows):,} finished rows",
        ],
    )
