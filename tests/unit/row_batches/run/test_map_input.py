"""The first call of an agent from a row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foundation.errors import DeploymentError, MappingError, NotAttemptedError
from row_batches.run.batch import Batches
from row_batches.run.map_input import map_input
from row_batches.run.messages import BatchReference, MapInputRequest, MapInputResponse
from tests.support.batches import AGENT_ARN, KEYS, make_plan, staged_items
from tests.support.fakes import FakeClock, FakeObjectStore

ROW = ["7", "a text"]


def call(store: FakeObjectStore, row: list[str] = ROW, batches: Batches | None = None) -> MapInputResponse:
    request = MapInputRequest(BatchInput=BatchReference(plan_key=KEYS.plan), Row=staged_items([row])[0])
    clock = FakeClock()
    return map_input(request, batches=batches or Batches(store, clock), clock=clock)


def store_with_plan(**document: Any) -> FakeObjectStore:
    store = FakeObjectStore()
    make_plan([ROW], store=store, invocation="standard", **document)
    return store


def test_the_agent_gets_its_context_and_the_mapped_input() -> None:
    response = call(store_with_plan(execution_config={"timeout_seconds": 60}))

    assert response.input == {
        "batchContext": {"executionId": "run-1", "rowId": "1", "totalRows": 1},
        "input": {"id": "7", "text": "a text"},
    }
    made = response.call
    assert (made.row, made.attempt, made.timeout_seconds, made.agent_arn) == (1, 1, 60, AGENT_ARN)
    assert made.deadline_ms - made.first_started_ms == 60_000


def test_the_same_attempt_has_the_same_name_always() -> None:
    store = store_with_plan(notification_config={"batch_name": "Weekly tickets"})

    first, second = call(store), call(store)

    assert first.call.name == second.call.name
    assert first.call.name.startswith("Weekly-tickets-")
    assert first.call.name.endswith("-1-1")
    assert len(first.call.name) <= 80


def test_a_row_behind_a_pulled_brake_is_not_attempted() -> None:
    store = store_with_plan()
    store.put(KEYS.brake, b'{"reason": "stopped by hand", "error": "StoppedError", "message": ""}')

    with pytest.raises(NotAttemptedError, match="stopped by hand"):
        call(store)


def test_where_failures_may_end_the_run_each_row_reads_the_brake_as_it_is() -> None:
    store = store_with_plan(execution_config={"continue_on_error": False})
    batches = Batches(store, FakeClock())
    call(store, batches=batches)
    store.put(KEYS.brake, b'{"reason": "a row failed", "error": "RowFailedError", "message": ""}')

    with pytest.raises(NotAttemptedError, match="a row failed"):
        call(store, batches=batches)


def test_a_row_that_cannot_be_mapped_raises() -> None:
    transformation = {"type": "jsonpath", "config": {"column": "text", "path": "$.a"}}
    store = store_with_plan(input_mapping={"transformations": {"x": transformation}})

    with pytest.raises(MappingError):
        call(store)


def test_an_input_that_no_execution_can_take_raises() -> None:
    transformation = {"type": "template", "config": {"template": "{text}{text}"}}
    store = FakeObjectStore()
    row = ["1", "x" * 120_000]
    make_plan(
        [row],
        store=store,
        invocation="standard",
        input_mapping={"transformations": {"x": transformation}},
    )

    with pytest.raises(MappingError, match="bytes"):
        call(store, row)


def test_half_an_emoji_does_not_reach_the_runtime_s_json() -> None:
    transformation = {"type": "jsonpath", "config": {"column": "text", "path": "$.t"}}
    store = store_with_plan(input_mapping={"transformations": {"x": transformation}})

    response = call(store, ["1", '{"t": "hello \\ud83d"}'])

    assert response.input["input"]["x"].startswith("hello ")
    json.dumps(response.input, ensure_ascii=False).encode()


def test_a_plan_that_is_gone_is_a_fault_of_the_deployment() -> None:
    with pytest.raises(DeploymentError, match=r"plan\.json"):
        call(FakeObjectStore())
