"""Computes the cost of an execution in US dollars: the estimate before it runs, and the actual cost after it.

Both use one dated price table and one formula, ``run_usage``. The estimate uses assumptions, the summary uses counts.
The kind of target computes the part for the rows. Not included are storage, logs, data transfer, KMS and free tiers,
and what is not known of the target itself (``targets.pricing``).
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import assert_never

from foundation.prices import PRICES, Prices
from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import (
    Concurrency,
    CostEstimate,
    CostRange,
    DistinctInput,
    Plan,
    Storage,
    StorageMode,
    Target,
)
from row_batches.rows.proof_rows import ROW_CHARACTERS
from row_batches.run.storage import ANSWER_BYTES, ITEM_BYTES, item_units
from row_batches.targets.kinds import kind_of
from row_batches.targets.usage import Load, RunCounts, Usage, size_of

EXECUTION_TRANSITIONS = 9
"""ValidateInput, ChooseProcessor, the map, ChooseAfterMap, FindMissing, RowsMissing, AggregateResults, AggregationDone,
Succeed, in asl/batch_processor.asl.json."""
INLINE_TRANSITIONS = 6
"""Transitions without a Map Run: ValidateInput, ChooseProcessor, ProcessRowsInline or ProcessAgentRowsInline,
AggregateResults, AggregationDone, Succeed."""
FINISHING_TRANSITIONS = 4
"""Transitions of batch-processor-finish: PutTogether, ChooseNext, Announce, Finished."""

# Assumptions.
START_SECONDS = 0.3
STAGING_BYTES_PER_SECOND = 40_000_000
AGGREGATION_ROWS_PER_SECOND = 50_000
PART_BYTES = 8_000_000

RUN_PUTS = 8
"""Objects of every run that are one request: plan, failed rows, proof and summary, and the aggregation's checkpoints at
its start, after the rows, after the files and at its end."""
MAP_PUTS = 2
"""The manifest and the result file of a map run.
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html"""


def estimate(
    config: BatchConfig,
    target: Target,
    concurrency: Concurrency,
    storage: Storage,
    *,
    total_rows: int,
    staged_bytes: int,
    distinct: DistinctInput | None = None,
    groups_skipped: int = 0,
    idle_at_best: int = 0,
    idle_at_worst: int = 0,
    prices: Prices = PRICES,
) -> CostEstimate:
    """Estimate the cost of a run.

    ``best`` assumes that each row succeeds at its first attempt, at the registry's ``expected_seconds`` a call, or the
    kind's ``row_seconds``. ``worst`` assumes that each row fails at its last attempt and takes all of its
    ``timeout_seconds``. The target kind's ``assumed`` and ``usage`` hold its own assumptions.

    ``total_rows`` are the rows with content. ``groups_skipped`` groups of other rows lie between them.
    ``distinct`` are the rows that are sent if some rows have equal inputs; None: all rows. The target is not called for
    ``idle_at_best`` rows at best and ``idle_at_worst`` at worst: they keep what an earlier execution left.
    """
    sent = total_rows if distinct is None else distinct.rows
    sent_bytes = staged_bytes * sent // max(1, total_rows)
    idle_sent_at_best = min(sent, sent * idle_at_best // max(1, total_rows))
    # At worst, no two of the other rows have equal inputs.
    idle_sent_at_worst = sent - min(sent, max(0, total_rows - idle_at_worst))
    best, worst = (
        run_usage(
            target,
            _assumed(
                config,
                target,
                concurrency,
                storage,
                sent - idle,
                sent_bytes * (sent - idle) // max(1, sent),
                all_fail=all_fail,
                duplicates=total_rows - sent,
                runs=groups_skipped if distinct is None else distinct.runs,
                idle_rows=idle,
            ),
            storage,
            total_rows=total_rows,
            staged_bytes=staged_bytes,
        )
        for all_fail, idle in ((False, idle_sent_at_best), (True, idle_sent_at_worst))
    )
    best_parts = best.parts(target.cost_per_call_usd, prices=prices)
    worst_parts = worst.parts(target.cost_per_call_usd, prices=prices)
    parts = {name: CostRange(best=_rounded(best_parts[name]), worst=_rounded(worst_parts[name])) for name in best_parts}
    return CostEstimate(
        parts=parts,
        total=CostRange(best=_rounded(sum(best_parts.values())), worst=_rounded(sum(worst_parts.values()))),
        target_included=target.cost_per_call_usd is not None,
        prices_as_of=prices.as_of,
        assumptions=_assumptions(target, config, storage, prices),
    )


def actual_cost(
    usage: Usage, target: Target, model_usd: float | None = None, prices: Prices = PRICES
) -> dict[str, object]:
    """The cost of the counted usage, for the summary and the output document. ``model_usd`` is None if not known.

    ``{"total_usd", "parts": {part: usd}, "target_included", "prices_as_of"}``.
    """
    parts = usage.parts(target.cost_per_call_usd, model_usd, prices)
    return {
        "total_usd": _rounded(sum(parts.values())),
        "parts": {name: _rounded(value) for name, value in parts.items()},
        "target_included": target.cost_per_call_usd is not None or model_usd is not None,
        "prices_as_of": prices.as_of,
    }


def _assumed(
    config: BatchConfig,
    target: Target,
    concurrency: Concurrency,
    storage: Storage,
    total_rows: int,
    staged_bytes: int,
    *,
    all_fail: bool,
    duplicates: int,
    runs: int,
    idle_rows: int,
) -> RunCounts:
    """The counts of a run that calls the target for ``total_rows`` and also writes ``idle_rows`` and ``duplicates``.

    Each of the ``runs`` takes its own write, because duplicates are written after all other rows.
    """
    load = Load(total_rows, staged_bytes, call_seconds(target), all_fail)
    counts = kind_of(target).assumed(config, concurrency, load)
    objects = max(counts.rows_objects, runs, ceil((total_rows + idle_rows) / concurrency.batch_size))
    settings = config.execution_config
    counts = replace(
        counts,
        idle_rows=idle_rows,
        rows_objects=objects,
        answers_sought=total_rows if settings.cache_days else 0,
        answers_kept=total_rows if settings.keeps_answers else 0,
    )
    if settings.enable_xray:
        counts = replace(counts, traces=max(counts.children, counts.worker_calls))
    if storage.mode is StorageMode.INLINE:
        return replace(counts, children=0)
    if storage.mode is StorageMode.DYNAMODB:
        row_units = item_units(staged_bytes // max(1, total_rows))
        units = (total_rows + idle_rows + duplicates) * row_units + counts.failed_rows + counts.rows_objects
        return replace(counts, write_units=units)
    return counts


def measured_usd(plan: Plan, *, row_seconds: float, attempts: float, failed: float) -> float:
    """The cost of the whole run of ``plan`` without the target, from what some of its rows took.

    ``row_seconds`` is the mean time of a row, ``attempts`` the mean number of attempts, ``failed`` the share of failed
    rows.
    """
    config, target, rows = plan.config, plan.target, plan.rows_to_run
    size = plan.staged.size_bytes * rows // max(1, plan.total_rows)
    counts = kind_of(target).assumed(config, plan.concurrency, Load(rows, size, row_seconds))
    retries = round(rows * max(0.0, attempts - 1))
    counts = replace(counts, attempts=rows + retries, retries=retries, failed_rows=round(rows * failed))
    usage = run_usage(target, counts, plan.storage, total_rows=plan.total_rows, staged_bytes=plan.staged.size_bytes)
    return _rounded(sum(usage.parts().values()))


def storage_usage(storage: Storage, counts: RunCounts) -> Usage:
    """The usage for storing the finished rows and reading them once."""
    if storage.mode is StorageMode.DYNAMODB:
        # A unit of writing is 1 KB, one of reading 4.
        return Usage(dynamodb_writes=counts.write_units, dynamodb_reads=counts.write_units / 4)
    if storage.mode is StorageMode.S3 or storage.mode is StorageMode.INLINE:
        return Usage(s3_puts=counts.rows_objects, s3_gets=counts.rows_objects)
    assert_never(storage.mode)


def run_usage(target: Target, counts: RunCounts, storage: Storage, *, total_rows: int, staged_bytes: int) -> Usage:
    """The usage of a run: of its rows, of their storage, and of every execution."""
    full_parts = staged_bytes // PART_BYTES
    inline = storage.mode is StorageMode.INLINE
    base = Usage(
        transitions=(INLINE_TRANSITIONS if inline else EXECUTION_TRANSITIONS) + FINISHING_TRANSITIONS,
        # ValidateInput, FindMissing if there is a map, AggregateResults; finish_run, PutTogether, Announce.
        lambda_requests=5 if inline else 6,
        lambda_gb_seconds=(START_SECONDS + staged_bytes / STAGING_BYTES_PER_SECOND)
        * size_of("validate_input").memory_gb
        # FindMissing and AggregateResults.
        + (2 * START_SECONDS + total_rows / AGGREGATION_ROWS_PER_SECOND) * size_of("aggregate_results").memory_gb
        + START_SECONDS * size_of("aggregate_results").memory_gb
        + START_SECONDS * (size_of("finish_run").memory_gb + size_of("notify").memory_gb),
        # Staged input, output with a checkpoint after each full part, and the rows of the proof.
        s3_puts=2 * _object_puts(staged_bytes)
        + full_parts
        + _object_puts(total_rows * ROW_CHARACTERS)
        + RUN_PUTS
        + (0 if inline else MAP_PUTS),
        s3_gets=ceil(staged_bytes / PART_BYTES) + 13,
        # The run's item and its two index entries, written and ended; the lease of the aggregation.
        dynamodb_writes=8,
    )
    # Reading an answer of up to 4 KB takes half a unit. Writing an answer of up to 1 KB takes one unit.
    answers = Usage(dynamodb_reads=counts.answers_sought / 2, dynamodb_writes=counts.answers_kept)
    traces = Usage(traces=counts.traces)
    return base + kind_of(target).usage(counts) + storage_usage(storage, counts) + answers + traces


def _object_puts(size: int) -> int:
    """The requests that write an object: one if no part is full; else its start, its parts and its completion."""
    return 1 if size < PART_BYTES else ceil(size / PART_BYTES) + 2


def call_seconds(target: Target) -> float:
    """The assumed time of a call."""
    return target.expected_seconds or kind_of(target).row_seconds


def _assumptions(target: Target, config: BatchConfig, storage: Storage, prices: Prices) -> list[str]:
    attempts = config.execution_config.retry_policy.max_attempts
    said = [
        f"prices of {prices.region} as of {prices.as_of}, without free tiers, storage, logs and data transfer",
        f"best: every row succeeds at its first attempt, at {call_seconds(target):g} s a call "
        f"({'an assumption' if target.expected_seconds is None else 'expected_seconds in the registry'})",
        f"worst: every row fails after {attempts} attempts and takes all of its timeout_seconds "
        f"({config.execution_config.timeout_seconds:,} s); no worker is killed, and no row waits for a rate or a limit",
        kind_of(target).cost_assumption,
    ]
    if storage.mode is StorageMode.DYNAMODB:
        said.append(f"an item holds its row's cells twice, an answer of {ANSWER_BYTES} bytes, and {ITEM_BYTES} more")
    if config.execution_config.cache_days is not None:
        said.append("no row is answered from an earlier batch; rows that are cost less")
    if target.cost_per_call_usd is None:
        said.append(f"the cost of the target {target.name} is excluded: the registry has no cost_per_call_usd for it")
    else:
        said.append(f"the target costs {target.cost_per_call_usd} USD a call, as the registry says")
    return said


def _rounded(usd: float) -> float:
    return round(usd, 8)
