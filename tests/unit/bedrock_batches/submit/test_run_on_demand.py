"""A job that is asked at once through Converse stops when it is told to, and keeps what it was answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from bedrock_batches.results.reconcile import reconcile
from bedrock_batches.results.take_results import take_objects
from bedrock_batches.submit import run_on_demand as module
from bedrock_batches.submit.job import JobItem, input_key, on_demand_output_key
from bedrock_batches.submit.run_on_demand import run_on_demand
from foundation.errors import ThrottledError
from tests.support.bedrock_results import (
    JOB_ID,
    FakeJobs,
    FakeObjects,
    Process,
    World,
    add_job,
    answer_line,
    violation_id,
)

RECORDS = 20
OUTPUT = on_demand_output_key(JOB_ID, 1)


@dataclass
class Model:
    """Each answer takes a second; the stop is requested while it gives answer ``stop_at``."""

    world: World
    stop_at: int = 0
    throttled: bool = False
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def converse(self, model_id: str, model_input: Mapping[str, Any]) -> dict[str, Any]:
        with self.lock:
            self.asked.append(model_input["id"])
            self.world.now_ms += 1000
            if len(self.asked) == self.stop_at:
                self.world.jobs[JOB_ID]["stopRequestedAt"] = "2025-11-24T16:00:00.000Z"
        if self.throttled:
            raise ThrottledError("slow down")
        output: dict[str, Any] = json.loads(answer_line(model_input["id"]))["modelOutput"]
        return output


class UnreadableJobs(FakeJobs):
    def get(self, job_id: str) -> JobItem | None:
        raise ThrottledError("slow down")


@dataclass
class Services:
    jobs: FakeJobs
    objects: FakeObjects
    on_demand: Model
    clock: Process
    deadline: Process


@pytest.fixture(autouse=True)
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "THREADS", 1)


@pytest.fixture
def world() -> World:
    world = World()
    add_job(world, [RECORDS], onDemand=True)
    part = world.parts[JOB_ID][1]
    del part["jobArn"]
    part |= {"status": "ended", "bedrockStatus": "OnDemand", "endedAt": "2025-11-24T16:00:00.000Z"}
    ids = [violation_id(number) for number in range(RECORDS)]
    lines = [orjson.dumps({"recordId": name, "modelInput": {"id": name}}) + b"\n" for name in ids]
    world.put(input_key(JOB_ID, 1), b"".join(lines))
    return world


def ask(world: World, model: Model, jobs: type[FakeJobs] = FakeJobs) -> None:
    process = Process(world)
    run_on_demand(world.jobs[JOB_ID], Services(jobs(process), FakeObjects(process), model, process, process))


def end(world: World) -> JobItem:
    take_objects([OUTPUT], Process(world, owner="taker").result_services())
    reconcile(JOB_ID, Process(world).reconcile_services())
    return world.jobs[JOB_ID]


def test_a_job_that_is_stopped_asks_no_further_record_and_keeps_its_answers(world: World) -> None:
    model = Model(world, stop_at=5)

    ask(world, model)
    job = end(world)

    assert model.asked == [violation_id(number) for number in range(5)]
    assert (job["status"], job["bedrockStatus"], job["message"]) == ("Failed", "Stopped", "Part 1: Stopped.")
    assert job["stats"] == {"processed": 5, "errors": 0, "total": RECORDS}
    assert (job["inputTokens"], job["outputTokens"]) == (50, 25)
    assert sorted(world.violations) == model.asked
    # What a retry takes:
    assert [line["recordId"] for line in world.failed_lines()] == [violation_id(n) for n in range(5, RECORDS)]
    assert world.in_flight == {JOB_ID}


def test_a_job_that_is_stopped_before_its_first_record_asks_none(world: World) -> None:
    world.jobs[JOB_ID]["stopRequestedAt"] = "2025-11-24T16:00:00.000Z"
    model = Model(world)

    ask(world, model)
    job = end(world)

    assert model.asked == []
    assert (job["status"], job["bedrockStatus"]) == ("Failed", "Stopped")
    assert len(world.failed_lines()) == RECORDS
    assert world.in_flight == set()


def test_a_record_that_a_throttled_model_keeps_waiting_is_not_asked_after_a_stop(world: World) -> None:
    model = Model(world, stop_at=3, throttled=True)

    ask(world, model)

    assert model.asked == [violation_id(0)] * 3
    assert world.objects[OUTPUT] == b""


def test_a_stop_that_finds_every_record_asked_changes_nothing(world: World) -> None:
    ask(world, Model(world, stop_at=RECORDS))

    job = end(world)

    assert (job["status"], job["bedrockStatus"], job["stats"]["processed"]) == ("Completed", "OnDemand", RECORDS)


def test_the_answers_of_a_stopped_job_are_waited_for_though_their_object_comes_later(world: World) -> None:
    ask(world, Model(world, stop_at=5))
    body = world.objects.pop(OUTPUT)
    assert reconcile(JOB_ID, Process(world).reconcile_services()).status == "InProgress"
    world.put(OUTPUT, body)

    assert end(world)["stats"]["processed"] == 5


def test_the_job_is_looked_at_once_a_second_however_many_ask(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    class Counting(FakeJobs):
        def get(self, job_id: str) -> JobItem | None:
            looks.append(self.process.world.now_ms)
            return super().get(job_id)

    monkeypatch.setattr(module, "LOOK_SECONDS", 4.0)
    ask(world, Model(world), Counting)

    assert len(looks) == RECORDS / 4


def test_answers_are_not_lost_when_the_job_cannot_be_read(world: World) -> None:
    ask(world, Model(world), UnreadableJobs)

    assert end(world)["stats"]["processed"] == RECORDS


def test_a_stopped_job_whose_call_died_is_stopped_once_no_call_can_come_any_more(world: World) -> None:
    world.jobs[JOB_ID]["stopRequestedAt"] = "2025-11-24T16:00:00.000Z"
    statuses = []
    for _ in range(2):
        statuses.append(reconcile(JOB_ID, Process(world).reconcile_services()).bedrock_status)
        world.sleep_minutes(21)

    assert statuses == ["OnDemand", "Stopped"]
    assert (world.jobs[JOB_ID]["status"], len(world.failed_lines())) == ("Failed", RECORDS)
