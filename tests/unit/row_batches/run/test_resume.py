"""Rows that an earlier execution finished are not run again: their answers are taken over."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from row_batches.document.plan import EarlierExecution, Keys
from row_batches.rows.work import load_plan
from row_batches.run import process_tool_rows as worker_module
from row_batches.run.agent_messages import AgentCall, MapOutputRequest, MapRowsRequest
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batches
from row_batches.run.end_messages import AggregateAction, AggregateRequest, AggregateResponse, EndedRun
from row_batches.run.map_input import map_rows
from row_batches.run.map_output import map_output
from row_batches.run.messages import BatchReference, CaughtError
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.runs import BestEffort, Run
from row_batches.run.tool_messages import ToolRowsRequest, ToolRowsResponse
from row_batches.targets.protocol import Outcome, thrown_error
from tests.support.batches import make_plan, records_of, staged_items, write_finished
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeInvoker,
    FakeMetrics,
    FakeObjectStore,
    FakeOwnership,
    FakeRedrives,
    FakeRuns,
    fake_starts,
)
from tests.support.tool_runs import SAID

NESTED = {"extra": {"x": 1, "y": [2]}}
ONCE = {"retry_policy": {"max_attempts": 1}}
BRAKE = b'{"reason": "stopped", "error": "StoppedError", "message": ""}'


def rows_of(count: int) -> list[list[str]]:
    return [[str(number), f'text "{number}"'] for number in range(1, count + 1)]


@dataclass
class Runs:
    """Executions in one bucket, one after the other. Rows with a text of ``failing`` fail."""

    store: FakeObjectStore = field(default_factory=lambda: FakeObjectStore(smallest_part=0))
    clock: FakeClock = field(default_factory=FakeClock)
    failing: set[str] = field(default_factory=set)
    called: list[int] = field(default_factory=list)
    letters: FakeDeadLetters = field(default_factory=FakeDeadLetters)

    def answer(self, payload: bytes, _: float) -> bytes | Outcome:
        sent = orjson.loads(payload)
        self.called.append(int(sent["id"].split(":")[1]))
        if sent["input"]["text"] in self.failing:
            return thrown_error("Boom", "broke")
        content = {"said": sent["input"]["text"].upper(), "size": len(sent["input"]["text"])}
        return orjson.dumps({"type": "tool_result", "tool_use_id": sent["id"], "content": content})

    def plan(self, execution: str, rows: Sequence[Sequence[str]], resume_from: Sequence[str], **document: Any) -> None:
        earlier = [
            EarlierExecution(
                name=name, batch_size=orjson.loads(self.store.get(Keys(name).plan))["concurrency"]["batch_size"]
            )
            for name in resume_from
        ]
        arguments: dict[str, Any] = {"output_mapping": SAID, "execution_config": ONCE} | document
        make_plan(rows, store=self.store, execution=execution, resume_from=earlier, **arguments)

    def run(
        self,
        execution: str,
        rows: Sequence[Sequence[str]],
        resume_from: Sequence[str] = (),
        *,
        children: Sequence[tuple[int, int]] | None = None,
        deadline: FakeDeadline | None = None,
        **document: Any,
    ) -> list[ToolRowsResponse]:
        """Run the ``children``, each its first and last row; or all rows, ``batch_size`` a child."""
        self.plan(execution, rows, resume_from, **document)
        self.called.clear()
        size = document.get("batch_size", 100)
        responses = []
        for first, last in children or [(first, first + size - 1) for first in range(1, len(rows) + 1, size)]:
            request = ToolRowsRequest(
                BatchInput=BatchReference(plan_key=Keys(execution).plan), Items=staged_items(rows)[first - 1 : last]
            )
            response = process_tool_rows(
                request,
                batches=Batches(self.store, self.clock),
                invoker=FakeInvoker(self.answer),
                dead_letters=FakeDeadLetters(),
                ownership=FakeOwnership(self.clock),
                clock=self.clock,
                deadline=deadline or FakeDeadline(),
            )
            responses.append(response)
        return responses

    def finish(self, ended: EndedRun) -> AggregateResponse:
        """One step of the finishing machine."""
        return self._aggregate(ended.plan_key, ended)

    def aggregate(self, execution: str) -> list[dict[str, str]]:
        """The rows of the output."""
        self._aggregate(Keys(execution).plan)
        text = self.store.objects[Keys(execution).output].decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def _aggregate(self, plan_key: str, ended: EndedRun | None = None) -> AggregateResponse:
        return aggregate_results(
            AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=plan_key, ended=ended),
            batches=Batches(self.store, self.clock),
            dead_letters=self.letters,
            metrics=FakeMetrics(),
            ownership=FakeOwnership(self.clock),
            redrives=FakeRedrives(),
            clock=self.clock,
            deadline=FakeDeadline(),
        )

    def summary(self, execution: str) -> dict[str, Any]:
        return dict(orjson.loads(self.store.objects[Keys(execution).summary]))

    def keys_of_rows(self, execution: str) -> list[str]:
        return [stored.key for stored in self.store.list_objects(Keys(execution).rows)]

    def records(self, execution: str) -> list[dict[str, Any]]:
        return [record for key in self.keys_of_rows(execution) for record in records_of(self.store.objects[key])]


def test_only_rows_that_failed_or_were_changed_are_run_and_the_output_is_complete() -> None:
    runs, rows = Runs(failing={rows_of(8)[2][1]}), rows_of(8)
    runs.run("first", rows)
    changed = [*rows[:5], ["6", "corrected"], *rows[6:]]
    runs.failing.clear()

    (response,) = runs.run("second", changed, ["first"])

    assert sorted(runs.called) == [3, 6]
    assert response == ToolRowsResponse(succeeded=8)
    assert [row["said"] for row in runs.aggregate("second")] == [text.upper() for _, text in changed]
    assert [record["attempts"] for record in runs.records("second")] == [0, 0, 1, 0, 0, 1, 0, 0]
    assert runs.keys_of_rows("second") == [Keys("second").rows_object(1, 8)], "rows are written together"


def test_a_kept_answer_is_mapped_by_the_new_output_mapping() -> None:
    runs, rows = Runs(), rows_of(3)
    runs.run("first", rows)

    mapping = {"columns": [{"name": "size", "source": "$.size", "type": "number"}], "add_metadata": True}
    runs.run("second", rows, ["first"], output_mapping=mapping)

    assert runs.called == []
    output = runs.aggregate("second")
    assert [row["size"] for row in output] == ["8", "8", "8"]
    assert {(row["_execution_id"], row["_execution_time_ms"]) for row in output} == {("second", "0")}
    kept, taken = runs.records("first"), runs.records("second")
    assert [record["answer"] for record in taken] == [record["answer"] for record in kept]


def test_another_input_mapping_runs_every_row_again() -> None:
    runs, rows = Runs(), rows_of(3)
    runs.run("first", rows)

    runs.run("second", rows, ["first"], input_mapping={"column_mappings": {"text": "text"}})

    assert sorted(runs.called) == [1, 2, 3]


def test_the_same_mapping_in_another_order_takes_every_row_over() -> None:
    runs, rows = Runs(), rows_of(3)
    runs.run("first", rows, input_mapping={"column_mappings": {"id": "a", "text": "text"}, "static_values": NESTED})

    reordered = {"static_values": {"extra": {"y": [2], "x": 1}}, "column_mappings": {"text": "text", "id": "a"}}
    runs.run("second", rows, ["first"], input_mapping=reordered)

    assert runs.called == []


def test_a_csv_whose_columns_stand_in_another_order_takes_every_row_over() -> None:
    runs, rows = Runs(), rows_of(3)
    runs.run("first", rows)

    runs.run("second", [cells[::-1] for cells in rows], ["first"], columns=["text", "id"])

    assert runs.called == []


def test_answers_keep_the_version_of_the_target_that_gave_them_along_a_chain() -> None:
    runs, rows = Runs(failing={rows_of(5)[1][1], rows_of(5)[3][1]}), rows_of(5)
    runs.run("first", rows, target_version="v1", code_version="a")
    runs.failing = {rows[3][1]}
    runs.run("second", rows, ["first"], target_version="v2", code_version="b")
    runs.failing.clear()
    runs.run("third", rows, ["second"], target_version="v2", code_version="b")
    runs.aggregate("third")

    summary = runs.summary("third")

    assert summary["target_versions"] == {"v1@a": 3, "v2@b": 2}
    assert "3 answers were taken over from version v1@a of echo, which is version v2@b now" in summary["warnings"]


def test_a_row_with_the_same_input_under_another_number_is_run() -> None:
    runs, rows = Runs(), rows_of(3)
    runs.run("first", rows)

    runs.run("second", [rows[1], rows[0], rows[2]], ["first"])

    assert sorted(runs.called) == [1, 2]


def test_a_row_that_cannot_be_mapped_any_more_fails_alone() -> None:
    runs, rows = Runs(), rows_of(2)
    runs.run("first", rows)
    transformations = {"id": {"type": "regex", "config": {"column": "id", "pattern": "(1)"}}}
    mapping = {"column_mappings": {"text": "text"}, "transformations": transformations}

    (response,) = runs.run("second", rows, ["first"], input_mapping=mapping)

    assert response == ToolRowsResponse(succeeded=1, failed=1)


def test_more_rows_than_the_earlier_execution_had_are_run() -> None:
    runs, rows = Runs(), rows_of(9)
    runs.run("trial", rows[:4])

    runs.run("whole", rows, ["trial"])

    assert sorted(runs.called) == [5, 6, 7, 8, 9]


def test_an_execution_that_resumed_can_be_resumed() -> None:
    runs, rows = Runs(failing={rows_of(5)[1][1], rows_of(5)[3][1]}), rows_of(5)
    runs.run("first", rows)
    runs.failing = {rows[3][1]}
    runs.run("second", rows, ["first"])
    runs.failing.clear()

    runs.run("third", rows, ["second"])

    assert runs.called == [4]


def test_what_a_stopped_execution_had_not_taken_over_is_found_in_the_one_that_it_resumed() -> None:
    runs, rows = Runs(), rows_of(6)
    runs.run("first", rows, children=[(1, 4)])
    runs.run("stopped", rows, ["first"], children=[(5, 5)])

    runs.run("third", rows, ["stopped", "first"])

    assert runs.called == [6]


def test_rows_objects_that_have_expired_give_nothing() -> None:
    runs, rows = Runs(), rows_of(4)
    runs.run("first", rows, batch_size=2)
    runs.store.delete(Keys("first").rows_object(1, 2))

    runs.run("second", rows, ["first"])

    assert sorted(runs.called) == [1, 2]


def test_rows_objects_that_expire_while_they_are_listed_give_nothing() -> None:
    class Vanishing(FakeObjectStore):
        def read(self, key: str, version_id: str | None = None, start: int = 0) -> Iterator[bytes]:
            self.delete(key)
            return super().read(key, version_id, start)

    runs, rows = Runs(store=Vanishing()), rows_of(3)
    runs.run("first", rows)

    runs.run("second", rows, ["first"])

    assert sorted(runs.called) == [1, 2, 3]


def test_behind_the_brake_no_row_is_taken_over() -> None:
    runs, rows = Runs(), rows_of(3)
    runs.run("first", rows)
    runs.store.put(Keys("second").brake, BRAKE)

    (response,) = runs.run("second", rows, ["first"])

    assert response == ToolRowsResponse(not_attempted=3)
    assert runs.keys_of_rows("second") == []


def test_without_time_to_write_the_rest_is_left_for_the_next_call() -> None:
    runs, rows = Runs(), rows_of(5)
    runs.run("first", rows)

    # The worker asks once a row: after two of them its time is over.
    (response,) = runs.run("second", rows, ["first"], deadline=FakeDeadline(900, 900, 900, 29))
    assert response == ToolRowsResponse(succeeded=2, remaining=3)

    (response,) = runs.run("second", rows, ["first"])
    assert response == ToolRowsResponse(succeeded=3)
    assert runs.called == []


def test_a_worker_that_finds_nothing_to_take_over_keeps_the_time_to_start_a_row() -> None:
    # Else the batch would be called again for the same rows, without end.
    runs, rows = Runs(), rows_of(2)
    runs.run("first", [["1", "other"], ["2", "other"]])

    (response,) = runs.run("second", rows, ["first"], deadline=FakeDeadline(900, 900, 334, 331))

    assert response == ToolRowsResponse(succeeded=2)


def test_answers_that_are_large_together_are_written_one_part_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, rows = Runs(), rows_of(5)
    runs.run("first", rows)
    monkeypatch.setattr(worker_module, "FLUSH_BYTES", 1)

    runs.run("second", rows, ["first"])

    assert runs.keys_of_rows("second") == [Keys("second").rows_object(row, row) for row in range(1, 6)]


def test_the_summary_says_how_many_rows_were_taken_over_and_does_not_bill_them() -> None:
    runs, rows = Runs(failing={rows_of(6)[0][1]}), rows_of(6)
    runs.run("first", rows)
    runs.aggregate("first")
    runs.failing.clear()
    runs.run("second", rows, ["first"])
    runs.aggregate("second")

    first, second = runs.summary("first"), runs.summary("second")

    assert (first["resume_from"], first["resumed"]) == (None, 0)
    assert (second["resume_from"], second["resumed"], second["succeeded"], second["attempts"]) == ("first", 5, 6, 1)
    assert second["peak_rows_in_flight"] == 1


@settings(max_examples=60)
@given(data=st.data(), count=st.integers(1, 25), sizes=st.tuples(st.integers(1, 7), st.integers(1, 7)))
def test_an_output_with_resumption_is_the_output_without(
    data: st.DataObject, count: int, sizes: tuple[int, int]
) -> None:
    # Given an execution with failed rows, whose last children have not run, or whose workers were killed
    rows = rows_of(count)
    numbers = st.sets(st.integers(1, count))
    failed, changed, fails_again = data.draw(numbers), data.draw(numbers), data.draw(numbers)
    runs = Runs(failing={rows[row - 1][1] for row in failed})
    starts = range(1, count + 1, sizes[0])
    ran = [(first, min(first + sizes[0] - 1, count)) for first in starts if data.draw(st.booleans())]
    if ran:
        runs.run("first", rows, children=ran, batch_size=sizes[0])
    else:
        runs.plan("first", rows, [], batch_size=sizes[0])
    corrected = [[cells[0], "corrected"] if row in changed else cells for row, cells in enumerate(rows, 1)]
    runs.failing = {rows[row - 1][1] for row in fails_again}

    # When the corrected rows are run, with its answers and without
    runs.run("resumed", corrected, ["first"], batch_size=sizes[1])
    called = sorted(runs.called)
    finished = {row for first, last in ran for row in range(first, last + 1)} - failed
    kept = finished - changed
    runs.failing -= {rows[row - 1][1] for row in kept}  # they are not asked again
    runs.run("anew", corrected, batch_size=sizes[1])

    # Then only what is not kept was called, and the outputs are equal
    assert called == sorted(set(range(1, count + 1)) - kept)
    assert runs.aggregate("resumed") == runs.aggregate("anew")
    assert runs.summary("resumed")["resumed"] == len(kept)


# --- Standard agents


class AgentRows:
    """An execution with an answer for row 1, and one that resumes it."""

    def __init__(self, answer: Any = None, rows: Sequence[Sequence[str]] = (("7", "a text"),)) -> None:
        self.runs = Runs()
        self.clock = self.runs.clock
        self.letters, self.table = FakeDeadLetters(), FakeRuns()
        for name, resume_from in (("first", []), ("second", ["first"])):
            self.runs.plan(name, rows, resume_from, invocation="standard", batch_size=1)
        self.batches = Batches(self.runs.store, self.clock)
        self.row = staged_items(rows)[0]
        (call,) = self.calls("first")
        result = {"result": "Success", "data": {"said": "hello"}} if answer is None else answer
        batch = BatchReference(plan_key=Keys("first").plan)
        began = datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC)
        request = MapOutputRequest(BatchInput=batch, Row=self.row, Call=call, Began=began, Ended=began, Result=result)
        map_output(
            request,
            batches=self.batches,
            dead_letters=self.letters,
            notes=BestEffort(self.table),
            starts=fake_starts(self.clock),
        )

    def calls(self, execution: str) -> list[AgentCall]:
        request = MapRowsRequest(
            BatchInput=BatchReference(plan_key=Keys(execution).plan), Items=[self.row], Child="child"
        )
        response = map_rows(
            request,
            batches=self.batches,
            dead_letters=self.letters,
            notes=BestEffort(self.table),
            starts=fake_starts(self.clock),
            clock=self.clock,
        )
        return [row.call for row in response.rows]


def test_an_agents_row_that_was_answered_is_written_and_not_called() -> None:
    agent = AgentRows()

    assert agent.calls("second") == []

    (record,) = agent.runs.records("second")
    assert (record["status"], record["attempts"], record["duration_ms"]) == ("SUCCESS", 0, 0)
    assert "hello" in record["csv"]
    assert record["answer"]["data"] == {"said": "hello"}
    assert agent.calls("second") == []
    assert len(agent.runs.records("second")) == 1


def test_an_agents_row_that_was_taken_over_counts_while_the_run_goes_on() -> None:
    agent = AgentRows()
    agent.table.start(Run.of_plan(load_plan(agent.runs.store, Keys("second").plan)))

    agent.calls("second")

    run = agent.table.get("second")
    assert run is not None
    assert (run.counts.succeeded, run.counts.attempts) == (1, 0)


def test_an_agents_row_that_was_taken_over_costs_its_child_alone() -> None:
    agent = AgentRows()
    agent.calls("second")
    agent.runs.aggregate("first")
    agent.runs.aggregate("second")

    costs = [agent.runs.summary(name)["cost"]["parts"]["state_transitions"] for name in ("first", "second")]

    assert costs[0] - costs[1] == pytest.approx(2 * 0.025 / 1000)
    assert agent.runs.summary("second")["resumed"] == 1


def test_an_agents_row_that_failed_is_called() -> None:
    agent = AgentRows({"result": "Error", "data": {"said": "no"}})

    assert [call.attempt for call in agent.calls("second")] == [1]
    assert agent.runs.records("second") == []


def test_an_agents_row_that_was_changed_is_called() -> None:
    agent = AgentRows()
    agent.row = {**agent.row, "c2": "corrected"}

    assert [call.attempt for call in agent.calls("second")] == [1]


def test_an_agents_row_behind_the_brake_is_left_alone() -> None:
    agent = AgentRows()
    agent.runs.store.put(Keys("second").brake, BRAKE)

    assert agent.calls("second") == []
    assert agent.runs.records("second") == []


def test_an_agents_row_that_cannot_be_mapped_is_no_answered_one() -> None:
    agent = AgentRows()
    transformation = {"type": "jsonpath", "config": {"column": "text", "path": "$.a"}}
    agent.runs.plan(
        "second",
        [["7", "a text"]],
        ["first"],
        invocation="standard",
        input_mapping={"transformations": {"x": transformation}},
    )

    assert agent.calls("second") == []
    (record,) = agent.runs.records("second")
    assert (record["status"], record["attempts"]) == ("FAILED", 0)


class Resumed:
    """A run of an agent with three attempts, stopped before row 1 had its end, one that resumes it, and one that
    resumes that. ``finished`` and ``second_finished``: the first or the second finished the row, which failed."""

    def __init__(self, finished: bool = False, second_finished: bool = False) -> None:
        self.store, self.clock, self.letters = FakeObjectStore(), FakeClock(), FakeDeadLetters()
        policy = {"retry_policy": {"max_attempts": 3, "jitter": False}}
        notification = {"batch_name": "earlier"}
        shared: dict[str, Any] = {"store": self.store, "invocation": "standard", "batch_size": 20}
        shared["execution_config"] = policy
        first = make_plan([["7", "a"]], execution="first", notification_config=notification, **shared)
        if finished:
            write_finished(first, self.store, [(1, ["7", "a"])], failed=[1])
        earlier = EarlierExecution(name="first", batch_size=20, batch_name="earlier")
        second = make_plan([["7", "a"]], execution="second", resume_from=[earlier], **shared)
        if second_finished:
            write_finished(second, self.store, [(1, ["7", "a"])], failed=[1])
        later = EarlierExecution(name="second", batch_size=20, batch_name="later")
        make_plan([["7", "a"]], execution="third", resume_from=[later, earlier], **shared)
        self.batches = Batches(self.store, self.clock)

    def first_call(self, execution: str = "second") -> AgentCall:
        request = MapRowsRequest(
            BatchInput=BatchReference(plan_key=Keys(execution).plan), Items=staged_items([["7", "a"]]), Child="child"
        )
        response = map_rows(
            request,
            batches=self.batches,
            dead_letters=self.letters,
            notes=BestEffort(FakeRuns()),
            starts=fake_starts(self.clock),
            clock=self.clock,
        )
        return response.rows[0].call

    def looked_up(self, call: AgentCall, status: str, row_input: Any = None, output: Any = None) -> AgentCall | None:
        sent = {"batchContext": {}, "input": row_input or {"id": "7", "text": "a"}}
        description = {"Status": status, "Input": orjson.dumps(sent).decode(), "Output": orjson.dumps(output).decode()}
        return self.ended(call, Description=description)

    def ended(self, call: AgentCall, **end: Any) -> AgentCall | None:
        request = MapOutputRequest(
            BatchInput=BatchReference(plan_key=Keys("second").plan),
            Row=staged_items([["7", "a"]])[0],
            Call=call,
            Began=datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC),
            Ended=datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC),
            **end,
        )
        return map_output(
            request,
            batches=self.batches,
            dead_letters=self.letters,
            notes=BestEffort(FakeRuns()),
            starts=fake_starts(self.clock),
        ).again


def test_a_row_that_a_stopped_run_may_have_begun_is_started_under_the_name_that_it_had_there() -> None:
    resumed = Resumed()

    call = resumed.first_call()

    assert call.name == resumed.first_call("first").name
    answer = {"result": "Success", "data": {"said": "paid"}}
    assert resumed.looked_up(call, "SUCCEEDED", output=answer) is None
    (record,) = records_of(resumed.store.objects[Keys("second").rows_object(1, 1)])
    assert (record["status"], record["answer"]) == ("SUCCESS", answer)


def test_an_aborted_execution_of_a_stopped_run_is_started_once_more_as_the_first_attempt() -> None:
    resumed = Resumed()

    call = resumed.looked_up(resumed.first_call(), "ABORTED")

    assert call is not None
    assert (call.attempt, call.earlier, call.wait_seconds, call.throttles) == (1, [], 0, 0)
    assert call.name.startswith("echo-")
    assert call.name != resumed.first_call("first").name


def test_an_attempt_that_failed_may_have_been_followed_by_another() -> None:
    resumed = Resumed()
    call, names = resumed.first_call(), []
    for _ in range(3):
        names.append(call.name)
        following = resumed.looked_up(call, "FAILED")
        assert following is not None
        call = following

    assert [name.rpartition("-")[2] for name in names] == ["1", "2", "3"]
    assert all(name.startswith("earlier-") for name in names)
    assert (call.earlier, call.attempt) == ([], 1)


def test_an_answer_to_another_input_is_not_taken() -> None:
    resumed = Resumed()

    call = resumed.looked_up(resumed.first_call(), "SUCCEEDED", {"id": "7", "text": "before"}, {"result": "Success"})

    assert call is not None
    assert Keys("second").rows_object(1, 1) not in resumed.store.objects


def test_an_agent_that_started_under_the_earlier_name_and_failed_has_its_second_attempt_under_its_own() -> None:
    resumed = Resumed()

    call = resumed.ended(resumed.first_call(), ErrorOutput=CaughtError(Error="States.TaskFailed", Cause="{}"))

    assert call is not None
    assert (call.attempt, call.earlier) == (2, [])
    assert call.name.endswith("-1-2")


def test_a_row_that_the_earlier_run_finished_has_nothing_to_look_up() -> None:
    assert Resumed(finished=True).first_call().earlier == []


def test_a_row_that_two_stopped_runs_may_have_begun_has_the_name_that_both_gave_it() -> None:
    resumed = Resumed()

    call = resumed.first_call("third")

    assert call.name == resumed.first_call("second").name == resumed.first_call("first").name
    assert call.earlier == [1, 0]


def test_a_row_that_failed_in_a_run_that_resumed_another_is_called_anew() -> None:
    resumed = Resumed(second_finished=True)

    call = resumed.first_call("third")

    assert call.earlier == []
    assert call.name != resumed.first_call("first").name


# --- only the rows of some causes


def test_only_the_rows_of_the_chosen_causes_are_run_and_others_keep_their_failure() -> None:
    # Given a run in which two rows failed
    runs, rows = Runs(failing={rows_of(8)[2][1], rows_of(8)[4][1]}), rows_of(8)
    runs.run("first", rows)
    runs.aggregate("first")
    runs.failing.clear()
    # When the rows of another cause run again, while a single failed row would stop the run
    only = {**ONCE, "resume_from": "first", "only_causes": ["Boom"], "continue_on_error": False}
    runs.run("second", rows, ["first"], execution_config={**only, "only_causes": ["Never"]})

    # Then rows of other causes are not called, keep their failure, and stop nothing
    assert runs.called == []
    output = runs.aggregate("second")
    failed = [row for row in output if row["_status"] == "FAILED"]
    assert [(row["_row_id"], row["_error_message"]) for row in failed] == [("3", "Boom: broke"), ("5", "Boom: broke")]
    summary = runs.summary("second")
    assert (summary["status"], summary["failed"], summary["left"], summary["resumed"]) == (
        "SUCCEEDED_WITH_FAILURES",
        2,
        2,
        6,
    )
    assert [(cause["error"], cause["count"]) for cause in summary["failures_by_cause"]] == [("Boom", 2)]
    assert runs.summary("second")["attempts"] == 0

    # And a run of what was left there runs exactly those rows
    runs.run("third", rows, ["second", "first"], execution_config=only)
    assert sorted(runs.called) == [3, 5]
    assert {row["_status"] for row in runs.aggregate("third")} == {"SUCCESS"}


def test_rows_that_never_ended_run_whatever_causes_are_chosen() -> None:
    runs, rows = Runs(failing={rows_of(6)[0][1]}), rows_of(6)
    runs.run("first", rows, children=[(1, 4)])

    runs.run("second", rows, ["first"], execution_config={**ONCE, "resume_from": "first", "only_causes": ["Never"]})

    assert sorted(runs.called) == [5, 6]


def test_an_agents_row_whose_cause_is_not_chosen_is_not_called() -> None:
    agent = AgentRows({"result": "Error", "data": {"said": "no"}})
    chosen = {"resume_from": "first", "only_causes": ["Never"]}
    agent.runs.plan("second", [["1", "hello"]], ["first"], invocation="standard", batch_size=1, execution_config=chosen)

    assert agent.calls("second") == []

    (record,) = agent.runs.records("second")
    assert (record["status"], record["origin"], record["attempts"]) == ("FAILED", "left", 0)
