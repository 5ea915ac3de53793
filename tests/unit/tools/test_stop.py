"""Stopping an execution, keeping what is done."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from tests.unit.tools.fakes import EXECUTION, FakeDeployment, FakeStates, FakeStorage
from tools.errors import CommandError
from tools.outputs import Deployment
from tools.stop import Stopper, stop_execution

RUNNING = {"status": "RUNNING"}
BRAKE = "work/night-run/brake.json"
DOCUMENT = {
    "output_s3_uri": "s3://results/results/night-run/output.csv",
    "total_rows": 100,
    "succeeded": 60,
    "failed": 40,
    "timed_out": 0,
}
ENDED: dict[str, Any] = {"status": "FAILED", "error": "StoppedError", "cause": json.dumps(DOCUMENT)}


def stopper(states: FakeStates, storage: FakeStorage, waited: list[float]) -> Stopper:
    return Stopper(cast("Deployment", FakeDeployment(states, storage)), EXECUTION, wait=waited.append)


def test_the_brake_lets_the_execution_end_by_itself_with_its_output() -> None:
    # Given an execution that ends three looks after the brake is pulled
    states, storage, said = FakeStates([RUNNING] * 3 + [ENDED]), FakeStorage(), list[str]()
    # When it is stopped
    code = stop_execution(stopper(states, storage, []), "stopped by anna", 60, said.append)
    # Then the brake says who and why, nothing was cut off, and the output is named
    assert json.loads(storage.objects[BRAKE]) == {
        "reason": "stopped by anna",
        "error": "StoppedError",
        "message": "stopped by anna",
    }
    assert states.stopped == []
    assert code == 0
    assert said[-2:] == [
        "FAILED: 60 succeeded, 40 failed, 0 timed out, 0 not attempted of 100 rows.",
        "Output: s3://results/results/night-run/output.csv",
    ]


def test_what_does_not_end_within_the_grace_period_is_stopped() -> None:
    # Given an execution that never ends by itself, whose output comes once it is stopped
    states, storage, said = FakeStates([RUNNING]), FakeStorage({"results/night-run/summary.json": b"{}"}), list[str]()
    waited: list[float] = []
    code = stop_execution(stopper(states, storage, waited), "stopped by anna", 5, said.append)
    assert waited == [1.0] * 5
    assert states.stopped == [{"executionArn": EXECUTION, "error": "StoppedError", "cause": "stopped by anna"}]
    assert (code, said[-1]) == (0, "Output: s3://results/results/night-run/output.csv")


def test_without_a_grace_period_it_is_stopped_at_once() -> None:
    states, storage = FakeStates([RUNNING]), FakeStorage({"results/night-run/summary.json": b"{}"})
    waited: list[float] = []
    assert stop_execution(stopper(states, storage, waited), "x", 0, lambda _: None) == 0
    assert (len(states.stopped), waited) == (1, [])
    assert BRAKE in storage.objects


def test_a_brake_that_is_pulled_already_keeps_its_reason() -> None:
    storage = FakeStorage({BRAKE: b"first"})
    stopper(FakeStates([RUNNING]), storage, []).pull_brake("second")
    assert storage.objects[BRAKE] == b"first"


def test_an_execution_that_has_ended_is_left_alone() -> None:
    states, storage, said = FakeStates([ENDED]), FakeStorage(), list[str]()
    assert stop_execution(stopper(states, storage, []), "x", 60, said.append) == 0
    assert (storage.objects, states.stopped) == ({}, [])
    assert said[0] == "It has ended already: FAILED."


def test_an_output_that_never_comes_is_said() -> None:
    states, said = FakeStates([RUNNING]), list[str]()
    waited: list[float] = []
    assert stop_execution(stopper(states, FakeStorage(), waited), "x", 0, said.append) == 1
    assert len(waited) == 180
    assert "when the rows in flight are over" in said[-1]


def test_an_unknown_execution_is_explained() -> None:
    with pytest.raises(CommandError, match="no execution night-run"):
        stop_execution(stopper(FakeStates(), FakeStorage(), []), "x", 60, lambda _: None)
