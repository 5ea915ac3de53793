"""What an execution costs in US dollars: estimated before, from one dated price table, and computed after from counts.

Both take the same formulas, ``counted_usage`` and ``Usage.parts``: the estimate from assumptions, the summary from
what was counted. Not included: storage, logs, data transfer, KMS, free tiers; nor the target itself, unless the
registry has its ``cost_per_call_usd``.

Sources: https://aws.amazon.com/step-functions/pricing/ (Standard workflows: each state entered is a transition, retries
count), https://aws.amazon.com/lambda/pricing/ (arm64, first tier), https://aws.amazon.com/s3/pricing/ (requests, S3
Standard), https://aws.amazon.com/sqs/pricing/ (standard queues; a request is 64 KB). If AWS charges for the start of
a child workflow beyond its states is documented nowhere; one transition a child is added to be on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from foundation.functions import FunctionSize, function_sizes
from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Concurrency, CostEstimate, CostRange, Invocation, Target


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars a unit, region us-east-1; most regions are within a few percent."""

    as_of: str = "2026-11-01"
    region: str = "us-east-1"
    state_transition: float = 0.025 / 1_000
    lambda_gb_second: float = 0.0000133334
    lambda_request: float = 0.20 / 1_000_000
    s3_put: float = 0.005 / 1_000
    s3_get: float = 0.0004 / 1_000
    sqs_request: float = 0.40 / 1_000_000


PRICES = Prices()

# Transitions, as asl/batch_processor.asl.json has them.
EXECUTION_TRANSITIONS = 9
"""ValidateInput, ChooseProcessor, the map, ChooseAfterMap, FindMissing, RowsMissing, AggregateResults, AggregationDone,
Succeed."""
TOOL_CHILD_TRANSITIONS = 3
"""ProcessRows, RowsRemain, BatchDone."""
TOOL_CHILD_AGAIN_TRANSITIONS = 2
"""ProcessRows, RowsRemain: the function was called again, as its 15 minutes were over."""
AGENT_ROW_TRANSITIONS = 3
"""MapInput, InvokeAgent, MapOutput."""
AGENT_FAILURE_TRANSITIONS = 4
"""A failed attempt that is tried again: InvokeAgent, RecordFailure, ChooseRetry, WaitBeforeRetry."""
AGENT_FAILED_ROW_TRANSITIONS = 5
"""A row that fails at its last attempt: MapInput, InvokeAgent, RecordFailure, ChooseRetry, RowDone."""
AGENT_IDLE_ROW_TRANSITIONS = 2
"""A row that finds the brake pulled, or is taken over from an earlier execution: MapInput, RowDone."""
CHILD_START_TRANSITIONS = 1

# Assumptions, named in each estimate.
SECONDS_PER_ATTEMPT = 0.2
SECONDS_PER_AGENT_STEP = 0.05
WORKER_START_SECONDS = 0.3
WORKER_RESERVE_SECONDS = 60
"""What a worker leaves of its time-out: with less than that it returns the rows that it has not started."""
STAGING_BYTES_PER_SECOND = 40_000_000
AGGREGATION_ROWS_PER_SECOND = 50_000
PART_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """What an execution uses, counted or assumed. ``calls``: attempts at the target that were started."""

    transitions: float = 0
    lambda_requests: float = 0
    lambda_gb_seconds: float = 0
    s3_puts: float = 0
    s3_gets: float = 0
    sqs_requests: float = 0
    calls: float = 0

    def parts(self, cost_per_call_usd: float | None = None, prices: Prices = PRICES) -> dict[str, float]:
        """US dollars by part: ``state_transitions, lambda, s3, sqs`` and, when its price is known, ``target``."""
        parts = {
            "state_transitions": self.transitions * prices.state_transition,
            "lambda": self.lambda_requests * prices.lambda_request + self.lambda_gb_seconds * prices.lambda_gb_second,
            "s3": self.s3_puts * prices.s3_put + self.s3_gets * prices.s3_get,
            "sqs": self.sqs_requests * prices.sqs_request,
        }
        if cost_per_call_usd is not None:
            parts["target"] = self.calls * cost_per_call_usd
        return parts


def estimate(
    config: BatchConfig,
    target: Target,
    concurrency: Concurrency,
    *,
    total_rows: int,
    staged_bytes: int,
    prices: Prices = PRICES,
) -> CostEstimate:
    """The cost of a run: ``best`` when each row succeeds at its first attempt, ``worst`` when each fails at its last.

    Tools and Express agents. Children = rows / batch size (rounded up; or bytes / 200,000 if that is more). A child: 3
    transitions, 1 request, and the worker for as long as its rows take: rows × attempts × 0.2 s / threads, plus 0.3 s.
    Standard agents: 3 transitions and 2 requests a row; a failed attempt that is tried again adds 4 and 1.
    S3: a rows object, a marker of failures, of letters and the active one a child, a brake check a second. SQS: a
    message for each failed row, ten a request.
    """
    attempts = config.execution_config.retry_policy.max_attempts
    best = _usage(target, concurrency, total_rows, staged_bytes, attempts=1, all_fail=False)
    worst = _usage(target, concurrency, total_rows, staged_bytes, attempts=attempts, all_fail=True)
    best_parts = best.parts(target.cost_per_call_usd, prices)
    worst_parts = worst.parts(target.cost_per_call_usd, prices)
    parts = {name: CostRange(best=_rounded(best_parts[name]), worst=_rounded(worst_parts[name])) for name in best_parts}
    return CostEstimate(
        parts=parts,
        total=CostRange(best=_rounded(sum(best_parts.values())), worst=_rounded(sum(worst_parts.values()))),
        target_included=target.cost_per_call_usd is not None,
        prices_as_of=prices.as_of,
        assumptions=_assumptions(target, attempts, prices),
    )


def actual_cost(usage: Usage, target: Target, prices: Prices = PRICES) -> dict[str, object]:
    """The cost of what was counted, for summary and output document.

    ``{"total_usd", "parts": {part: usd}, "target_included", "prices_as_of"}``.
    """
    parts = usage.parts(target.cost_per_call_usd, prices)
    return {
        "total_usd": _rounded(sum(parts.values())),
        "parts": {name: _rounded(value) for name, value in parts.items()},
        "target_included": target.cost_per_call_usd is not None,
        "prices_as_of": prices.as_of,
    }


def counted_usage(
    target: Target,
    *,
    children: int,
    worker_seconds: float,
    worker_calls: int,
    attempts: int,
    attempted_rows: int,
    failed_rows: int,
    rows_objects: int,
    staged_bytes: int,
    total_rows: int,
    throttles: int = 0,
    idle_rows: int = 0,
) -> Usage:
    """The usage of a run from what the aggregator counted.

    Tools and Express agents: ``children`` of the map, ``worker_calls`` of ``process_tool_rows`` and their
    ``worker_seconds`` in all. Standard agents: a child is a row; the two numbers of workers are unused. ``attempts``
    counts all of them, of the ``attempted_rows`` together; ``throttles`` are calls that did not come to one;
    ``failed_rows`` are those in the dead-letter queue. With Standard agents, each of ``idle_rows``, which found the
    brake pulled or were taken over, had a child too.
    """
    base = _base(total_rows, staged_bytes)
    retries = max(0, attempts - attempted_rows)
    if target.invocation is Invocation.STANDARD:
        succeeded = max(0, attempted_rows - failed_rows)
        calls_again = retries + throttles
        steps = 2 * attempted_rows + calls_again + idle_rows
        return Usage(
            transitions=base.transitions
            + (children + idle_rows) * CHILD_START_TRANSITIONS
            + idle_rows * AGENT_IDLE_ROW_TRANSITIONS
            + succeeded * AGENT_ROW_TRANSITIONS
            + failed_rows * AGENT_FAILED_ROW_TRANSITIONS
            + calls_again * AGENT_FAILURE_TRANSITIONS,
            lambda_requests=base.lambda_requests + steps,
            lambda_gb_seconds=base.lambda_gb_seconds + steps * SECONDS_PER_AGENT_STEP * _size("map_output").memory_gb,
            s3_puts=base.s3_puts + rows_objects + 2 * failed_rows,
            s3_gets=base.s3_gets + steps + rows_objects,
            sqs_requests=failed_rows,
            calls=attempts,
        )
    again = max(0, worker_calls - children)
    return Usage(
        transitions=base.transitions
        + children * (CHILD_START_TRANSITIONS + TOOL_CHILD_TRANSITIONS)
        + again * TOOL_CHILD_AGAIN_TRANSITIONS,
        lambda_requests=base.lambda_requests + worker_calls,
        lambda_gb_seconds=base.lambda_gb_seconds + worker_seconds * _size("process_tool_rows").memory_gb,
        s3_puts=base.s3_puts + rows_objects + 2 * worker_calls + min(rows_objects, failed_rows),
        s3_gets=base.s3_gets + rows_objects + worker_seconds + 2 * worker_calls,
        sqs_requests=ceil(failed_rows / 10),
        calls=attempts,
    )


def _usage(
    target: Target, concurrency: Concurrency, total_rows: int, staged_bytes: int, *, attempts: int, all_fail: bool
) -> Usage:
    failed_rows = total_rows if all_fail else 0
    if target.invocation is Invocation.STANDARD:
        children = worker_calls = total_rows
        worker_seconds = 0.0
    else:
        children = max(ceil(total_rows / concurrency.batch_size), ceil(staged_bytes / 200_000)) if total_rows else 0
        work = total_rows * attempts * SECONDS_PER_ATTEMPT / min(concurrency.threads, max(1, concurrency.batch_size))
        worker_limit = _size("process_tool_rows").timeout_seconds - WORKER_RESERVE_SECONDS
        worker_calls = max(children, ceil(work / worker_limit)) if children else 0
        worker_seconds = work + worker_calls * WORKER_START_SECONDS
    return counted_usage(
        target,
        children=children,
        worker_seconds=worker_seconds,
        worker_calls=worker_calls,
        attempts=total_rows * attempts,
        attempted_rows=total_rows,
        failed_rows=failed_rows,
        rows_objects=children,
        staged_bytes=staged_bytes,
        total_rows=total_rows,
    )


def _base(total_rows: int, staged_bytes: int) -> Usage:
    """What every execution uses, beside its children."""
    parts = ceil(staged_bytes / PART_BYTES) + 2
    return Usage(
        transitions=EXECUTION_TRANSITIONS,
        lambda_requests=4,
        lambda_gb_seconds=(WORKER_START_SECONDS + staged_bytes / STAGING_BYTES_PER_SECOND)
        * _size("validate_input").memory_gb
        # FindMissing and AggregateResults.
        + (2 * WORKER_START_SECONDS + total_rows / AGGREGATION_ROWS_PER_SECOND) * _size("aggregate_results").memory_gb
        + WORKER_START_SECONDS * _size("notify").memory_gb,
        # Staged input and output in parts; plan, output, failed rows, summary, map result files.
        s3_puts=2 * parts + 10,
        s3_gets=parts + 10,
    )


def _size(function: str) -> FunctionSize:
    return function_sizes("row_batches")[function]


def _assumptions(target: Target, attempts: int, prices: Prices) -> list[str]:
    said = [
        f"prices of {prices.region} as of {prices.as_of}, without free tiers, storage, logs and data transfer",
        f"worst: every row fails after {attempts} attempts, none of which is throttled",
    ]
    if target.invocation is Invocation.STANDARD:
        said.append("an agent's own transitions and functions are part of the target's cost")
    else:
        said.append(f"an attempt takes {SECONDS_PER_ATTEMPT} s; a worker is paid for while it waits")
    if target.cost_per_call_usd is None:
        said.append(f"the cost of the target {target.name} is excluded: the registry has no cost_per_call_usd for it")
    else:
        said.append(f"the target costs {target.cost_per_call_usd} USD a call, as the registry says")
    return said


def _rounded(usd: float) -> float:
    return round(usd, 8)
