"""Changing how fast a run works, on moto."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from batch_processor_client import cli, runs
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from row_batches.document.batch_config import Rate
from row_batches.document.plan import Storage, StorageMode
from row_batches.run.runs import Live, Run
from tests.support.batches import EXECUTION, make_plan
from tests.support.fakes import FakeObjectStore, FakeRuns
from tests.unit.client.fakes import OUTPUTS

MAP_RUN = "arn:aws:states:us-east-1:000000000000:mapRun:batch-processor/ProcessToolRows:1"


class FakeStates:
    """One map run that goes on, and one that has ended."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []

    def get_paginator(self, _: str) -> FakeStates:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{"mapRuns": [{"mapRunArn": MAP_RUN}, {"mapRunArn": f"{MAP_RUN}2", "stopDate": 1}]}]

    def update_map_run(self, **arguments: Any) -> None:
        self.updates.append(arguments)


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = FakeObjectStore()
        self.states = FakeStates()
        self.runs = FakeRuns()
        self.deployment = Deployment.model_validate(OUTPUTS)
        monkeypatch.setattr(Deployment, "client", lambda _, service: self.states)
        monkeypatch.setattr(runs, "DynamoDbRuns", lambda *_: self.runs)
        monkeypatch.setattr(runs, "S3ObjectStore", lambda *_: self.store)

    def start(self, **document: Any) -> None:
        self.runs.start(Run.of_plan(make_plan([["1", "a"]] * 50, store=self.store, **document)))

    @property
    def live(self) -> Live:
        run = self.runs.get(EXECUTION)
        assert run is not None
        return run.live


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_concurrency_of_a_running_agent_batch_is_that_of_its_map_run(world: World) -> None:
    world.start(invocation="standard", threads=1)

    done = runs.throttle(world.deployment, EXECUTION, concurrency=20)

    assert world.states.updates == [{"mapRunArn": MAP_RUN, "maxConcurrency": 20}]
    assert (done.children, world.live) == (20, Live(max_concurrency=20))


def test_the_workers_of_tools_share_the_new_concurrency(world: World) -> None:
    world.start(threads=8)

    done = runs.throttle(world.deployment, EXECUTION, concurrency=30)

    assert world.live == Live(max_concurrency=30)
    assert done.notes == ["Its workers were planned for 8 rows in flight: for more, start a new run."]


def test_an_inline_run_of_an_agent_keeps_its_rows_in_flight_and_that_is_said(world: World) -> None:
    plan = make_plan([["1", "a"]] * 50, store=world.store, invocation="standard", threads=1)
    plan = plan.model_copy(update={"storage": Storage(mode=StorageMode.INLINE)})
    world.store.put(plan.keys.plan, plan.model_dump_json().encode())
    world.runs.start(Run.of_plan(plan))

    done = runs.throttle(world.deployment, EXECUTION, concurrency=20)

    assert done.notes == ["It runs inline: its rows in flight stay as they were planned."]


def test_what_is_not_given_stays_as_it_was(world: World) -> None:
    world.start()

    runs.throttle(world.deployment, EXECUTION, rows_per_minute=60)
    runs.throttle(world.deployment, EXECUTION, tokens_per_minute=1_000)

    assert world.live == Live(rows_per_minute=60, tokens_per_minute=1_000)
    assert world.states.updates == []


def test_what_the_registry_does_not_allow_is_said(world: World) -> None:
    plan = make_plan([["1", "a"]] * 50, store=world.store, threads=8)
    limits = {"max_concurrency": 5, "rate": Rate(rows_per_minute=60)}
    plan = plan.model_copy(update={"target": plan.target.model_copy(update=limits)})
    world.store.put(plan.keys.plan, plan.model_dump_json().encode())
    world.runs.start(Run.of_plan(plan))

    assert runs.throttle(world.deployment, EXECUTION, concurrency=5, rows_per_minute=60).notes == []
    done = runs.throttle(world.deployment, EXECUTION, concurrency=8, rows_per_minute=90, tokens_per_minute=10)
    assert done.notes == [
        "The registry limits echo to 5 rows in flight over all runs.",
        "The registry limits echo to 60 rows a minute over all runs.",
    ]


def test_rows_that_wait_for_the_limits_of_the_target_are_said(world: World) -> None:
    world.start()
    world.runs.hold_back(EXECUTION, time.time_ns() // 1_000_000)

    (note,) = runs.throttle(world.deployment, EXECUTION, rows_per_minute=60).notes

    assert note == "Its rows wait for the limits of echo, which other runs share."


def test_a_run_that_is_not_known_and_one_that_is_told_nothing_are_refused(world: World) -> None:
    with pytest.raises(ClientError, match="There is no run run-1"):
        runs.throttle(world.deployment, EXECUTION, concurrency=1)
    with pytest.raises(ClientError, match="Say what to change"):
        runs.throttle(world.deployment, EXECUTION)


def test_the_command_says_what_holds_from_now_on(world: World, tmp_path: Path) -> None:
    world.start()
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps(OUTPUTS))

    shown = CliRunner().invoke(cli.app, ["--outputs", str(outputs), "throttle", EXECUTION, "--rate", "120"])
    as_json = CliRunner().invoke(
        cli.app, ["--outputs", str(outputs), "throttle", EXECUTION, "--concurrency", "1", "--json"]
    )

    assert shown.output.startswith("run-1: at most 120 rows a minute")
    assert json.loads(as_json.output)["live"] == {"max_concurrency": 1, "rows_per_minute": 120.0}
