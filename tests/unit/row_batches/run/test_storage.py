"""Which storage a batch gets, and why."""

from __future__ import annotations

from typing import Any

import pytest

from foundation.errors import InvalidInputError, Problem
from row_batches.document.input_document import parse_batch_config
from row_batches.document.plan import Concurrency, Storage, StorageMode, Target
from row_batches.files.csv_reader import Staging
from row_batches.files.csv_writer import render_row
from row_batches.run.cost import estimate
from row_batches.run.storage import StoragePlan, plan_storage

TOOL = Target(name="echo", type="tool", arn="arn", invocation="lambda")
STANDARD = Target(name="agent", type="agent", arn="arn", invocation="standard")
EXPRESS = Target(name="express", type="agent", arn="arn", invocation="express")
DAYS = 7


def decide(
    rows: int, cell: str = "text", target: Target = TOOL, batch_name: str | None = None, **execution: Any
) -> StoragePlan | Problem:
    config = parse_batch_config(
        {
            "csv_s3_uri": "s3://bucket/key.csv",
            "target": {"type": target.type, "name": target.name},
            "execution_config": execution,
            "notification_config": {"batch_name": batch_name},
        },
        work_retention_days=DAYS,
    )
    staging = Staging([b"id,text\n", *[render_row([str(row), cell]).encode() for row in range(1, rows + 1)]])
    staged = list(staging)
    return plan_storage(
        config,
        target,
        execution="run-1",
        total_rows=rows,
        staged_bytes=staging.size_bytes,
        read_staged=lambda: staged,
        work_retention_days=DAYS,
    )


def decided(*arguments: Any, **named: Any) -> StoragePlan:
    found = decide(*arguments, **named)
    assert isinstance(found, StoragePlan)
    return found


def test_rows_are_objects_in_s3_by_default() -> None:
    found = decided(3)

    assert (found.storage.mode, found.storage.reason, found.items) == (StorageMode.S3, "the default", [])


@pytest.mark.parametrize(("rows", "mode"), [(1, "inline"), (250, "inline"), (5_000, "s3")])
def test_auto_is_inline_for_what_fits(rows: int, mode: str) -> None:
    found = decided(rows, storage_mode="auto")

    assert found.storage.mode == mode
    assert found.storage.reason.startswith("auto: ")
    assert len(found.items) == (rows if mode == "inline" else 0)


def test_auto_keeps_the_rows_in_flight_that_the_document_asks_for() -> None:
    assert decided(30, storage_mode="auto", max_concurrency=100).storage.mode is StorageMode.INLINE
    found = decided(100, storage_mode="auto", max_concurrency=100)

    assert (found.storage.mode, found.storage.reason) == (StorageMode.S3, "auto: inline has 30 rows in flight, not 100")


def test_inline_rows_come_as_a_child_gets_them_to_one_worker() -> None:
    found = decided(2, cell='a "b"\\', storage_mode="inline", max_concurrency=8)

    assert found.items == [{"r": "1", "c1": "1", "c2": 'a "b"\\\\'}, {"r": "2", "c1": "2", "c2": 'a "b"\\\\'}]
    assert found.concurrency == Concurrency(children=1, threads=2, batch_size=2)


def test_250_rows_are_inline_and_251_rows_that_are_too_large_are_refused_with_the_figure() -> None:
    cell = "x" * 487
    assert decided(250, cell=cell, storage_mode="inline").storage.mode is StorageMode.INLINE

    problem = decide(251, cell=cell, storage_mode="inline")

    assert isinstance(problem, Problem)
    assert problem.path == "execution_config.storage_mode"
    assert problem.message == (
        "251 rows take 201 KB in the state machine's payload (with 300 bytes added for each row), "
        "which has room for 200"
    )
    assert "dynamodb" in problem.fix


@pytest.mark.parametrize("target", [TOOL, EXPRESS, STANDARD])
def test_auto_is_inline_for_small_batches_of_every_kind_of_target(target: Target) -> None:
    assert decided(3, target=target, storage_mode="auto").storage.mode is StorageMode.INLINE


def test_inline_agents_have_the_children_that_the_map_would_have_up_to_40_at_once() -> None:
    def settings(mode: str, **execution: Any) -> tuple[int, int]:
        found = decided(250, target=STANDARD, storage_mode=mode, **execution).concurrency
        return found.children, found.batch_size

    assert settings("inline", max_concurrency=10) == settings("s3", max_concurrency=10) == (10, 5)
    assert settings("inline", max_concurrency=100) == (40, 5)
    found = decided(250, target=STANDARD, storage_mode="auto", max_concurrency=100).storage
    assert (found.mode, found.reason) == (StorageMode.S3, "auto: inline has 40 rows in flight, not 100")


def test_a_rate_that_keeps_few_rows_in_flight_does_not_make_inline_too_slow() -> None:
    rated = decided(5, target=STANDARD, storage_mode="auto", timeout_seconds=60, rate={"rows_per_minute": 1})

    assert rated.concurrency.children < 5
    assert rated.storage.mode is StorageMode.INLINE


def test_rows_that_would_fill_the_history_are_refused_with_their_events() -> None:
    assert decided(250, target=STANDARD, storage_mode="inline").storage.mode is StorageMode.INLINE

    problem = decide(250, target=STANDARD, storage_mode="inline", retry_policy={"max_attempts": 5})

    assert isinstance(problem, Problem)
    assert problem.message == (
        "250 rows of 5 attempts take 29,350 events in the execution's history (20 an attempt), and at most 20,000 "
        "are allowed"
    )
    found = decided(250, target=STANDARD, storage_mode="auto", retry_policy={"max_attempts": 5}).storage
    assert (found.mode, found.reason) == (StorageMode.S3, f"auto: {problem.message}")


def test_many_rows_are_refused_without_being_read() -> None:
    problem = decide(100_000, storage_mode="inline")

    assert isinstance(problem, Problem)
    assert "100,000 rows take" in problem.message


def test_a_table_has_as_many_partition_keys_as_the_rows_a_second_take() -> None:
    few = decided(100, storage_mode="dynamodb", max_concurrency=10, batch_name="nightly")
    # 1,000 rows in flight of 0.2 s each are 5,000 a second; each takes 2 units of 1 KB.
    many = decided(100_000, storage_mode="dynamodb", max_concurrency=1_000)
    slow = decided(100_000, storage_mode="dynamodb", max_concurrency=1_000, rate={"rows_per_minute": 600})

    assert few.storage.batch_ids == ["nightly#run-1"]
    assert len(many.storage.batch_ids) == 15
    assert many.storage.batch_ids[:2] == ["echo#run-1#00", "echo#run-1#01"]
    assert len(slow.storage.batch_ids) == 1


def test_rows_in_a_table_expire_and_are_compressed_as_the_document_says() -> None:
    found = decided(3, storage_mode="dynamodb", ttl_days=30, enable_compression=True)

    assert (found.storage.ttl_days, found.storage.compress) == (30, True)
    assert decided(3, storage_mode="dynamodb").storage.ttl_days == DAYS


def test_what_only_a_table_can_do_is_refused_in_other_modes() -> None:
    for mode in ("s3", "inline", "auto"):
        with pytest.raises(InvalidInputError) as refusal:
            decide(3, storage_mode=mode, ttl_days=30, enable_compression=True)
        assert [problem.path for problem in refusal.value.problems] == [
            "execution_config.ttl_days",
            "execution_config.enable_compression",
        ]


def test_the_estimate_has_the_prices_of_the_mode() -> None:
    config = parse_batch_config({"csv_s3_uri": "s3://bucket/key.csv", "target": {"type": "tool", "name": "echo"}})
    concurrency = Concurrency(children=1, threads=10, batch_size=100)

    def parts(storage: Storage, rows: int) -> dict[str, float]:
        found = estimate(config, TOOL, concurrency, storage, total_rows=rows, staged_bytes=100 * rows)
        return {name: part.best for name, part in found.parts.items()}

    s3, table = parts(Storage(), 1_000_000), parts(Storage(mode=StorageMode.DYNAMODB, batch_ids=["a"]), 1_000_000)
    # Two units of writing a row and one for each of 10,000 runs of rows; half a unit of reading.
    assert table["dynamodb"] - s3["dynamodb"] == pytest.approx(2_010_000 * (0.625e-6 + 0.125e-6 / 4), abs=1e-7)
    assert s3["s3"] - table["s3"] == pytest.approx(10_000 * 5.4e-6, abs=1e-7)
    inline = parts(Storage(mode=StorageMode.INLINE), 10)
    assert inline["state_transitions"] == pytest.approx((6 + 4) * 0.000025)
    assert inline["state_transitions"] < parts(Storage(), 10)["state_transitions"]
