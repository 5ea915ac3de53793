"""What starts the finishing of a run: an event, or the sweep."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from row_batches.document.plan import Keys
from row_batches.rows.work import FINISHING_BRAKE, Brake, Work
from row_batches.run.end_messages import EndedRun, ExecutionStatus
from row_batches.run.finish_run import EVENT, finish_run
from row_batches.run.redrive import Redrive
from row_batches.run.runs import Counts, Run, RunEnding, RunState
from tests.support.batches import make_plan
from tests.support.fakes import FakeClock, FakeObjectStore, FakeRuns

ARN = "arn:aws:states:us-east-1:123456789012:execution:batch-processor:"
SCHEDULED = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
START = datetime(2026, 11, 21, 9, tzinfo=UTC)


class FakeExecutions:
    """Executions by name: what the runs' are, and the finishing ones that were started."""

    def __init__(self) -> None:
        self.endings: dict[str, EndedRun] = {}
        self.started: dict[str, EndedRun] = {}
        self.over: set[str] = set()
        self.listed: list[str] = []
        self.redrives: dict[str, Redrive] = {}

    def last_redrive(self, arn: str) -> Redrive | None:
        return self.redrives.get(arn)

    def running(self) -> Iterator[str]:
        yield from self.listed

    def ended(self, run: Run) -> EndedRun | None:
        return self.endings.get(run.execution)

    def ending(self, arn: str) -> EndedRun | None:
        return self.endings.get(arn.removeprefix(ARN))

    def failed_since(self, since_ms: int) -> Iterator[str]:
        yield from [ended.execution_arn for ended in self.endings.values() if ended.ended_ms >= since_ms]

    def start_finishing(self, name: str, ended: EndedRun) -> bool:
        if name in self.started:
            return False
        self.started[name] = ended
        return True

    def finishing(self, name: str) -> bool:
        return name in self.started and name not in self.over


class World:
    def __init__(self) -> None:
        self.executions = FakeExecutions()
        self.runs = FakeRuns()
        self.objects = FakeObjectStore()
        self.clock = FakeClock()

    def start(self, name: str) -> None:
        self.runs.start(
            Run(
                execution=name,
                arn=f"{ARN}{name}",
                batch_name="weekly",
                target="echo",
                target_version="1",
                total_rows=3,
                plan_key=f"work/{name}/plan.json",
                started_at=START + timedelta(seconds=len(list(self.runs.running()))),
                estimate_usd=0.0,
            )
        )

    def redrive(self, name: str) -> None:
        """Stop the run, finish it, and redrive its execution."""
        self.start(name)
        self.runs.end(name, RunEnding(state=RunState.STOPPED, counts=Counts(), ended_at=START))
        self.executions.listed.append(name)
        self.executions.redrives[f"{ARN}{name}"] = Redrive(1_790_000_060_000, is_running=True)

    def state(self, name: str) -> RunState | None:
        run = self.runs.get(name)
        return None if run is None else run.state

    def pull_brake(self, name: str, brake: Brake) -> None:
        Work(self.objects, Keys(name), self.clock).pull_brake(brake)

    def brake(self, name: str) -> Brake | None:
        return Work(self.objects, Keys(name), self.clock).brake()

    def end(self, name: str, status: str = "ABORTED") -> EndedRun:
        self.executions.endings[name] = EndedRun(
            execution_arn=f"{ARN}{name}",
            execution=name,
            plan_key=f"work/{name}/plan.json",
            status=ExecutionStatus(status),
            ended_ms=1_790_000_000_000,
        )
        return self.executions.endings[name]

    def tell(self, event: dict[str, Any]) -> list[EndedRun]:
        """What was started by the event."""
        before = set(self.executions.started)
        told = EVENT.validate_python(event)
        finish_run(told, executions=self.executions, runs=self.runs, objects=self.objects, clock=self.clock)
        return [ended for name, ended in self.executions.started.items() if name not in before]


def status_change(name: str = "run-1", **detail: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "detail": {
            "executionArn": f"{ARN}{name}",
            "name": name,
            "status": "ABORTED",
            "stopDate": 1_790_000_000_000,
            "inputDetails": {"included": True},
            **detail,
        },
    }


def test_an_event_starts_the_finishing_of_its_run_with_what_it_tells() -> None:
    world = World()
    document = '{"target": {"name": "echo"}, "notification_config": {"batch_name": "Weekly"}}'

    (ended,) = world.tell(status_change(status="FAILED", error="E", cause="c" * 20_000, input=document))

    assert (ended.execution, ended.status, ended.error) == ("run-1", ExecutionStatus.FAILED, "E")
    assert (ended.batch_name, ended.target, len(ended.cause)) == ("Weekly", "echo", 10_000)
    assert ended.plan_key == "work/run-1/plan.json"


@pytest.mark.parametrize("document", ["not JSON", "[]", '{"target": 5}', '{"target": {"name": "a\\nb"}}', None])
def test_names_that_no_batch_can_have_are_not_taken_from_a_document(document: str | None) -> None:
    (ended,) = World().tell(status_change(input=document))

    assert (ended.batch_name, ended.target) == ("run-1", "")


def test_an_event_that_comes_twice_finishes_once_and_a_redriven_run_that_ends_again_once_more() -> None:
    world = World()

    assert len(world.tell(status_change())) == 1
    assert world.tell(status_change()) == []
    assert len(world.tell(status_change(stopDate=1_790_000_060_000))) == 1


def test_the_name_of_a_finishing_is_one_that_step_functions_takes() -> None:
    world = World()
    world.tell(status_change())

    (name,) = world.executions.started
    assert len(name) <= 69, "with the seconds of a second attempt it has 80 characters at most"


def test_the_sweep_finishes_runs_whose_event_was_lost_and_no_other() -> None:
    world = World()
    for name in ("running", "lost", "finished"):
        world.start(name)
    world.end("lost")
    world.end("finished")
    world.runs.end("finished", RunEnding(state=RunState.STOPPED, counts=Counts(), ended_at=START))

    assert [ended.execution for ended in world.tell(SCHEDULED)] == ["lost"]
    assert world.clock.sleeps == [0.2, 0.2], "five runs a second at most"


def test_the_sweep_leaves_a_finishing_that_goes_on_and_tries_again_after_one_that_failed() -> None:
    world = World()
    world.start("run-1")
    ended = world.end("run-1")
    assert len(world.tell(status_change())) == 1

    assert world.tell(SCHEDULED) == []
    world.executions.over.add(ended.finishing_name)
    (again,) = world.tell(SCHEDULED)
    assert again.again, "its end was announced by the first one"


def test_a_finishing_that_ended_well_while_the_sweep_looked_is_not_done_again() -> None:
    world = World()
    world.start("run-1")
    ended = world.end("run-1")
    world.tell(status_change())
    world.executions.over.add(ended.finishing_name)

    class Late(FakeRuns):
        def get(self, execution: str) -> Run | None:
            run = world.runs.get(execution)
            return run.model_copy(update={"ended_at": START}) if run else None

    late = Late()
    late._runs = world.runs._runs
    late.running = world.runs.running  # type: ignore[method-assign]  # the listing is older than the item
    told = EVENT.validate_python(SCHEDULED)
    finish_run(told, executions=world.executions, runs=late, objects=world.objects, clock=world.clock)

    assert len(world.executions.started) == 1


def running_again(name: str = "run-1") -> dict[str, Any]:
    return status_change(name, status="RUNNING", stopDate=None, redriveCount=1)


def test_the_event_of_a_redrive_reopens_the_run_and_releases_the_brake_of_its_finishing() -> None:
    world = World()
    world.redrive("run-1")
    world.pull_brake("run-1", FINISHING_BRAKE)

    assert world.tell(running_again()) == []
    assert world.tell(running_again()) == []

    assert world.state("run-1") is RunState.RUNNING
    assert world.brake("run-1") is None


def test_an_event_of_a_redrive_that_comes_after_the_next_ending_changes_nothing() -> None:
    world = World()
    world.redrive("run-1")
    world.pull_brake("run-1", FINISHING_BRAKE)
    world.executions.redrives[f"{ARN}run-1"] = Redrive(1_790_000_060_000, is_running=False)

    world.tell(running_again())

    assert world.state("run-1") is RunState.STOPPED
    assert world.brake("run-1") == FINISHING_BRAKE


def test_a_brake_of_the_user_is_not_released() -> None:
    world = World()
    world.redrive("run-1")
    brake = Brake("stopped by hand", "StoppedError", "stopped by hand")
    world.pull_brake("run-1", brake)

    world.tell(running_again())
    world.tell(SCHEDULED)

    assert world.brake("run-1") == brake


def test_the_sweep_reopens_redriven_runs_whose_event_was_lost_and_sees_them_when_they_end_again() -> None:
    world = World()
    world.redrive("run-1")

    assert world.tell(SCHEDULED) == []
    assert world.state("run-1") is RunState.RUNNING

    world.executions.listed.clear()
    world.end("run-1")
    assert [ended.execution for ended in world.tell(SCHEDULED)] == ["run-1"]


def test_the_sweep_does_not_reopen_a_run_that_ended_while_it_looked() -> None:
    world = World()
    world.start("run-1")
    world.runs.end("run-1", RunEnding(state=RunState.SUCCEEDED, counts=Counts(), ended_at=START))
    world.executions.listed.append("run-1")

    world.tell(SCHEDULED)

    assert world.state("run-1") is RunState.SUCCEEDED


def test_the_sweep_releases_the_brake_of_a_finishing_that_died_after_a_redrive() -> None:
    world = World()
    world.start("run-1")
    world.executions.redrives[f"{ARN}run-1"] = Redrive(1_790_000_060_000, is_running=True)
    world.pull_brake("run-1", FINISHING_BRAKE)

    world.tell(SCHEDULED)

    assert world.brake("run-1") is None


OLDER = Path(__file__).resolve().parents[3] / "data" / "run_of_form_1"


def test_the_sweep_keeps_a_run_that_the_release_before_began_and_finishes_it_when_it_has_ended() -> None:
    world = World()
    plan = Keys("older").plan
    world.objects.put(plan, (OLDER / plan).read_bytes())
    world.executions.listed += ["older", "without a plan"]

    world.tell(SCHEDULED)

    assert world.state("older") is RunState.RUNNING
    assert world.state("without a plan") is None
    world.executions.listed.clear()
    world.end("older")
    assert [ended.execution for ended in world.tell(SCHEDULED)] == ["older"]


def test_the_sweep_finishes_what_ended_in_the_last_hour_although_the_table_never_had_it() -> None:
    world = World()
    world.end("of the release before")
    world.end("refused", "FAILED")

    names = [ended.execution for ended in world.tell(SCHEDULED)]

    assert names == ["of the release before", "refused"]
    assert world.tell(SCHEDULED) == [], "once, by the name of its finishing"
    world.clock.move(3_601)
    world.executions.started.clear()
    assert world.tell(SCHEDULED) == []


def test_the_sweep_keeps_no_dry_run() -> None:
    world = World()
    make_plan([["1", "a"]], store=world.objects, execution="dry", dry_run=True)
    world.executions.listed.append("dry")

    world.tell(SCHEDULED)

    assert world.state("dry") is None


def test_an_event_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="Object Created"):
        World().tell({"detail-type": "Object Created"})
