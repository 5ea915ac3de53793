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
from bedrock_batches.submit.job import Job
from bedrock_batches.submit.job_items import job_of_item
from bedrock_batches.submit.names import input_key, on_demand_lease, on_demand_output_key
from bedrock_batches.submit.prompt import tokens_of_body
from bedrock_batches.submit.run_on_demand import run_on_demand
from foundation.errors import DeploymentError, PermanentError, ServiceUnavailableError, ThrottledError
from tests.support.bedrock_results import (
    JOB_ID,
    FakeJobs,
    FakeObjects,
    KilledError,
    Process,
    World,
    add_job,
    answer_line,
    violation_id,
)

RECORDS = 20
OUTPUT = on_demand_output_key(JOB_ID, 1)
BODY = {"system": [], "messages": [{"content": [{"text": "x" * 40}]}], "inferenceConfig": {"maxTokens": 100}}


@dataclass
class Model:
    """Each answer takes a second; the stop is requested while it gives answer ``stop_at``."""

    world: World
    stop_at: int = 0
    throttled: bool = False
    lost: dict[str, int] = field(default_factory=dict)
    """How many answers of a record are lost."""
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
        if self.lost.get(model_input["id"], 0):
            self.lost[model_input["id"]] -= 1
            raise ServiceUnavailableError("read timed out")
        output: dict[str, Any] = json.loads(answer_line(model_input["id"]))["modelOutput"]
        return output


class UnreadableJobs(FakeJobs):
    def get(self, job_id: str) -> Job | None:
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
    lines = [orjson.dumps({"recordId": name, "modelInput": BODY | {"id": name}}) + b"\n" for name in ids]
    world.put(input_key(JOB_ID, 1), b"".join(lines))
    return world


def ask(world: World, model: Model, jobs: type[FakeJobs] = FakeJobs, **process: Any) -> bool:
    call = Process(world, **process)
    return run_on_demand(job_of_item(world.jobs[JOB_ID]), Services(jobs(call), FakeObjects(call), model, call, call))


def end(world: World) -> dict[str, Any]:
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
        def get(self, job_id: str) -> Job | None:
            looks.append(self.process.world.now_ms)
            return super().get(job_id)

    monkeypatch.setattr(module, "LOOK_SECONDS", 4.0)
    ask(world, Model(world), Counting)

    assert len(looks) == RECORDS / 4


def test_answers_are_not_lost_when_the_job_cannot_be_read(world: World) -> None:
    ask(world, Model(world), UnreadableJobs)

    assert end(world)["stats"]["processed"] == RECORDS


def test_a_call_that_is_killed_loses_no_answer_and_its_successor_asks_only_for_the_rest(world: World) -> None:
    # Given a call that dies before it has written the answer of the eighth record
    with pytest.raises(KilledError):
        ask(world, Model(world), kill_at=16)
    # When another call comes
    model = Model(world)
    assert ask(world, model)
    # Then it asks for what has no answer, and the call whose answer was lost counts
    assert model.asked == [violation_id(n) for n in range(7, RECORDS)]
    part = world.parts[JOB_ID][1]
    assert (part["calls"], part["inputTokens"], part["outputTokens"]) == (21, 210, 105)
    assert end(world)["stats"] == {"processed": RECORDS, "errors": 0, "total": RECORDS}
    assert (world.jobs[JOB_ID]["inputTokens"], world.jobs[JOB_ID]["outputTokens"]) == (210, 105)


def test_a_slow_answer_is_asked_for_again_a_few_times_and_every_call_counts(world: World) -> None:
    # Given a record whose first answer does not come in time, and one whose answers never do
    model = Model(world, lost={violation_id(0): 1, violation_id(1): 99})

    assert ask(world, model)

    assert model.asked.count(violation_id(0)) == 2
    assert model.asked.count(violation_id(1)) == module.MOST_LOST
    job = end(world)
    assert job["stats"] == {"processed": RECORDS - 1, "errors": 1, "total": RECORDS}
    (failed,) = world.failed_lines()
    assert (failed["code"], failed["reason"]) == (504, "read timed out")
    # The lost answers count with what is known of them, or the most that they can have taken
    assert world.parts[JOB_ID][1]["calls"] == len(model.asked)
    assert job["inputTokens"] == 20 * 10 + 3 * tokens_of_body(BODY)
    assert job["outputTokens"] == 20 * 5 + 3 * 100


@pytest.mark.parametrize("fault", [PermanentError("bad input"), DeploymentError("denied")])
def test_what_the_model_refuses_costs_nothing(world: World, fault: Exception) -> None:
    class Refusing(Model):
        def converse(self, model_id: str, model_input: Mapping[str, Any]) -> dict[str, Any]:
            raise fault

    if isinstance(fault, DeploymentError):
        with pytest.raises(DeploymentError):
            ask(world, Refusing(world))
        assert world.parts[JOB_ID][1]["status"] == "refused"
    else:
        assert ask(world, Refusing(world))
        assert world.parts[JOB_ID][1]["inputTokens"] == 0
    calls = [body for key, body in world.objects.items() if key.endswith(".calls")]
    assert set(calls) == {b"0"}


def test_answers_that_came_before_the_model_was_denied_become_content(world: World) -> None:
    class DeniedLater(Model):
        def converse(self, model_id: str, model_input: Mapping[str, Any]) -> dict[str, Any]:
            if len(self.asked) >= 5:
                raise DeploymentError("denied")
            return super().converse(model_id, model_input)

    assert ask(world, DeniedLater(world))

    part = world.parts[JOB_ID][1]
    assert (part["bedrockStatus"], part["message"]) == ("Stopped", "denied")
    assert part["processedCount"] == len(world.objects[OUTPUT].splitlines()) >= 5


def test_no_record_is_asked_when_the_slowest_answer_would_not_come_in_time(world: World) -> None:
    model = Model(world)
    assert not ask(world, model, looks=3)
    assert model.asked == [violation_id(n) for n in range(3)]
    assert OUTPUT not in world.objects
    # And an hour later the job goes on with what there is
    world.sleep_minutes(60)
    assert ask(world, model, looks=0)
    assert end(world)["stats"] == {"processed": 3, "errors": RECORDS - 3, "total": RECORDS}
    assert {line["code"] for line in world.failed_lines()} == {408}


def test_a_clock_asks_for_another_call_when_the_processor_died(world: World) -> None:
    def clock() -> list[dict[str, Any]]:
        call = Process(world)
        reconcile(JOB_ID, call.reconcile_services())
        return call.asked_again

    assert clock() == [], "its processor can still be alive"
    world.sleep_minutes(21)
    world.leases[on_demand_lease(JOB_ID)] = ("call-7", world.now_ms + 60_000)
    assert clock() == [], "another call asks"
    world.sleep_minutes(2)
    assert clock() == [{"jobId": JOB_ID}]
    assert ask(world, Model(world))
    assert clock() == []


def test_a_stopped_job_whose_call_died_is_stopped_once_no_call_can_come_any_more(world: World) -> None:
    world.jobs[JOB_ID]["stopRequestedAt"] = "2025-11-24T16:00:00.000Z"
    statuses = []
    for _ in range(2):
        statuses.append(reconcile(JOB_ID, Process(world).reconcile_services()).bedrock_status)
        world.sleep_minutes(121)

    assert statuses == ["OnDemand", "Stopped"]
    assert (world.jobs[JOB_ID]["status"], len(world.failed_lines())) == ("Failed", RECORDS)
