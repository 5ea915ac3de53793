"""Trials on the command line: started, shown, approved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from batch_processor_client import cli, trials
from batch_processor_client.errors import ClientError
from batch_processor_client.trials import answer, trial_report, with_trial
from foundation.errors import ThrottledError
from row_batches.run.trial_forecast import Forecast
from row_batches.run.trial_report import RowSeconds, TrialReport, WholeRun
from tests.unit.client.fakes import OUTPUTS, FakeStates, FakeStorage, FakeTables, fake_deployment, waiting_run

REPORT = TrialReport(
    execution_id="night-run",
    target="echo",
    total_rows=200,
    rows=2,
    finished=2,
    called=2,
    succeeded=1,
    failed=1,
    timed_out=0,
    columns=["mood"],
    answers=[["7", "SUCCESS", "[glad]", ""], ["90", "FAILED", "", "ChaosError: no"]],
    failures_by_cause=[{"error": "ChaosError", "message": "no", "count": 1, "rows": [90], "cure": "Look at it."}],
    row_seconds=RowSeconds(median=1.5, p90=3, mean=2),
    row_tokens={"input_tokens": 412, "output_tokens": 38},
    row_cost_usd=0.01,
    whole=WholeRun(
        rows=200,
        seconds=Forecast(expected=400, low=300, high=500),
        cost_usd=Forecast(expected=2, low=1.5, high=2.5),
        target_included=True,
        failed_percent=Forecast(expected=50, low=10, high=90),
        failed_rows=Forecast(expected=100, low=20, high=180),
        basis=["90 % ranges from 2 called rows of the trial"],
    ),
)
OUTPUT = {"status": "SUCCEEDED", "output": json.dumps({"total_rows": 200, "succeeded": 200})}


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.states = FakeStates([{"status": "RUNNING"}])
        self.storage = FakeStorage({"results/night-run/trial.json": REPORT.model_dump_json().encode()})
        self.tables = FakeTables([waiting_run("token-1")])
        self.deployment = fake_deployment(monkeypatch, stepfunctions=self.states, s3=self.storage, dynamodb=self.tables)
        self.outputs = folder / "outputs.json"
        self.outputs.write_text(json.dumps(OUTPUTS))

    def command(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli.app, ["--outputs", str(self.outputs), *arguments])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("own", "sent"),
    [
        ({}, {"rows": 5, "approval": "required"}),
        ({"trial": {"rows": 9, "seed": 3, "approval": "none"}}, {"rows": 5, "seed": 3, "approval": "required"}),
        ({"trial": "a mistake"}, {"rows": 5, "approval": "required"}),
    ],
)
def test_a_trial_of_the_command_line_asks_for_an_approval(own: dict[str, Any], sent: dict[str, Any]) -> None:
    assert with_trial({"target": 1, **own}, 5) == {"target": 1, "trial": sent}


@pytest.mark.parametrize("approved", [True, False])
def test_a_run_that_waits_is_answered(world: World, approved: bool) -> None:
    done = answer(world.deployment, "night-run", approved=approved)

    assert world.states.answers == [("token-1", {"approved": approved})]
    assert (done.execution, done.approved, done.report) == ("night-run", approved, REPORT)


def test_a_run_that_does_not_wait_is_not_answered(world: World) -> None:
    world.tables.items = [waiting_run("token-1", approval=None)]
    with pytest.raises(ClientError, match=r"does not wait for an approval: its state is RUNNING\."):
        answer(world.deployment, "night-run", approved=True)
    world.tables.items = []
    with pytest.raises(ClientError, match="There is no run night-run"):
        answer(world.deployment, "night-run", approved=True)


def test_an_approval_that_fails_was_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> None:
        raise ThrottledError("SlowDown")

    monkeypatch.setattr(trials, "read_report", busy)
    with pytest.raises(ThrottledError):
        answer(world.deployment, "night-run", approved=True)
    assert world.states.answers == []


def test_a_question_that_is_over_is_said(world: World) -> None:
    world.states.answer_refusal = "TaskTimedOut"
    with pytest.raises(ClientError, match="does not wait"):
        answer(world.deployment, "night-run", approved=True)


def test_a_run_without_a_report_is_said(world: World) -> None:
    world.storage.objects.clear()
    with pytest.raises(ClientError, match="no report of a trial"):
        trial_report(world.deployment, "night-run")


def test_the_report_is_shown_with_ranges_and_their_basis(world: World) -> None:
    done = world.command("trial", "night-run")

    assert done.exit_code == 0
    for text in (
        "[glad]",
        "trial        2 of 200 rows, 1 successful",
        "1 × ChaosError: no\n",
        "Look at it.\n",
        "time a row   median 1.5 s, 90 % within 3.0 s",
        "tokens a row 412 in, 38 out (mean)",
        "cost a row   0.01 USD (mean)",
        "all 200      time 6 min 40 s (5 min 00 s to 8 min 20 s)",
        "cost 2.00 USD (1.50 USD to 2.50 USD)",
        "failed rows 100 (20 to 180)",
        "basis        90 % ranges from 2 called rows of the trial",
    ):
        assert text in done.output
    assert json.loads(world.command("trial", "night-run", "--json").output)["whole"]["rows"] == 200


def test_an_approval_says_what_runs_now(world: World) -> None:
    done = world.command("approve", "night-run")

    assert done.output.strip() == "Approved: night-run runs all 200 rows. Follow it: make run FOLLOW=night-run"


def test_a_run_that_asked_nobody_shows_the_report_with_its_result(world: World) -> None:
    document = {"total_rows": 200, "trial": {"trial_report_s3_uri": "s3://results/results/night-run/trial.json"}}
    world.states.descriptions = [{"status": "SUCCEEDED", "output": json.dumps(document)}]

    done = world.command("follow", "night-run")

    assert done.exit_code == 0
    assert "trial        2 of 200 rows, 1 successful" in done.output


def test_without_a_terminal_a_run_that_waits_is_left_waiting(world: World) -> None:
    world.storage.objects["work/night-run/plan.json"] = json.dumps(
        {"total_rows": 200, "target": {}, "config": {"output_mapping": {}, "trial": {"rows": 2}}}
    ).encode()

    done = world.command("follow", "night-run")

    assert done.exit_code == 0
    assert "make approve ENV=stage EXECUTION=night-run" in done.output
    assert world.states.answers == []


@pytest.mark.parametrize(("typed", "approved"), [("y", True), ("n", False), ("", False)])
def test_on_a_terminal_the_question_is_asked_once(
    world: World, monkeypatch: pytest.MonkeyPatch, typed: str, approved: bool
) -> None:
    world.storage.objects["work/night-run/plan.json"] = json.dumps(
        {"total_rows": 200, "target": {}, "config": {"output_mapping": {}, "trial": {"rows": 2}}}
    ).encode()
    world.states.descriptions = [{"status": "RUNNING"}, {"status": "RUNNING"}, OUTPUT]
    monkeypatch.setattr(cli.runs, "has_terminal", lambda: True)

    done = CliRunner().invoke(cli.app, ["--outputs", str(world.outputs), "follow", "night-run"], input=f"{typed}\n")

    assert done.exit_code == 0
    assert done.output.count("Run all 200 rows? [y/N]") == 1
    assert world.states.answers == [("token-1", {"approved": approved})]
