"""The trial of a run: its rows, its report, and the question whether the others may run."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import orjson
import pytest

from foundation.errors import DeploymentError
from row_batches.document.batch_config import Rate
from row_batches.document.plan import Plan
from row_batches.rows.work import FINISHING_BRAKE
from row_batches.run.batch import Batch, Batches
from row_batches.run.end_messages import AggregateAction, AggregateRequest, TrialResponse
from row_batches.run.messages import BatchReference
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.runs import WAITING_FOR_APPROVAL, Run
from row_batches.run.tool_messages import ToolRowsRequest
from row_batches.run.trial import read_report, trial_step
from row_batches.run.trial_report import TrialReport
from tests.support import aws_csv
from tests.support.batches import EXECUTION, KEYS, WorkStore, deduplicated, make_plan, sent_items
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeInvoker,
    FakeLeases,
    FakeNotifier,
    FakeOwnership,
    FakeRuns,
)

ROWS = [[str(row), "x" * (row % 50)] for row in range(1, 201)]
FAILING = {"id": "3"}


class World:
    """A run with a trial, step by step as the state machine takes them."""

    def __init__(self, rows: Any = ROWS, *, fails: Any = lambda row: False, usage: Any = None, **document: Any) -> None:
        self.store, self.clock, self.runs = WorkStore(), FakeClock(), FakeRuns()
        self.fails, self.usage = fails, usage
        settings: dict[str, Any] = {
            "trial": {"rows": 20},
            "output_mapping": {"columns": [{"name": "said", "source": "$.said"}]},
        }
        self.plan: Plan = make_plan(rows, store=self.store, **settings | document)
        self.runs.start(Run.of_plan(self.plan))
        self.leases = FakeLeases(self.clock)
        self.notifier = FakeNotifier()
        self.invoker = FakeInvoker(self.answer)

    def answer(self, payload: bytes, _: float = 0) -> bytes:
        sent = orjson.loads(payload)
        self.clock.sleep(2)
        answered: dict[str, Any] = {"type": "tool_result", "tool_use_id": sent["id"], "content": {"said": "yes"}}
        if self.fails(int(sent["id"].split(":")[1])):
            answered |= {"is_error": True, "content": f"no room for {sent['id']}"}
        if self.usage:
            answered["metadata"] = {"usage": self.usage}
        return orjson.dumps(answered)

    @property
    def batch(self) -> Batch:
        return Batches(self.store, self.clock).open(KEYS.plan)

    def step(self, action: AggregateAction, **fields: Any) -> TrialResponse:
        return trial_step(
            AggregateRequest(action=action, plan_key=KEYS.plan, **fields), self.batch, self.runs, self.notifier
        )

    def trial_items(self) -> list[dict[str, str]]:
        staged = self.step(AggregateAction.STAGE_TRIAL)
        assert staged.source is not None
        return aws_csv.read(b"".join(self.store.read(staged.source.key, staged.source.version_id)).decode())

    def run(self, items: list[dict[str, str]]) -> None:
        process_tool_rows(
            ToolRowsRequest(BatchInput=BatchReference(plan_key=KEYS.plan), Items=items),
            batches=Batches(self.store, self.clock),
            invoker=self.invoker,
            dead_letters=FakeDeadLetters(),
            ownership=FakeOwnership(self.clock, self.leases, self.runs),
            clock=self.clock,
            deadline=FakeDeadline(),
        )

    def try_rows(self) -> TrialResponse:
        self.run(self.trial_items())
        return self.step(AggregateAction.REPORT_TRIAL)

    @property
    def report(self) -> TrialReport:
        found = read_report(self.store, EXECUTION)
        assert found is not None
        return found

    @property
    def calls_of_rows(self) -> Counter[int]:
        return Counter(int(orjson.loads(payload)["id"].split(":")[1]) for _, payload, _ in self.invoker.calls)


def test_the_rows_of_a_trial_are_called_once_over_trial_and_whole_run() -> None:
    world = World()

    response = world.try_rows()
    tried = world.calls_of_rows
    world.run(sent_items(world.plan, world.store)[:100])
    world.run(sent_items(world.plan, world.store)[100:])

    assert response == TrialResponse(goes_on=True)
    assert len(tried) == 20
    assert world.calls_of_rows == Counter(range(1, 201))


def test_a_trial_has_rows_with_the_numbers_that_they_have_in_the_file() -> None:
    world = World()

    items = world.trial_items()

    assert items == [item for item in sent_items(world.plan, world.store) if item["r"] in {row["r"] for row in items}]
    assert len(items) == 20
    assert world.trial_items() == items, "a repeated step stages the same rows"


def test_a_trial_of_rows_with_equal_inputs_has_only_rows_that_are_sent() -> None:
    world = World([["1", f"text {row % 30}"] for row in range(200)])
    world.plan = deduplicated(world.plan, world.store)

    items = world.trial_items()

    assert len(items) == 20
    assert {item["r"] for item in items} <= {str(row) for row in range(1, 31)}


def test_the_report_has_answers_failures_times_cost_and_what_the_whole_run_takes() -> None:
    world = World(fails=lambda row: row % 4 == 0, usage={"input_tokens": 100, "output_tokens": 10, "cost_usd": 0.01})

    world.try_rows()

    report = world.report
    failed = report.failed
    assert (report.rows, report.finished, report.called, report.succeeded + failed) == (20, 20, 20, 20)
    assert 0 < failed < 20
    assert report.columns == ["said"]
    assert {tuple(answer[1:]) for answer in report.answers if answer[1] == "SUCCESS"} == {("SUCCESS", "yes", "")}
    assert len(report.answers) == 20
    assert [cause["count"] for cause in report.failures_by_cause] == [failed]
    assert report.row_tokens == {"input_tokens": 100, "output_tokens": 10}
    assert report.row_cost_usd == 0.01
    whole = report.whole
    assert whole is not None
    assert whole.rows == 200
    assert whole.cost_usd.low <= whole.cost_usd.expected <= whole.cost_usd.high
    assert whole.cost_usd.expected == pytest.approx(2.0, abs=0.01)
    assert whole.target_included
    assert whole.failed_percent.low < failed * 5 < whole.failed_percent.high
    assert report.row_seconds is not None
    assert whole.seconds.expected == pytest.approx(200 * report.row_seconds.mean / 2, rel=0.01)
    assert "20 called rows" in whole.basis[0]


def test_a_cost_that_is_not_known_is_left_out_and_that_is_said() -> None:
    world = World()

    world.try_rows()

    whole = world.report.whole
    assert whole is not None
    assert not whole.target_included
    assert "the cost of echo is not known and not included" in whole.basis[2]
    assert (world.report.row_tokens, world.report.row_cost_usd) == (None, None)


def test_a_rate_is_the_least_time_of_the_whole_run() -> None:
    world = World(trial={"rows": 20, "approval": "required"})
    world.step(AggregateAction.REPORT_TRIAL)
    assert world.report.whole is None, "no row was called, so nothing is known"
    world.run(world.trial_items())
    settings = world.plan.config.execution_config.model_copy(update={"rate": Rate(rows_per_minute=2)})
    config = world.plan.config.model_copy(update={"execution_config": settings})
    world.store.put(KEYS.plan, world.plan.model_copy(update={"config": config}).model_dump_json().encode())

    world.step(AggregateAction.REPORT_TRIAL)

    whole = world.report.whole
    assert whole is not None
    assert whole.seconds.expected == 200 / 2 * 60


def test_a_trial_of_which_no_row_was_successful_ends_the_run_unless_somebody_is_asked() -> None:
    world = World(fails=lambda _: True)

    assert world.try_rows() == TrialResponse()
    assert b"TrialFailedError" in world.store.get(KEYS.brake)

    asking = World(fails=lambda _: True, trial={"rows": 20, "approval": "required"})
    assert asking.try_rows() == TrialResponse(asks=True)
    assert KEYS.brake not in asking.store.objects


def test_a_trial_that_pulled_the_brake_asks_nobody() -> None:
    world = World(
        fails=lambda _: True,
        trial={"rows": 20, "approval": "required"},
        execution_config={"stop_after": {"failed_rows": 2}},
    )

    assert world.try_rows() == TrialResponse()


def test_a_run_that_asks_is_shown_as_waiting_until_it_is_answered() -> None:
    world = World(trial={"rows": 20, "approval": "required"})
    world.try_rows()

    world.step(AggregateAction.ASK_APPROVAL, token="token-1", seconds=3600)

    run = world.runs.get(EXECUTION)
    assert run is not None
    assert run.shown_state == WAITING_FOR_APPROVAL
    assert run.approval is not None
    assert run.approval.token == "token-1"
    assert (run.approval.until - run.approval.asked_at).total_seconds() == 3600

    assert world.step(AggregateAction.TAKE_ANSWER, approved=True) == TrialResponse(goes_on=True)
    run = world.runs.get(EXECUTION)
    assert run is not None
    assert run.shown_state == "RUNNING"


@pytest.mark.parametrize(("approved", "reason"), [(False, "not approved"), (None, "not approved in time")])
def test_a_run_that_is_not_approved_starts_no_further_row(approved: bool | None, reason: str) -> None:
    world = World(trial={"rows": 20, "approval": "required"})
    world.try_rows()

    assert world.step(AggregateAction.TAKE_ANSWER, approved=approved) == TrialResponse()
    world.run(sent_items(world.plan, world.store))

    assert sum(world.calls_of_rows.values()) == 20
    brake = orjson.loads(world.store.get(KEYS.brake))
    assert brake["error"] == "NotApprovedError"
    assert brake["reason"] == f"the trial was {reason}"


def test_a_question_is_announced_with_what_the_trial_says_and_what_to_type() -> None:
    world = World(trial={"rows": 20, "approval": "required"})
    world.try_rows()

    world.step(AggregateAction.ASK_APPROVAL, token="token-1", seconds=3600)

    ((subject, body, attributes),) = world.notifier.published
    assert subject == "echo: WAITING_FOR_APPROVAL"
    assert (attributes["status"], attributes["execution_id"]) == ("WAITING_FOR_APPROVAL", EXECUTION)
    assert (body["rows_processed"], body["total_rows"]) == (20, 200)
    assert body["approve"] == f"make approve ENV=prod EXECUTION={EXECUTION}"
    assert body["stop"] == f"make stop ENV=prod EXECUTION={EXECUTION}"
    assert body["show"] == f"make trial ENV=prod EXECUTION={EXECUTION}"
    assert body["trial"]["whole"]["rows"] == 200
    assert "answers" not in body["trial"], "no cell of a row is in a notification"
    assert "token-1" not in str(body)


def test_what_to_type_names_the_environment_of_the_machine() -> None:
    world = World(trial={"rows": 20, "approval": "required"})
    arn = world.plan.execution.arn.replace(":batch-processor:", ":batch-processor-stage:")
    plan = world.plan.model_copy(update={"execution": world.plan.execution.model_copy(update={"arn": arn})})
    world.store.put(KEYS.plan, plan.model_dump_json().encode())

    world.step(AggregateAction.ASK_APPROVAL, token="token-1", seconds=3600)

    ((_, body, _),) = world.notifier.published
    assert body["approve"] == f"make approve ENV=stage EXECUTION={EXECUTION}"
    assert "trial" not in body, "there is no report of a trial that another call has to repeat"


def test_a_question_waits_for_its_answer_even_if_it_cannot_be_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(trial={"rows": 20, "approval": "required"})
    world.try_rows()

    def refuse(*_: Any) -> None:
        raise DeploymentError("sns:Publish was denied")

    monkeypatch.setattr(world.notifier, "publish", refuse)

    assert world.step(AggregateAction.ASK_APPROVAL, token="token-1", seconds=3600).asks


def test_a_run_that_was_stopped_while_it_waited_asks_again_when_it_is_redriven() -> None:
    world = World(trial={"rows": 20, "approval": "required"})
    world.try_rows()
    world.step(AggregateAction.ASK_APPROVAL, token="token-1", seconds=3600)
    world.batch.work.pull_brake(FINISHING_BRAKE)

    world.step(AggregateAction.ASK_APPROVAL, token="token-2", seconds=3600)

    run = world.runs.get(EXECUTION)
    assert run is not None
    assert run.approval is not None
    assert run.approval.token == "token-2"
    assert KEYS.brake not in world.store.objects


def test_rows_of_a_trial_that_never_finished_run_with_all_others() -> None:
    world = World()
    world.run(world.trial_items()[:15])
    world.step(AggregateAction.REPORT_TRIAL)
    assert (world.report.rows, world.report.finished) == (20, 15)

    world.run(sent_items(world.plan, world.store))

    assert world.calls_of_rows == Counter(range(1, 201))


def test_cells_that_a_target_made_long_are_cut() -> None:
    world = World(output_mapping={"columns": [{"name": "said", "source": "$.said"}], "add_metadata": False})
    with contextlib.suppress(StopIteration):
        world.try_rows()

    assert all(len(cell) <= 200 for answer in world.report.answers for cell in answer)
    assert all(answer[2] == "yes" for answer in world.report.answers)
