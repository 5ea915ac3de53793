"""Rows in flight over children and threads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.document.batch_config import BatchConfig
from row_batches.document.input_document import parse_batch_config
from row_batches.document.plan import Concurrency, Target
from row_batches.targets.express_agent import ExpressAgent
from row_batches.targets.lambda_function import LambdaFunction
from row_batches.targets.standard_agent import EVENTS_AN_ATTEMPT, StandardAgent, most_throttles
from row_batches.targets.worker_kind import MAX_BATCH_BYTES, MAX_THREADS

TOOL = LambdaFunction()
TARGET = Target(name="target", type="agent", arn="arn", invocation="standard")


def config(**execution_config: Any) -> BatchConfig:
    return parse_batch_config(
        {
            "csv_s3_uri": "s3://bucket/key.csv",
            "target": {"type": "tool", "name": "echo"},
            "execution_config": execution_config,
        }
    )


@pytest.mark.parametrize(
    ("max_concurrency", "rows", "batch_size", "children", "threads", "planned_batch"),
    [
        (60, 20_000, 100, 2, 30, 100),
        (60, 200, 100, 2, 30, 100),
        (60, 100, 100, 2, 30, 50),
        (60, 60, 5, 12, 5, 5),
        (100, 20_000, 100, 4, 25, 100),
        (10_000, 1_000_000, 100, 400, 25, 100),
        (10, 2_000, 1, 10, 1, 1),
        (10, 3, 100, 1, 3, 3),
        (1, 2_000, 100, 1, 1, 100),
    ],
)
def test_spreads_rows_in_flight(
    max_concurrency: int, rows: int, batch_size: int, children: int, threads: int, planned_batch: int
) -> None:
    planned = TOOL.concurrency(config(max_concurrency=max_concurrency, batch_size=batch_size), TARGET, rows, 0)

    assert planned == Concurrency(children=children, threads=threads, batch_size=planned_batch)


def test_an_express_agent_is_planned_like_a_tool() -> None:
    assert ExpressAgent().concurrency(config(max_concurrency=60), TARGET, 1_000, 0).threads == 30


def rows_a_child(seconds: float | None = None, rows: int = 10_000, **execution_config: Any) -> int:
    target = TARGET.model_copy(update={"expected_seconds": seconds})
    planned = StandardAgent().concurrency(config(**{"max_concurrency": 10, **execution_config}), target, rows, 0)
    assert (planned.children, planned.threads) == (execution_config.get("max_concurrency", 10), 1)
    return planned.batch_size


@pytest.mark.parametrize(
    ("seconds", "rows"), [(None, 5), (0.1, 20), (1, 20), (15, 20), (30, 10), (150, 2), (299, 1), (1_000, 1)]
)
def test_rows_of_a_standard_agent_share_a_child_for_some_minutes(seconds: float | None, rows: int) -> None:
    assert rows_a_child(seconds) == rows


def test_every_child_in_flight_has_rows() -> None:
    assert rows_a_child(1, rows=60) == 6
    assert rows_a_child(1, rows=61) == 7
    assert rows_a_child(1, rows=3) == 1
    assert rows_a_child(1, rows=0) == 1
    assert rows_a_child(1, rows=10_000, max_concurrency=10_000) == 1


@pytest.mark.parametrize(
    "alone", [{"timeout_seconds": 901}, {"continue_on_error": False}, {"stop_after": {"failed_percent": 5}}]
)
def test_a_row_that_may_take_long_or_end_the_run_has_a_child_of_its_own(alone: dict[str, Any]) -> None:
    assert rows_a_child(1, timeout_seconds=900) == 20
    assert rows_a_child(1, **alone) == 1


def test_the_history_of_a_child_can_take_every_attempt_of_its_rows() -> None:
    assert rows_a_child(1, retry_policy={"max_attempts": 25}) == 20
    assert rows_a_child(1, retry_policy={"max_attempts": 100}) == 5
    for rows in (1, 5, 20):
        attempts = 500 // rows
        assert rows * (attempts + most_throttles(rows)) * EVENTS_AN_ATTEMPT <= 20_000


def test_a_batch_of_slow_rows_is_one_that_its_child_s_history_can_take() -> None:
    slow = config(max_concurrency=1, batch_size=10_000, timeout_seconds=840)
    quick = config(max_concurrency=1, batch_size=10_000, timeout_seconds=60)

    assert TOOL.concurrency(slow, TARGET, 1_000_000, 0).batch_size == 3_000
    assert TOOL.concurrency(quick, TARGET, 1_000_000, 0).batch_size == 10_000


def test_large_rows_make_smaller_batches_and_more_children() -> None:
    planned = TOOL.concurrency(config(max_concurrency=60), TARGET, 1_000, 20_000)

    assert planned == Concurrency(children=6, threads=10, batch_size=10)


@given(
    max_concurrency=st.integers(1, 10_000),
    batch_size=st.integers(1, 10_000),
    rows=st.integers(0, 1_000_000),
    row_bytes=st.integers(0, 199_000),
)
def test_never_more_in_flight_than_allowed_and_seldom_much_less(
    max_concurrency: int, batch_size: int, rows: int, row_bytes: int
) -> None:
    planned = TOOL.concurrency(config(max_concurrency=max_concurrency, batch_size=batch_size), TARGET, rows, row_bytes)

    assert planned.children * planned.threads <= max_concurrency
    assert planned.threads <= min(MAX_THREADS, batch_size)
    assert planned.batch_size <= batch_size
    assert planned.batch_size * row_bytes <= max(MAX_BATCH_BYTES, row_bytes)
    assert planned.children * planned.threads >= 0.75 * min(max_concurrency, rows)
