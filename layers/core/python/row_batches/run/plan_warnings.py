"""Warns before any row runs: of rows that are changed or skipped, limits that slow the run, and time that is short."""

from __future__ import annotations

from collections.abc import Sequence

from row_batches.document.batch_config import BatchConfig, Rate
from row_batches.document.header import replaced_columns
from row_batches.document.plan import Concurrency, Target
from row_batches.run.staging import Finished
from row_batches.targets.kinds import kind_of
from row_batches.targets.ports import FunctionSettings

SECONDS_A_DAY = 86_400


def plan_warnings(
    config: BatchConfig,
    target: Target,
    functions: FunctionSettings,
    columns: Sequence[str],
    staged: Finished,
    rows_sent: int,
    concurrency: Concurrency,
    work_retention_days: int,
) -> list[str]:
    """The warnings about a plan of ``rows_sent`` rows, those of the reader first."""
    settings = config.execution_config
    warnings = [*staged.warnings]
    if staged.total_rows == 0:
        warnings.append("The file has a header and no rows.")
    replaced = sorted(replaced_columns(config, columns))
    if replaced:
        warnings.append(f"Columns of an earlier output are not mapped and are replaced: {', '.join(replaced)}.")
    if settings.deduplicate:
        rows = staged.total_rows - staged.rows_skipped
        warnings.append(f"{rows:,} rows, {rows_sent:,} distinct: equal inputs are sent once.")
    if config.trial is not None and rows_sent <= config.trial.rows:
        warnings.append(f"Only {rows_sent:,} rows are sent: all of them run at once, without a trial.")
    if settings.max_rows is not None:
        warnings.append(f"max_rows: only the first {settings.max_rows:,} rows are read, checked and processed.")
    warnings += kind_of(target).warnings(config, target, functions)
    warnings += _limit_warnings(config, target)
    in_flight = concurrency.children * concurrency.threads
    longest_days = rows_sent / in_flight * settings.timeout_seconds / SECONDS_A_DAY
    kept_days = settings.ttl_days or work_retention_days
    if longest_days > min(kept_days, work_retention_days):
        said = "ttl_days" if kept_days < work_retention_days else "the Terraform variable work_retention_days"
        warnings.append(
            f"If every row took its timeout_seconds, the run would take {longest_days:,.0f} days; finished "
            f"rows are kept for {min(kept_days, work_retention_days)} ({said})."
        )
    if in_flight < min(kind_of(target).rows_in_flight(config, target), rows_sent):
        warnings.append(f"At most {in_flight} rows are in flight, not {settings.max_concurrency:,}.")
    return warnings


def _limit_warnings(config: BatchConfig, target: Target) -> list[str]:
    """Warnings about the target's limits in the registry."""
    settings, warnings = config.execution_config, []
    shared = "the runs in progress share it equally"
    if target.max_concurrency is not None and target.max_concurrency < settings.max_concurrency:
        warnings.append(
            f"The registry limits {target.name} to {target.max_concurrency:,} rows in flight over all runs, less than "
            f"max_concurrency ({settings.max_concurrency:,}); {shared}."
        )
    allowed, wanted = target.rate or Rate(), settings.rate or Rate()
    for most, asked, what in (
        (allowed.rows_per_minute, wanted.rows_per_minute, "rows a minute"),
        (allowed.tokens_per_minute, wanted.tokens_per_minute, "tokens a minute"),
    ):
        if most is not None and (asked is None or most < asked):
            warnings.append(f"The registry limits {target.name} to {most:,g} {what} over all runs; {shared}.")
    return warnings
