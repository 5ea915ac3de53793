"""Rows in flight over children and threads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.document.batch_config import BatchConfig
from row_batches.document.input_document import parse_batch_config
from row_batches.document.plan import Concurrency
from row_batches.targets.express_agent import ExpressAgent
from row_batches.targets.lambda_function import LambdaFunction
from row_batches.targets.standard_agent import StandardAgent
from row_batches.targets.worker_kind import MAX_BATCH_BYTES, MAX_THREADS

TOOL = LambdaFunction()


def config(**execution_config: int) -> BatchConfig:
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
    planned = TOOL.concurrency(config(max_concurrency=max_concurrency, batch_size=batch_size), rows, 0)

    assert planned == Concurrency(children=children, threads=threads, batch_size=planned_batch)


def test_an_express_agent_is_planned_like_a_tool_and_a_standard_one_row_by_row() -> None:
    assert ExpressAgent().concurrency(config(max_concurrency=60), 1_000, 0).threads == 30
    planned = StandardAgent().concurrency(config(max_concurrency=60), 1_000, 0)
    assert planned == Concurrency(children=60, threads=1, batch_size=1)


def test_a_batch_of_slow_rows_is_one_that_its_child_s_history_can_take() -> None:
    slow = config(max_concurrency=1, batch_size=10_000, timeout_seconds=840)
    quick = config(max_concurrency=1, batch_size=10_000, timeout_seconds=60)

    assert TOOL.concurrency(slow, 1_000_000, 0).batch_size == 3_000
    assert TOOL.concurrency(quick, 1_000_000, 0).batch_size == 10_000


def test_large_rows_make_smaller_batches_and_more_children() -> None:
    planned = TOOL.concurrency(config(max_concurrency=60), 1_000, 20_000)

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
    planned = TOOL.concurrency(config(max_concurrency=max_concurrency, batch_size=batch_size), rows, row_bytes)

    assert planned.children * planned.threads <= max_concurrency
    assert planned.threads <= min(MAX_THREADS, batch_size)
    assert planned.batch_size <= batch_size
    assert planned.batch_size * row_bytes <= max(MAX_BATCH_BYTES, row_bytes)
    assert planned.children * planned.threads >= 0.75 * min(max_concurrency, rows)
