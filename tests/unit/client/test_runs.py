"""Listing runs and showing one, from the table of runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from batch_processor_client import cli, runs
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.runs import list_runs
from row_batches.run.causes import Cause
from row_batches.run.runs import Counts, Run, RunEnding, RunState
from tests.support.batches import make_plan
from tests.support.fakes import FakeObjectStore, FakeRuns
from tests.unit.client.fakes import OUTPUTS, fake_deployment

BEGAN = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    """Seven runs, of which the even ones failed."""
    kept = FakeRuns()
    for number in range(1, 8):
        plan = make_plan([["1", "a"]] * 10, store=FakeObjectStore(), execution=f"run-{number}")
        started = BEGAN + timedelta(minutes=number)
        kept.start(Run.of_plan(plan).model_copy(update={"started_at": started}))
        kept.end(
            f"run-{number}",
            RunEnding(
                state=RunState.SUCCEEDED if number % 2 else RunState.FAILED,
                counts=Counts(succeeded=8, failed=2, not_attempted=3),
                ended_at=started + timedelta(seconds=75),
                cost_usd=0.25,
                causes=[Cause(error="ThrottlingException", message="slow down", count=2, rows=[1, 2])],
            ),
        )
    monkeypatch.setattr(runs, "DynamoDbRuns", lambda *_: kept)
    fake_deployment(monkeypatch, dynamodb=None)
    return kept


DEPLOYMENT = Deployment.model_validate(OUTPUTS)


@pytest.mark.usefixtures("table")
def test_runs_are_listed_newest_first_in_pages_without_a_gap() -> None:
    first = list_runs(DEPLOYMENT, limit=3)
    second = list_runs(DEPLOYMENT, limit=5, cursor=first.cursor)
    assert [run.execution for run in [*first.runs, *second.runs]] == [f"run-{number}" for number in range(7, 0, -1)]
    assert second.cursor == ""


@pytest.mark.usefixtures("table")
def test_a_filtered_list_goes_on_where_it_ended() -> None:
    first = list_runs(DEPLOYMENT, states=[RunState.FAILED], limit=2)
    second = list_runs(DEPLOYMENT, states=[RunState.FAILED], limit=2, cursor=first.cursor)
    assert [run.execution for run in first.runs] == ["run-6", "run-4"]
    assert [run.execution for run in second.runs] == ["run-2"]
    assert list_runs(DEPLOYMENT, target="another").runs == []


def test_a_cursor_of_something_else_is_refused(table: FakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(limit: int, cursor: str) -> None:
        raise ValueError(f"not a cursor: {cursor}")

    monkeypatch.setattr(table, "page", refuse)
    with pytest.raises(ClientError, match="not a cursor of a list of runs"):
        list_runs(DEPLOYMENT, cursor="nonsense")


@pytest.mark.usefixtures("table")
def test_the_commands_show_runs_and_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "outputs.json").write_text(json.dumps(OUTPUTS))

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(cli.app, ["--outputs", str(tmp_path / "outputs.json"), *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    listed = command("runs", "--state", "FAILED", "--limit", "2")
    assert "run-6" in listed
    assert "10 of 10" in listed
    assert "More: --cursor" in listed
    assert json.loads(command("runs", "--json"))["runs"][0]["execution"] == "run-7"
    shown = command("status", "run-6")
    for text in ("status       FAILED", "not started  3", "cost         0.25 USD", "2 × ThrottlingException: slow"):
        assert text in shown
    assert json.loads(command("status", "run-6", "--json"))["counts"]["succeeded"] == 8


@pytest.mark.usefixtures("table")
def test_a_run_that_does_not_exist_is_named() -> None:
    with pytest.raises(ClientError, match=r"There is no run nope\."):
        runs.status(DEPLOYMENT, "nope")
