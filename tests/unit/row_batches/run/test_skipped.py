"""Rows without content are listed in the output as SKIPPED and are not sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from row_batches.document.plan import EarlierExecution, Plan, StorageMode
from row_batches.rows.records import RowStatus
from row_batches.run.batch import Batches
from row_batches.run.end_messages import AggregateAction, EndedRun, ExecutionStatus
from row_batches.run.notify import summary_body
from row_batches.run.remap import remap
from row_batches.run.skipped import all_rows, all_staged, list_skipped
from row_batches.run.staged_again import StagedAgain
from tests.support.batches import deduplicated, execution_of, make_plan, stage
from tests.support.fakes import FakeDeadline
from tests.support.tool_runs import SAID, ToolRuns

COLUMNS = ("note", "text")
BLANK = ("", "")
DOCUMENT: dict[str, dict[str, Any]] = {
    "output_mapping": SAID,
    "execution_config": {"retry_policy": {"max_attempts": 1}},
}


class World(ToolRuns):
    def plan(self, rows: Sequence[Sequence[str]], **document: Any) -> Plan:
        return make_plan(rows, COLUMNS, store=self.store, **{**DOCUMENT, **document})


@pytest.fixture
def world() -> World:
    return World(failing={"bad"})


def statuses(rows: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(row["_row_id"], row["text"], row["_status"]) for row in rows]


def test_ten_rows_over_1247_lines_of_commas_are_ten_calls_and_the_output_lists_all(world: World) -> None:
    plan = world.plan([*[(str(row), f"text {row}") for row in range(10)], *[BLANK] * 1247])

    world.work(plan)
    assert world.ask(plan, AggregateAction.FIND_MISSING).missing == 0
    world.ask(plan)

    assert len(world.called) == 10
    output = world.output(plan)
    assert [row["_row_id"] for row in output] == [str(row) for row in range(1, 1258)]
    assert [row["_status"] for row in output] == ["SUCCESS"] * 10 + ["SKIPPED"] * 1247
    assert {row["_error_message"] for row in output[10:]} == {"the row has no content"}
    summary = world.summary(plan)
    assert summary["status"] == "SUCCEEDED"
    counts = [summary[name] for name in ("succeeded", "failed", "timed_out", "not_attempted", "skipped")]
    assert counts == [10, 0, 0, 0, 1247]
    assert summary["total_rows"] == sum(counts)
    assert summary["first_failures"] == []
    assert summary_body(summary)["skipped"] == 1247
    assert summary_body(summary)["rows_processed"] == 10


ROWS = [BLANK, ("1", "one"), (" ", "\t"), ("\u3000", "\r\n"), ("2", "bad"), BLANK, ("3", "one"), BLANK]


def test_rows_keep_their_numbers_and_their_white_space(world: World) -> None:
    plan = world.plan(ROWS)

    world.work(plan)
    world.ask(plan)

    output = world.output(plan)
    assert [(row["note"], row["text"]) for row in output] == ROWS
    assert statuses(output) == [
        ("1", "", "SKIPPED"),
        ("2", "one", "SUCCESS"),
        ("3", "\t", "SKIPPED"),
        ("4", "\r\n", "SKIPPED"),
        ("5", "bad", "FAILED"),
        ("6", "", "SKIPPED"),
        ("7", "one", "SUCCESS"),
        ("8", "", "SKIPPED"),
    ]
    failed = world.output(plan, plan.keys.failed_rows)
    assert [row["text"] for row in failed] == ["bad"]
    assert len(world.letters.letters) == 1


def test_the_rows_of_a_dead_child_are_found_between_skipped_ones(world: World) -> None:
    plan = world.plan(ROWS)

    world.work(plan, but=["one"])
    found = world.ask(plan, AggregateAction.FIND_MISSING)
    world.ask(plan)

    assert found.missing == 2
    missing = world.store.objects[plan.keys.missing].decode()
    assert [line.split(",")[0] for line in missing.splitlines()[1:]] == ['"2"', '"7"']
    assert [status for _, _, status in statuses(world.output(plan))].count("FAILED") == 3


def test_a_run_that_is_stopped_lists_them_as_skipped_too(world: World) -> None:
    plan = world.plan(ROWS)
    ended = EndedRun(
        execution_arn=plan.execution.arn,
        execution=plan.execution.name,
        plan_key=plan.keys.plan,
        status=ExecutionStatus.ABORTED,
        ended_ms=world.clock.now_ms(),
    )

    world.ask(plan, ended=ended)

    summary = world.summary(plan)
    assert (summary["not_attempted"], summary["skipped"]) == (3, 5)
    assert [row["text"] for row in world.output(plan, plan.keys.failed_rows)] == ["one", "bad", "one"]


def test_a_call_without_time_goes_on_in_the_next_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("row_batches.run.aggregate_results.GAP_ROWS_AT_ONCE", 2)
    plan = world.plan([("1", "one"), *[BLANK] * 9, ("2", "two")])
    world.work(plan)

    calls = 1
    while not world.ask(plan, deadline=FakeDeadline(900, 900, 900, 900, 0)).done:
        calls += 1

    assert calls > 2
    assert [status for _, _, status in statuses(world.output(plan))] == ["SUCCESS"] + ["SKIPPED"] * 9 + ["SUCCESS"]
    assert world.summary(plan)["skipped"] == 9


def test_equal_inputs_are_sent_once_among_the_rows_with_content(world: World) -> None:
    plan = deduplicated(world.plan(ROWS, input_mapping={"column_mappings": {"text": "text"}}), world.store)
    assert plan.distinct is not None
    assert (plan.distinct.rows, plan.distinct.runs, plan.rows_sent) == (2, 3, 2)

    world.work(plan)
    world.ask(plan)

    assert sorted(world.called) == ["bad", "one"]
    kinds = [status for _, _, status in statuses(world.output(plan))]
    assert kinds == ["SKIPPED", "SUCCESS", "SKIPPED", "SKIPPED", "FAILED", "SKIPPED", "SUCCESS", "SKIPPED"]


def test_remap_lists_them_again(world: World) -> None:
    plan = world.plan(ROWS)
    world.work(plan, but=["bad"])
    world.ask(plan)

    document = {"output_mapping": {**DOCUMENT["output_mapping"], "columns": [{"name": "new", "source": "$.said"}]}}
    remapped = remap(plan.execution.name, document, objects=world.store, clock=world.clock)

    before, after = world.output(plan), world.output(plan, remapped.key)
    assert statuses(after) == statuses(before)
    assert (remapped.unfinished, remapped.counts[RowStatus.SKIPPED]) == (1, 5)


def test_a_resumed_run_stages_all_rows_of_the_earlier_one(world: World) -> None:
    plan = world.plan(ROWS)

    again = StagedAgain(world.store, plan)
    copy = stage(again, plan.config.input_format, world.store, execution_of("run-2"))

    assert [(row, tuple(cells), skipped) for row, cells, skipped in all_rows(world.store, plan)] == [
        (row, cells, row not in (2, 5, 7)) for row, cells in enumerate(ROWS, 1)
    ]
    assert copy.rows_skipped == 5
    assert again.total_rows == 8
    assert b"".join(all_staged(world.store, plan.model_copy(update={"skipped": None}))).count(b"\n") == 4


def test_they_are_listed_as_the_output_has_them(world: World) -> None:
    plan = world.plan(ROWS)
    world.work(plan)
    world.ask(plan)

    listed = list(list_skipped(Batches(world.store, world.clock).open(plan.keys.plan), 2))

    assert [row.row for row in listed] == [3, 4, 6, 8]
    output = world.store.objects[plan.keys.output].decode()
    assert all(row.csv in output for row in listed)


def test_rows_without_content_are_sent_on_request(world: World) -> None:
    plan = world.plan([("1", "one"), BLANK], input_format={"empty_rows": "send"})

    world.work(plan)

    assert sorted(world.called) == ["", "one"]
    assert plan.skipped is None


def test_a_row_that_succeeded_is_taken_over_and_a_skipped_one_is_skipped_again(world: World) -> None:
    first = world.plan(ROWS)
    world.work(first)
    world.ask(first)
    earlier = [EarlierExecution(name=first.execution.name, batch_size=100)]

    second = world.plan(ROWS, execution="run-2", resume_from=earlier)
    world.work(second)
    world.ask(second)

    assert world.called == ["bad"]
    assert world.summary(second)["skipped"] == 5
    assert second.storage.mode is StorageMode.S3
