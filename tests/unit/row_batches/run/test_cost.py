"""Estimated and counted cost, recomputed by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.functions import function_sizes
from foundation.prices import PRICES
from row_batches.document.batch_config import BatchConfig
from row_batches.document.input_document import parse_batch_config
from row_batches.document.plan import Concurrency, CostEstimate, DistinctInput, Storage, StorageMode, Target
from row_batches.run import cost
from row_batches.run.cost import actual_cost, estimate, run_usage
from row_batches.targets import standard_agent, usage, worker_kind
from row_batches.targets.usage import RunCounts, Usage
from tests.support import state_machine
from tests.support.batches import KEYS
from tests.unit.row_batches.run.test_aggregate_results import Aggregator, rows_of

TOOL = Target(name="echo", type="tool", arn="arn", invocation="lambda")
AGENT = Target(name="agent", type="agent", arn="arn", invocation="standard")
MILLION = 1_000_000


def config(max_attempts: int = 3, **retry_policy: Any) -> BatchConfig:
    return parse_batch_config(
        {
            "csv_s3_uri": "s3://bucket/key.csv",
            "target": {"type": "tool", "name": "echo"},
            "execution_config": {"retry_policy": {"max_attempts": max_attempts, **retry_policy}},
        }
    )


def estimated(target: Target, rows: int = MILLION, threads: int = 30, max_attempts: int = 3) -> CostEstimate:
    batch = 1 if target.invocation == "standard" else 100
    concurrency = Concurrency(children=2, threads=threads, batch_size=batch)
    return estimate(config(max_attempts), target, concurrency, Storage(), total_rows=rows, staged_bytes=100 * rows)


def test_a_million_rows_through_a_tool_cost_under_two_dollars() -> None:
    found = estimated(TOOL)

    # 10,000 children of four transitions, 9 of the execution and 4 of its finishing.
    assert found.parts["state_transitions"].best == pytest.approx(40_013 * 0.000025)
    # A million times 0.2 s over 30 threads, the workers' start, staging and aggregation at 1 GB; the end at a quarter.
    seconds = MILLION * 0.2 / 30 + 10_000 * 0.3 + 4 * 0.3 + 100e6 / 40e6 + MILLION / 50_000 + 2 * 0.3 / 4
    assert found.parts["lambda"].best == pytest.approx(seconds * 0.0000133334 + 10_006 * 0.2e-6, abs=1e-8)
    assert found.total.best == pytest.approx(sum(part.best for part in found.parts.values()), abs=1e-7)
    assert 1 < found.total.best < 2


@pytest.mark.parametrize(
    ("target", "function", "seconds", "memory_gb"),
    [
        (TOOL, "process_tool_rows", MILLION * 0.2 / 30 + 10_000 * 0.3, 1),
        (AGENT, "map_output", MILLION * 0.05, 0.25),
    ],
    ids=["tool", "agent"],
)
def test_a_function_that_is_deployed_with_twice_the_memory_costs_twice(
    target: Target, function: str, seconds: float, memory_gb: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = estimated(target).parts["lambda"].best
    sizes = function_sizes("row_batches")
    larger = sizes[function].model_copy(update={"memory_mb": 2 * sizes[function].memory_mb})
    monkeypatch.setattr(usage, "function_sizes", lambda package: {**sizes, function: larger})

    assert estimated(target).parts["lambda"].best - before == pytest.approx(seconds * memory_gb * 0.0000133334)


def test_worst_is_every_row_failing_at_its_last_attempt() -> None:
    once, thrice = estimated(AGENT, rows=1_000, max_attempts=1), estimated(AGENT, rows=1_000)

    # A row alone in its child: four states and the start, and four for an attempt that fails.
    assert once.parts["state_transitions"].worst == pytest.approx((13 + 9 * 1_000) * 0.000025)
    assert thrice.parts["state_transitions"].worst == pytest.approx((13 + (9 + 2 * 4) * 1_000) * 0.000025)
    assert thrice.parts["state_transitions"].best == pytest.approx((13 + 7 * 1_000) * 0.000025)
    assert thrice.parts["sqs"].best == 0 < thrice.parts["sqs"].worst


@pytest.mark.parametrize(("rows_a_child", "usd"), [(1, 187), (5, 82), (20, 63)])
def test_a_million_rows_through_an_agent_cost_less_the_more_of_them_share_a_child(
    rows_a_child: int, usd: float
) -> None:
    concurrency = Concurrency(children=10, threads=1, batch_size=rows_a_child)
    found = estimate(config(), AGENT, concurrency, Storage(), total_rows=MILLION, staged_bytes=100 * MILLION)

    assert found.total.best == pytest.approx(usd, abs=1)


def test_a_target_without_a_price_is_excluded_and_that_is_said() -> None:
    found = estimated(TOOL)

    assert not found.target_included
    assert "target" not in found.parts
    assert any("excluded" in said for said in found.assumptions)


def test_a_target_with_a_price_is_a_part() -> None:
    found = estimated(TOOL.model_copy(update={"cost_per_call_usd": 0.01}), rows=100)

    assert found.target_included
    assert (found.parts["target"].best, found.parts["target"].worst) == (1.0, 3.0)


def test_counted_cost_uses_what_was_measured() -> None:
    counts = RunCounts(
        rows=1_000,
        attempts=1_100,
        retries=100,
        failed_rows=25,
        rows_objects=11,
        children=10,
        worker_calls=12,
        worker_seconds=50.0,
    )
    used = run_usage(TOOL, counts, Storage(), total_rows=1_000, staged_bytes=100_000)

    assert used.transitions == 13 + 10 * 4 + 2 * 2
    assert used.calls == 1_100
    assert used.sqs_requests == 3
    found: dict[str, Any] = actual_cost(used, TOOL.model_copy(update={"cost_per_call_usd": 0.001}))
    assert found["parts"]["target"] == 1.1
    assert found["total_usd"] == pytest.approx(sum(found["parts"].values()), abs=1e-7)
    assert found["prices_as_of"] == PRICES.as_of


def ten_rows_of_agents(**counts: int) -> Usage:
    base = {"rows": 10, "attempts": 10, "retries": 0, "rows_objects": 10}
    return run_usage(AGENT, RunCounts(**base | counts), Storage(), total_rows=10, staged_bytes=0)


def test_rows_that_could_not_be_mapped_do_not_hide_the_retries_of_others() -> None:
    # Nine rows with one retry each, one that never came to a call.
    found = ten_rows_of_agents(attempts=18, retries=9, failed_rows=1, unmapped_rows=1)

    # Ten children of four states and their start, nine rows of two, nine retries of four.
    assert found.transitions == 13 + 10 * 5 + 9 * 2 + 9 * 4


def test_an_estimate_says_at_which_time_a_call_and_which_time_a_row() -> None:
    unknown, known = estimated(TOOL), estimated(TOOL.model_copy(update={"expected_seconds": 2.5}))

    first = "best: every row succeeds at its first attempt, at"
    assert f"{first} 0.2 s a call (an assumption)" in unknown.assumptions
    assert f"{first} 2.5 s a call (expected_seconds in the registry)" in known.assumptions
    assert any(
        said.startswith("worst: every row fails after 3 attempts and takes all of its timeout_seconds (300 s)")
        for said in known.assumptions
    )
    assert known.parts["lambda"].best > 8 * unknown.parts["lambda"].best


@dataclass(frozen=True)
class Happened:
    """What happened to a row: bytes of its staged line, attempts, seconds."""

    size: int
    attempts: int
    seconds: float


def run_of(kind: str, rows: list[Happened], concurrency: Concurrency, timeout_seconds: int) -> RunCounts:
    """The counts of a run whose rows all failed, as its workers measure them."""
    attempts = sum(row.attempts for row in rows)
    counts = RunCounts(
        rows=len(rows),
        attempts=attempts,
        retries=attempts - len(rows),
        failed_rows=len(rows),
        rows_objects=len(rows),
        batch_size=concurrency.batch_size,
    )
    if kind == "standard":
        return counts
    children: list[list[Happened]] = [[]]
    for row in rows:  # A batch of the map ends at its number of rows, or before 200,000 bytes.
        size = sum(other.size for other in children[-1]) + row.size
        if len(children[-1]) == concurrency.batch_size or (children[-1] and size > worker_kind.MAX_BATCH_BYTES):
            children.append([])
        children[-1].append(row)
    calls, seconds = 0, 0.0
    for child in children:
        left = list(child)
        while left:  # A call starts no row that might not fit into its time.
            calls += 1
            free = [0.0] * concurrency.threads
            while left and min(free) + timeout_seconds <= worker_kind.CALL_SECONDS:
                place = free.index(min(free))
                free[place] += left.pop(0).seconds
            seconds += max(free)
    return replace(
        counts,
        children=len(children),
        worker_calls=calls,
        worker_seconds=seconds + calls * worker_kind.START_SECONDS,
    )


@settings(max_examples=200)
@given(st.data())
def test_no_run_costs_more_than_the_worst(data: st.DataObject) -> None:
    target = data.draw(st.sampled_from([TOOL, AGENT])).model_copy(update={"cost_per_call_usd": 0.01})
    attempts, timeout = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([1, 30, 300, 840]))
    happened = st.builds(
        Happened,
        size=st.sampled_from([10, 1_000, 150_000, 200_000]),
        attempts=st.integers(1, attempts),
        seconds=st.floats(0, timeout),
    )
    rows = data.draw(st.lists(happened, min_size=1, max_size=60))
    concurrency = Concurrency(
        children=data.draw(st.integers(1, 5)),
        threads=1 if target is AGENT else data.draw(st.integers(1, 30)),
        batch_size=data.draw(st.sampled_from([1, 3, 20, 100])),
    )
    document = config(attempts)
    execution_config = document.execution_config.model_copy(update={"timeout_seconds": timeout})
    document = document.model_copy(update={"execution_config": execution_config})
    size = sum(row.size for row in rows)
    worst = estimate(document, target, concurrency, Storage(), total_rows=len(rows), staged_bytes=size)

    counts = run_of(target.invocation, rows, concurrency, timeout)
    used = run_usage(target, counts, Storage(), total_rows=len(rows), staged_bytes=size)

    for part, usd in used.parts(target.cost_per_call_usd).items():
        assert usd <= worst.parts[part].worst + 1e-8, part


@pytest.mark.parametrize(
    ("counts", "transitions", "requests"),
    [({"idle_rows": 1_000}, 5 * 1_000, 1_000), ({"throttles": 50}, 4 * 50, 50)],
)
def test_rows_behind_the_brake_and_calls_that_came_to_nothing_cost_their_steps(
    counts: dict[str, int], transitions: int, requests: int
) -> None:
    usual, with_them = ten_rows_of_agents(), ten_rows_of_agents(**counts)

    assert with_them.transitions - usual.transitions == transitions
    assert with_them.lambda_requests - usual.lambda_requests == requests
    assert with_them.calls == usual.calls


def test_the_fixed_requests_to_s3_are_those_that_a_run_makes() -> None:
    run = Aggregator(rows_of(3))
    run.write(1, 3)
    before = len(run.store.writes)  # the staged input, the plan and the objects of rows

    assert run.call().done

    validation = [KEYS.staged, KEYS.plan]
    requests = len(validation) + len(run.store.writes[before:])
    inline, with_map = (
        run_usage(TOOL, RunCounts(rows=3, attempts=3, retries=0, rows_objects=0), storage, total_rows=3, staged_bytes=9)
        for storage in (Storage(mode=StorageMode.INLINE), Storage())
    )
    assert inline.s3_puts == requests
    assert with_map.s3_puts == requests + cost.MAP_PUTS


def test_a_large_object_takes_a_request_a_part_its_start_and_its_completion() -> None:
    counts = RunCounts(rows=3, attempts=3, retries=0, rows_objects=0)
    small, large = (
        run_usage(TOOL, counts, Storage(), total_rows=3, staged_bytes=size)
        for size in (cost.PART_BYTES - 1, 2 * cost.PART_BYTES)
    )

    # Staged input and output: each two parts and two more, in place of one. A checkpoint after each part of the output.
    assert large.s3_puts - small.s3_puts == 2 * (4 - 1) + 2


@pytest.mark.parametrize(("idle", "run"), [(0, 10), (950, 10), (995, 5), (1_000, 0)])
def test_at_worst_no_two_of_the_rows_that_run_again_have_equal_inputs(idle: int, run: int) -> None:
    target = TOOL.model_copy(update={"cost_per_call_usd": 1.0})
    found = estimate(
        config(max_attempts=1),
        target,
        Concurrency(children=1, threads=1, batch_size=100),
        Storage(),
        total_rows=1_000,
        staged_bytes=9_000,
        distinct=DistinctInput(key="k", version_id="v", rows=10, runs=1, size_bytes=90),
        idle_at_best=idle,
        idle_at_worst=idle,
    )

    assert found.parts["target"].worst == run


def test_no_usage_costs_nothing() -> None:
    assert set(Usage().parts().values()) == {0}


def test_transitions_are_those_of_the_state_machine() -> None:
    machine = json.loads(state_machine.composed())

    def path(states: dict[str, dict[str, object]], *names: str) -> int:
        """Count a path through a machine, checking that each state leads to the next."""
        for name, following in pairwise(names):
            assert f'"{following}"' in json.dumps({k: v for k, v in states[name].items() if k != "ItemProcessor"})
        return len(names)

    top = machine["States"]
    tool = top["ProcessToolRows"]["ItemProcessor"]["States"]
    agent = top["ProcessAgentRows"]["ItemProcessor"]["States"]
    ends = ("ChooseAfterMap", "FindMissing", "RowsMissing", "AggregateResults", "AggregationDone", "Succeed")
    assert path(top, "ValidateInput", "ChooseProcessor", "ProcessToolRows", *ends) == cost.EXECUTION_TRANSITIONS
    assert path(top, "ValidateInput", "ChooseProcessor", "ProcessAgentRows", *ends) == cost.EXECUTION_TRANSITIONS
    inline_ends = ("AggregateResults", "AggregationDone", "Succeed")
    for inline in ("ProcessRowsInline", "ProcessAgentRowsInline"):
        assert path(top, "ValidateInput", "ChooseProcessor", inline, *inline_ends) == cost.INLINE_TRANSITIONS
    again = (
        path(top, "ProcessRowsInline", "AggregateResults", "AggregationDone", "WaitForRows", "ProcessRowsInline") - 1
    )
    assert again == worker_kind.INLINE_AGAIN_TRANSITIONS
    finishing = json.loads(state_machine.SOURCES["batch_processor_finish"])["States"]
    assert path(finishing, "PutTogether", "ChooseNext", "Announce", "Finished") == cost.FINISHING_TRANSITIONS
    assert path(tool, "ProcessRows", "RowsRemain", "BatchDone") == worker_kind.CHILD_TRANSITIONS
    assert path(tool, "ProcessRows", "RowsRemain", "ProcessRows") - 1 == worker_kind.CHILD_AGAIN_TRANSITIONS
    rows = agent["RunRows"]["ItemProcessor"]["States"]
    assert path(agent, "MapRows", "RunRows", "AgentRowsRemain", "AgentRowsDone") == standard_agent.CHILD_TRANSITIONS
    assert path(rows, "InvokeAgent", "MapOutput") == standard_agent.ROW_TRANSITIONS
    retried = path(rows, "InvokeAgent", "RecordFailure", "ChooseRetry", "WaitBeforeRetry", "InvokeAgent") - 1
    assert retried == standard_agent.FAILURE_TRANSITIONS
    failed = path(rows, "InvokeAgent", "RecordFailure", "ChooseRetry", "RowDone")
    assert failed == standard_agent.FAILED_ROW_TRANSITIONS
