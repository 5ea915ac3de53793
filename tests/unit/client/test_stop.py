"""Stopping an execution, keeping what is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from batch_processor_client import cli
from batch_processor_client.cli import report
from batch_processor_client.errors import ClientError
from batch_processor_client.stop import Stage, Stop, stop
from tests.unit.client.fakes import (
    EXECUTION,
    OUTPUTS,
    FakeStates,
    FakeStorage,
    FakeTables,
    fake_deployment,
    waiting_run,
)

RUNNING = {"status": "RUNNING"}
BRAKE = "work/night-run/brake.json"
OUTPUT = "s3://results/results/night-run/output.csv"
DOCUMENT = {"output_s3_uri": OUTPUT, "total_rows": 100, "succeeded": 60, "failed": 40, "timed_out": 0}
ENDED: dict[str, Any] = {"status": "FAILED", "error": "StoppedError", "cause": json.dumps(DOCUMENT)}


class World:
    """An execution to stop, and how long the client waited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.waited: list[float] = []
        self.tables = FakeTables()

    def stop(
        self, states: FakeStates, storage: FakeStorage, grace_seconds: float = 60, reason: str = "stopped by anna"
    ) -> list[Stop]:
        deployment = fake_deployment(self.monkeypatch, stepfunctions=states, s3=storage, dynamodb=self.tables)
        return list(stop(deployment, EXECUTION, reason, grace_seconds=grace_seconds, wait=self.waited.append))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_brake_lets_the_execution_end_by_itself_with_its_output(world: World) -> None:
    # Given an execution that ends three looks after the brake is pulled
    states, storage = FakeStates([RUNNING] * 3 + [ENDED]), FakeStorage()
    # When it is stopped
    *before, last = world.stop(states, storage)
    # Then the brake says who and why, nothing was cut off, and the output is named
    assert json.loads(storage.objects[BRAKE]) == {
        "reason": "stopped by anna",
        "error": "StoppedError",
        "message": "stopped by anna",
    }
    assert states.stopped == []
    assert [stage.stage for stage in before] == [Stage.BRAKED]
    assert last.has_output
    assert report.stop_lines(last, 60) == [
        "FAILED: 60 succeeded, 40 failed, 0 timed out, 0 not started of 100 rows.",
        f"Output: {OUTPUT}",
    ]


def test_a_run_that_waits_for_an_approval_goes_on_to_its_output(world: World) -> None:
    world.tables = FakeTables([waiting_run("token-1")])
    states = FakeStates([RUNNING, RUNNING, ENDED])
    world.stop(states, FakeStorage())
    assert states.answers == [("token-1", {"approved": False})]


def test_what_does_not_end_within_the_grace_period_is_stopped(world: World) -> None:
    # Given an execution that never ends by itself, whose output comes once it is stopped
    states, storage = FakeStates([RUNNING]), FakeStorage({"results/night-run/summary.json": b"{}"})
    stages = world.stop(states, storage, grace_seconds=5)
    assert world.waited == [1.0] * 5
    assert states.stopped == [{"executionArn": EXECUTION, "error": "StoppedError", "cause": "stopped by anna"}]
    assert [stage.stage for stage in stages] == [Stage.BRAKED, Stage.OVERDUE, Stage.STOPPED, Stage.WRITTEN]
    assert (stages[-1].has_output, report.stop_lines(stages[-1], 5)) == (True, [f"Output: {OUTPUT}"])


def test_without_a_grace_period_it_is_stopped_at_once(world: World) -> None:
    states, storage = FakeStates([RUNNING]), FakeStorage({"results/night-run/summary.json": b"{}"})
    assert world.stop(states, storage, grace_seconds=0)[-1].stage is Stage.WRITTEN
    assert (len(states.stopped), world.waited) == (1, [])
    assert BRAKE in storage.objects


def test_a_brake_that_is_pulled_already_keeps_its_reason(world: World) -> None:
    storage = FakeStorage({BRAKE: b"first"})
    world.stop(FakeStates([RUNNING, ENDED]), storage, reason="second")
    assert storage.objects[BRAKE] == b"first"


def test_an_execution_that_has_ended_is_left_alone(world: World) -> None:
    states, storage = FakeStates([ENDED]), FakeStorage()
    (only,) = world.stop(states, storage)
    assert (storage.objects, states.stopped, only.has_output) == ({}, [], True)
    assert report.stop_lines(only, 60)[0] == "It has ended already: FAILED."


def test_an_output_that_never_comes_is_said(world: World) -> None:
    last = world.stop(FakeStates([RUNNING]), FakeStorage(), grace_seconds=0)[-1]
    assert (len(world.waited), last.has_output) == (180, False)
    assert "when the rows in flight have ended" in report.stop_lines(last, 0)[0]


def test_an_unknown_execution_is_explained(world: World) -> None:
    with pytest.raises(ClientError, match="no execution night-run"):
        world.stop(FakeStates(), FakeStorage())


@pytest.mark.parametrize(("description", "code"), [(ENDED, 0), ({"status": "FAILED", "cause": "no"}, 1)])
def test_the_command_ends_with_0_if_there_is_an_output(
    description: dict[str, Any], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_deployment(monkeypatch, stepfunctions=FakeStates([description]), s3=FakeStorage(), dynamodb=FakeTables())
    (tmp_path / "outputs.json").write_text(json.dumps(OUTPUTS))
    done = CliRunner().invoke(cli.app, ["--outputs", str(tmp_path / "outputs.json"), "stop", "night-run"])
    assert done.exit_code == code
    assert done.output.startswith("It has ended already: FAILED.")
