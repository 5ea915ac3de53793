"""Runs of 10 and 100 million rows, computed from quotas."""

from __future__ import annotations

import pytest

from row_batches.document.plan import StorageMode
from tools.scale import AGENT, LAMBDA, STARTS, TABLE_WRITES, TOOL, simulate, simulations


def test_hours_are_rows_by_what_is_in_flight_and_how_long_a_row_takes() -> None:
    found = simulate(10_000_000, TOOL, StorageMode.S3, 100)

    assert (found.limit, found.rows_rate) == ("rows in flight", 500)
    assert found.row_hours == pytest.approx(10_000_000 / 500 / 3600)
    assert found.hours == pytest.approx(found.staging_hours + found.row_hours + found.output_hours)


def test_a_quota_holds_back_what_is_above_it_by_name() -> None:
    assert simulate(10_000_000, TOOL, StorageMode.S3, 5_000).limit == LAMBDA.name
    agents = simulate(10_000_000, AGENT, StorageMode.S3, 10_000)
    assert (agents.limit, agents.rows_rate) == (STARTS.name, STARTS.value)


def test_a_table_has_the_partition_keys_for_its_rate() -> None:
    found = simulate(100_000_000, TOOL, StorageMode.DYNAMODB, 900)

    assert found.partitions == 13
    assert found.write_rate / found.partitions < 1_000
    assert found.write_rate < TABLE_WRITES.value


def test_ten_times_the_rows_cost_ten_times_as_much() -> None:
    runs = simulations()
    half = len(runs) // 2
    for ten, hundred in zip(runs[:half], runs[half:], strict=True):
        assert hundred.usd == pytest.approx(10 * ten.usd, rel=0.01)
        assert hundred.row_hours == pytest.approx(10 * ten.row_hours)
