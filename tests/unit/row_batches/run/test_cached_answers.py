"""Answers that earlier batches got for the same inputs are not paid for again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from row_batches.document.plan import Keys, Plan
from row_batches.run.agent_messages import MapOutputRequest, MapRowsRequest
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batches
from row_batches.run.end_messages import AggregateAction, AggregateRequest
from row_batches.run.map_input import map_rows
from row_batches.run.map_output import map_output
from row_batches.run.messages import BatchReference
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.runs import BestEffort
from row_batches.run.tool_messages import ToolRowsRequest
from row_batches.targets.protocol import Outcome, thrown_error
from tests.support.batches import FUNCTION_ARN, STARTED_AT, WorkStore, make_plan, records_of, sent_items
from tests.support.fakes import (
    FakeAnswers,
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeInvoker,
    FakeMetrics,
    FakeOwnership,
    FakeRedrives,
    FakeRuns,
    fake_starts,
)

DAY = 86_400


@dataclass
class World:
    """Batches of one tool, which fails at ``bad``, one after the other, with one cache."""

    store: WorkStore = field(default_factory=lambda: WorkStore(smallest_part=0))
    clock: FakeClock = field(default_factory=FakeClock)
    cache: FakeAnswers = field(default_factory=FakeAnswers)
    called: list[str] = field(default_factory=list)
    runs: int = 0

    def answer(self, payload: bytes, _: float) -> bytes | Outcome:
        sent = orjson.loads(payload)
        self.called.append(sent["input"]["text"])
        if sent["input"]["text"] == "bad":
            return thrown_error("Boom", "broke")
        content = {"said": sent["input"]["text"].upper()}
        return orjson.dumps({"type": "tool_result", "tool_use_id": sent["id"], "content": content})

    def plan(
        self,
        *texts: str,
        code: str = "a",
        target: Mapping[str, str] | None = None,
        source: str = "$.said",
        on_missing: str = "default",
        **settings: Any,
    ) -> Plan:
        self.runs += 1
        plan = make_plan(
            [[text] for text in texts],
            ("text",),
            store=self.store,
            execution=f"run-{self.runs}",
            code_version=code,
            output_mapping={
                "columns": [{"name": "said", "source": source}],
                "add_metadata": ["_status"],
                "on_missing": on_missing,
            },
            execution_config={"retry_policy": {"max_attempts": 1}, **settings},
        )
        plan = plan.model_copy(update={"target": plan.target.model_copy(update=target)})
        self.store.put(plan.keys.plan, plan.model_dump_json().encode())
        return plan

    def run(self, *texts: str, **settings: Any) -> list[dict[str, Any]]:
        """The records of the rows, in order."""
        plan = self.plan(*texts, **settings)
        self.called.clear()
        process_tool_rows(
            ToolRowsRequest(BatchInput=BatchReference(plan_key=plan.keys.plan), Items=sent_items(plan, self.store)),
            batches=Batches(self.store, self.clock, cache=self.cache),
            invoker=FakeInvoker(self.answer),
            dead_letters=FakeDeadLetters(),
            ownership=FakeOwnership(self.clock),
            clock=self.clock,
            deadline=FakeDeadline(),
        )
        bodies = [body for key, body in sorted(self.store.objects.items()) if key.startswith(plan.keys.rows)]
        return [record for body in bodies for record in records_of(body)]

    def summary(self) -> dict[str, Any]:
        """That of the last run, which is put together first."""
        keys = Keys(f"run-{self.runs}")
        done = aggregate_results(
            AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=keys.plan),
            batches=Batches(self.store, self.clock),
            dead_letters=FakeDeadLetters(),
            metrics=FakeMetrics(),
            ownership=FakeOwnership(self.clock),
            redrives=FakeRedrives(),
            clock=self.clock,
            deadline=FakeDeadline(),
        )
        assert done.done
        return dict(orjson.loads(self.store.get(keys.summary)))


def test_the_second_batch_calls_for_nothing_and_has_the_same_output() -> None:
    world = World()
    first = world.run("a", "b", "a", cache_days=1)

    second = world.run("a", "b", "a", cache_days=1)

    assert world.called == []
    assert [record["csv"] for record in second] == [record["csv"] for record in first]
    assert [(record["attempts"], record["origin"], record["target_version"]) for record in second] == [
        (0, "cached", "1@a")
    ] * 3


def test_answers_of_a_batch_that_sends_equal_inputs_once_are_kept_too() -> None:
    world = World()
    world.run("a", deduplicate=True)

    world.run("a", "b", cache_days=1)

    assert world.called == ["b"]


@pytest.mark.parametrize(
    ("settings", "days_later", "called"),
    [
        ({"cache_days": 2}, 2, []),
        ({"cache_days": 1}, 2, ["a"]),
        ({"cache_days": 2, "code": "b"}, 0, ["a"]),
        ({}, 0, ["a"]),
        ({"deduplicate": True}, 0, ["a"]),
    ],
)
def test_an_answer_is_taken_when_it_is_recent_and_of_the_same_code(
    settings: dict[str, Any], days_later: int, called: list[str]
) -> None:
    world = World()
    world.run("a", cache_days=7)
    world.clock.move(days_later * DAY)

    world.run("a", **settings)

    assert world.called == called


@pytest.mark.parametrize("other", [{"name": "other"}, {"arn": f"{FUNCTION_ARN}-other"}])
def test_the_answer_of_another_target_is_not_taken_for_the_same_input_and_code(other: dict[str, str]) -> None:
    world = World()
    world.run("a", cache_days=1)

    world.run("a", cache_days=1, target=other)
    assert world.called == ["a"]

    world.run("a", cache_days=1, target=other)
    assert world.called == []


def test_failed_rows_are_not_kept_and_a_taken_answer_does_not_live_longer() -> None:
    world = World()
    world.run("bad", "a", cache_days=1)
    world.clock.move(DAY)
    world.run("bad", "a", cache_days=1)
    assert world.called == ["bad"]
    world.clock.move(DAY)

    world.run("bad", "a", cache_days=1)

    assert world.called == ["bad", "a"]


def test_nothing_is_kept_or_taken_by_default_nor_without_the_version_of_the_code() -> None:
    world = World()
    world.run("a")
    world.run("a", cache_days=1, code="")

    assert world.cache.answers == {}


def test_a_table_that_is_away_costs_calls_and_no_row() -> None:
    world = World()
    world.run("a", cache_days=1)
    world.cache.is_away = True

    (record,) = world.run("a", cache_days=1)

    assert world.called == ["a"]
    assert record["status"] == "SUCCESS"


def test_a_standard_agent_is_not_started_for_an_input_that_was_answered() -> None:
    world = World()
    batches = Batches(world.store, world.clock, cache=world.cache)

    def rows_to_call(execution: str) -> Any:
        plan = make_plan(
            [["a"], ["b"]],
            ("text",),
            store=world.store,
            execution=execution,
            invocation="standard",
            threads=1,
            code_version="a",
            execution_config={"cache_days": 1},
        )
        response = map_rows(
            MapRowsRequest(
                BatchInput=BatchReference(plan_key=plan.keys.plan), Items=sent_items(plan, world.store), Child="child"
            ),
            batches=batches,
            dead_letters=FakeDeadLetters(),
            notes=BestEffort(FakeRuns()),
            starts=fake_starts(world.clock),
            clock=world.clock,
        )
        return plan, response.rows

    plan, rows = rows_to_call("first")
    assert [agent_row.call.row for agent_row in rows] == [1, 2]
    answered = MapOutputRequest(
        BatchInput=BatchReference(plan_key=plan.keys.plan),
        Row=sent_items(plan, world.store)[0],
        Call=rows[0].call,
        Began=STARTED_AT,
        Ended=STARTED_AT,
        Result={"result": "Success", "data": {"said": "A"}, "metadata": {}},
    )
    notes, starts = BestEffort(FakeRuns()), fake_starts(world.clock)
    map_output(answered, batches=batches, dead_letters=FakeDeadLetters(), notes=notes, starts=starts)

    second, left = rows_to_call("second")

    assert [agent_row.call.row for agent_row in left] == [2]
    (record,) = records_of(world.store.objects[second.keys.rows_object(1, 1)])
    assert (record["origin"], record["status"], record["attempts"]) == ("cached", "SUCCESS", 0)


def test_rows_that_fail_with_a_kept_answer_are_counted_as_cached_and_as_nothing_else() -> None:
    world = World()
    world.run("a", "b", cache_days=1)

    world.run("a", "b", "c", source="$.other", on_missing="fail_row", cache_days=1)

    summary = world.summary()
    assert world.called == ["c"]
    assert {name: summary[name] for name in ("failed", "resumed", "attempts")} == {
        "failed": 3,
        "resumed": 0,
        "attempts": 1,
    }
    assert summary["savings"]["cache_days"]["calls"] == 2
    assert min(summary["cost"]["parts"].values()) >= 0
