"""The calls of an agent from the rows of a child."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from foundation.errors import DeploymentError
from row_batches.run.agent_messages import AgentCall, MapRowsRequest, MapRowsResponse
from row_batches.run.batch import Batches
from row_batches.run.map_input import MOST_ROUND_BYTES, map_rows
from row_batches.run.messages import BatchReference
from row_batches.run.runs import BestEffort
from tests.support.batches import AGENT_ARN, KEYS, make_plan, records_of, staged_items, write_finished
from tests.support.fakes import FakeClock, FakeDeadLetters, FakeObjectStore, FakeRuns, fake_starts

ROWS = [["7", "a text"], ["8", "b text"], ["9", "c text"]]
BRAKE = b'{"reason": "stopped by hand", "error": "StoppedError", "message": ""}'


class Child:
    """A child's rows with fakes around them."""

    def __init__(self, rows: Sequence[Sequence[str]] = ROWS, **document: Any) -> None:
        self.rows = rows
        self.store = FakeObjectStore()
        self.plan = make_plan(rows, store=self.store, invocation="standard", **document)
        self.letters = FakeDeadLetters()
        self.clock = FakeClock()
        self.batches = Batches(self.store, self.clock)

    def map(self, again: Sequence[AgentCall] = ()) -> MapRowsResponse:
        reference = BatchReference(plan_key=KEYS.plan)
        return map_rows(
            MapRowsRequest(BatchInput=reference, Items=staged_items(self.rows), Child="child", Again=list(again)),
            batches=self.batches,
            dead_letters=self.letters,
            notes=BestEffort(FakeRuns()),
            starts=fake_starts(self.clock),
            clock=self.clock,
        )


def numbers(response: MapRowsResponse) -> list[int]:
    return [row.call.row for row in response.rows]


def test_the_agent_gets_its_context_and_the_mapped_input() -> None:
    response = Child(execution_config={"timeout_seconds": 60}).map()

    assert numbers(response) == [1, 2, 3]
    assert response.rows[1].input == {
        "batchContext": {"executionId": "run-1", "rowId": "2", "totalRows": 3},
        "input": {"id": "8", "text": "b text"},
    }
    made = response.rows[1].call
    assert (made.attempt, made.used_ms, made.timeout_seconds, made.agent_arn) == (1, 0, 60, AGENT_ARN)
    assert made.input_bytes == len(json.dumps(response.rows[1].input, separators=(",", ":")))


def test_the_same_attempt_has_the_same_name_always() -> None:
    child = Child(notification_config={"batch_name": "Weekly tickets"})

    first, second = child.map().rows[0].call.name, child.map().rows[0].call.name

    assert first == second
    assert first.startswith("Weekly-tickets-")
    assert first.endswith("-1-1")
    assert len(first) <= 80


def test_rows_that_are_finished_are_left_out() -> None:
    child = Child()
    write_finished(child.plan, child.store, [(2, ROWS[1])])

    assert numbers(child.map()) == [1, 3]


def test_no_row_behind_a_pulled_brake_is_called() -> None:
    child = Child()
    child.store.put(KEYS.brake, BRAKE)

    assert child.map() == MapRowsResponse()


def test_where_failures_may_end_the_run_the_brake_is_read_as_it_is() -> None:
    child = Child(execution_config={"continue_on_error": False})
    assert numbers(child.map()) == [1, 2, 3]
    child.store.put(KEYS.brake, BRAKE)

    assert child.map() == MapRowsResponse()


def test_a_row_that_cannot_be_mapped_is_written_as_failed_and_the_others_are_called() -> None:
    transformation = {"type": "jsonpath", "config": {"column": "text", "path": "$.a"}}
    rows = [["1", '{"a": 1}'], ["2", "not json"], ["3", '{"a": 3}']]
    child = Child(rows, input_mapping={"transformations": {"x": transformation}})

    assert numbers(child.map()) == [1, 3]

    (record,) = records_of(child.store.objects[KEYS.rows_object(2, 2)])
    assert (record["status"], record["attempts"]) == ("FAILED", 0)
    assert "text" in record["error"]
    assert [letter["row"] for letter in child.letters.letters] == [2]


def test_an_input_that_no_execution_can_take_fails_its_row() -> None:
    transformation = {"type": "template", "config": {"template": "{text}{text}"}}
    rows = [["1", "x" * 120_000], ["2", "short"]]
    child = Child(rows, input_mapping={"transformations": {"x": transformation}})

    assert numbers(child.map()) == [2]
    (record,) = records_of(child.store.objects[KEYS.rows_object(1, 1)])
    assert "240," in record["error"]


def test_rows_whose_inputs_do_not_fit_into_one_state_come_in_further_rounds() -> None:
    transformation = {"type": "template", "config": {"template": "{text}{text}"}}
    rows = [[str(number), "x" * size] for number, size in enumerate((90_000, 10_000, 40_000, 60_000))]
    child = Child(rows, input_mapping={"transformations": {"x": transformation}})

    rounds = []
    while response := child.map():
        assert len(response.model_dump_json()) < 256 * 1024
        assert len(response.rows) == 1 or len(response.model_dump_json()) <= MOST_ROUND_BYTES + 100
        rounds.append(numbers(response))
        write_finished(child.plan, child.store, [(row, rows[row - 1]) for row in numbers(response)])
        if not response.remaining:
            break

    assert sorted(row for found in rounds for row in found) == [1, 2, 3, 4]
    assert len(rounds) > 1


def test_a_call_of_another_round_keeps_its_attempt_and_its_name() -> None:
    child = Child()
    again = child.map().rows[1].call.model_copy(update={"attempt": 2, "name": "batch-2-2", "used_ms": 5_000})
    write_finished(child.plan, child.store, [(1, ROWS[0]), (3, ROWS[2])])

    (row,) = child.map([again]).rows

    assert row.call == again.model_copy(update={"last": True})
    assert row.input["input"] == {"id": "8", "text": "b text"}


def test_half_an_emoji_does_not_reach_the_runtime_s_json() -> None:
    transformation = {"type": "jsonpath", "config": {"column": "text", "path": "$.t"}}
    child = Child([["1", '{"t": "hello \\ud83d"}']], input_mapping={"transformations": {"x": transformation}})

    (row,) = child.map().rows

    assert row.input["input"]["x"].startswith("hello ")
    json.dumps(row.input, ensure_ascii=False).encode()


def test_a_plan_that_is_gone_is_a_fault_of_the_deployment() -> None:
    child = Child()
    child.store.objects.clear()
    with pytest.raises(DeploymentError, match=r"plan\.json"):
        child.map()
