"""What starts the finishing of a run: an event, or the sweep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from row_batches.run.finish_run import EVENT, finish_run
from row_batches.run.messages import EndedRun, ExecutionStatus
from row_batches.run.runs import Counts, Run, RunEnding, RunState
from tests.support.fakes import FakeClock, FakeRuns

ARN = "arn:aws:states:us-east-1:123456789012:execution:batch-processor:"
SCHEDULED = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
START = datetime(2026, 11, 21, 9, tzinfo=UTC)


class FakeExecutions:
    """Executions by name: what the runs' are, and the finishing ones that were started."""

    def __init__(self) -> None:
        self.endings: dict[str, EndedRun] = {}
        self.started: dict[str, EndedRun] = {}
        self.over: set[str] = set()

    def ended(self, run: Run) -> EndedRun | None:
        return self.endings.get(run.execution)

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
        finish_run(told, executions=self.executions, runs=self.runs, clock=self.clock)
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
    finish_run(EVENT.validate_python(SCHEDULED), executions=world.executions, runs=late, clock=world.clock)

    assert len(world.executions.started) == 1


def test_an_event_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="Object Created"):
        World().tell({"detail-type": "Object Created"})
