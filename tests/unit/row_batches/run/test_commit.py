"""A row is finished when it is written. Letters and counts come after it, and never run a row again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from foundation.errors import DeploymentError, ServiceUnavailableError
from row_batches.document.plan import Plan
from row_batches.rows.records import FinishedRow, RowStatus
from row_batches.rows.work import Brake
from row_batches.run import letters
from row_batches.run.agent_messages import AgentCall, MapOutputRequest
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batch, Batches
from row_batches.run.commit import Commit
from row_batches.run.end_messages import AggregateAction, AggregateRequest, AggregateResponse
from row_batches.run.map_output import map_output
from row_batches.run.messages import BatchReference, CaughtError
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.runs import BestEffort
from row_batches.run.tool_messages import ToolRowsRequest, ToolRowsResponse
from row_batches.targets.protocol import Outcome, thrown_error
from tests.support.batches import KEYS, json_of, make_plan, open_batch, staged_items
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeInvoker,
    FakeObjectStore,
    FakeOwnership,
    FakeRedrives,
    FakeRuns,
    fake_starts,
)

ROWS = [[str(row), f"text {row}"] for row in range(1, 9)]
FAILING = {3, 5}
THREE_ATTEMPTS = {"retry_policy": {"max_attempts": 3, "jitter": False}}


class MetricsAway:
    def put(self, target: str, values: dict[str, tuple[float, str]]) -> None:
        raise ServiceUnavailableError("no metrics")


class World:
    """A batch of which rows 3 and 5 fail, with a dead-letter queue that can be away."""

    def __init__(self, **document: Any) -> None:
        self.store = FakeObjectStore(smallest_part=0)
        self.clock = FakeClock()
        self.queue = FakeDeadLetters()
        self.called: list[int] = []
        self.invoker = FakeInvoker(self.answer)
        document.setdefault("execution_config", THREE_ATTEMPTS)
        self.plan: Plan = make_plan(ROWS, store=self.store, threads=1, **document)
        self.batches = Batches(self.store, self.clock)

    def answer(self, payload: bytes, _: float) -> bytes | Outcome:
        sent = orjson.loads(payload)
        row = int(sent["id"].split(":")[1])
        self.called.append(row)
        if row in FAILING:
            return thrown_error("Boom", "broke")
        return orjson.dumps({"type": "tool_result", "tool_use_id": sent["id"], "content": "fine"})

    def run(self) -> ToolRowsResponse:
        return process_tool_rows(
            ToolRowsRequest(BatchInput=BatchReference(plan_key=KEYS.plan), Items=staged_items(ROWS)),
            batches=self.batches,
            invoker=self.invoker,
            dead_letters=self.queue,
            ownership=FakeOwnership(self.clock),
            clock=self.clock,
            deadline=FakeDeadline(),
        )

    def aggregate(self) -> AggregateResponse:
        return aggregate_results(
            AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=KEYS.plan),
            batches=self.batches,
            dead_letters=self.queue,
            metrics=MetricsAway(),
            ownership=FakeOwnership(self.clock),
            redrives=FakeRedrives(),
            clock=self.clock,
            deadline=FakeDeadline(),
        )

    @property
    def warnings(self) -> list[str]:
        warnings: list[str] = json_of(self.store.objects[KEYS.summary])["warnings"]
        return warnings


def test_with_queue_and_metrics_away_each_attempt_is_made_once_and_the_output_is_complete() -> None:
    world = World()
    world.queue.is_away = True

    response = world.run()

    assert response == ToolRowsResponse(succeeded=6, failed=2)
    assert sorted(world.called) == sorted([1, 2, *[3] * 3, 4, *[5] * 3, 6, 7, 8])
    document = world.aggregate().document or {}
    assert (document["succeeded"], document["failed"]) == (6, 2)
    assert world.store.objects[KEYS.output].count(b"\n") == 9
    (warning,) = world.warnings
    assert warning.startswith("The dead-letter queue did not take the letters of 2 failed rows: 3, 5. ")
    assert "sqs:SendMessage" in warning


def test_a_batch_that_is_called_again_runs_no_failed_row_again() -> None:
    world = World()
    world.queue.is_away = True
    world.run()
    world.called.clear()

    assert world.run() == ToolRowsResponse()
    assert world.called == []


def test_a_queue_that_is_back_at_the_end_has_every_letter_with_its_input() -> None:
    world = World()
    world.queue.is_away = True
    world.run()
    world.queue.is_away = False

    world.aggregate()

    assert world.queue.letters == [
        {
            "execution_id": "run-1",
            "batch_name": "echo",
            "target": "echo",
            "row": row,
            "status": "FAILED",
            "error": "Boom: broke",
            "attempts": 3,
            "input": {"id": str(row), "text": f"text {row}"},
        }
        for row in (3, 5)
    ]
    assert world.warnings == []


def test_letters_that_a_worker_sent_are_not_sent_again() -> None:
    world = World()
    world.run()
    world.aggregate()

    assert [letter["row"] for letter in world.queue.letters] == [3, 5]


def test_a_worker_tries_a_queue_that_is_away_once() -> None:
    world = World()
    world.queue.is_away = True
    commit = Commit(open_batch(world.plan, world.store), world.queue)
    for row in (1, 2, 3):
        commit.write([failed_row(world, row)])

    assert world.queue.tries == 1
    assert [stored.key for stored in world.store.list_objects(KEYS.letters)] == []


def all_failed_with_the_queue_away() -> World:
    world = World()
    world.queue.is_away = True
    commit = Commit(open_batch(world.plan, world.store), world.queue)
    for row in range(1, 9):
        commit.write([failed_row(world, row)])
    world.queue.tries = 0
    return world


def test_a_queue_that_comes_back_while_rows_are_put_together_gets_the_letters_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Queue(FakeDeadLetters):
        def send(self, letters: Iterable[dict[str, Any]]) -> None:
            self.is_away = self.tries == 0
            super().send(letters)

    monkeypatch.setattr(letters, "MOST_LETTERS", 1)
    monkeypatch.setattr(letters, "PAUSE_MS", 0)
    world = all_failed_with_the_queue_away()
    world.queue = Queue()

    world.aggregate()

    assert [letter["row"] for letter in world.queue.letters] == list(range(2, 9))
    assert "1 failed rows: 1." in world.warnings[0]


def test_a_queue_that_is_away_is_left_alone_for_a_while_when_rows_are_put_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(letters, "MOST_LETTERS", 1)
    world = all_failed_with_the_queue_away()

    world.aggregate()

    assert world.queue.tries == 1
    assert "8 failed rows: 1, 2, 3, 4, 5, 6, 7, 8." in world.warnings[0]


def failed_row(world: World, row: int) -> FinishedRow:
    outcome = Outcome(RowStatus.FAILED, error_name="Boom", error_message="Boom: broke")
    return open_batch(world.plan, world.store).finish(
        row, ROWS[row - 1], outcome, row_hash="h", attempts=1, started_ms=0, ended_ms=1
    )


def test_an_agents_row_is_written_once_though_the_queue_is_away() -> None:
    world = World(invocation="standard")
    world.queue.is_away = True
    call = AgentCall(
        row=1, attempt=3, timeout_seconds=60, hash="h", name="n", agent_arn=world.plan.target.arn, input_bytes=1
    )

    def end() -> bool:
        request = MapOutputRequest(
            BatchInput=BatchReference(plan_key=KEYS.plan),
            Row=staged_items(ROWS)[0],
            Call=call,
            Began=datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC),
            Ended=datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC),
            ErrorOutput=CaughtError(Error="States.TaskFailed", Cause='{"Error": "Boom", "Cause": "broke"}'),
        )
        notes = BestEffort(FakeRuns())
        ended = map_output(
            request,
            batches=world.batches,
            dead_letters=world.queue,
            notes=notes,
            starts=fake_starts(FakeClock()),
        )
        return ended.again is None

    assert end()
    assert end()
    assert [stored.key for stored in world.store.list_objects(KEYS.rows)] == [KEYS.rows_object(1, 1)]


def test_a_write_that_fails_is_raised_and_sends_no_letter() -> None:
    world = World()

    class Unsteady(FakeObjectStore):
        def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
            raise ServiceUnavailableError("no answer")

    world.store.__class__ = Unsteady
    with pytest.raises(ServiceUnavailableError):
        Commit(open_batch(world.plan, world.store), world.queue).write([failed_row(world, 1)])

    assert world.queue.tries == 0


# --- the count of failures, and the brake


class CountsAway(FakeObjectStore):
    """Markers of failures cannot be written, ``times`` times."""

    times = 0
    error: type[Exception] = ServiceUnavailableError

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
        if key.startswith(KEYS.failures) and self.times:
            self.times -= 1
            raise self.error("no answer")
        return super().put(key, body, tags)


def committing(limit: int, **world: Any) -> tuple[World, Batch, Commit]:
    made = World(execution_config={"stop_after": {"failed_rows": limit}, **THREE_ATTEMPTS}, **world)
    made.store.__class__ = CountsAway
    batch = open_batch(made.plan, made.store)
    return made, batch, Commit(batch, made.queue)


def test_the_limit_of_failures_is_reached_by_the_sum_of_all_workers() -> None:
    world, batch, commit = committing(5)
    commit.write([failed_row(world, 1), failed_row(world, 2)])
    Commit(open_batch(world.plan, world.store), world.queue).write([failed_row(world, 7), failed_row(world, 8)])
    assert batch.work.brake(fresh=True) is None

    commit.write([failed_row(world, 3)])

    expected = Brake("stop_after was reached: 5 failed rows", "RowFailedError", "")
    assert batch.work.brake(fresh=True) == expected


@pytest.mark.parametrize("error", [ServiceUnavailableError, DeploymentError])
def test_failures_that_could_not_be_counted_are_counted_with_the_next_ones(error: type[Exception]) -> None:
    world, batch, commit = committing(2)
    world.store.times, world.store.error = 1, error  # type: ignore[attr-defined]

    commit.write([failed_row(world, 1)])
    assert batch.rows.failed() == 0
    commit.write([failed_row(world, 4)])

    assert batch.rows.failed() == 2
    assert batch.work.brake(fresh=True) is not None


def test_without_a_limit_failures_are_only_marked() -> None:
    world = World()
    Commit(open_batch(world.plan, world.store), world.queue).write([failed_row(world, 4), failed_row(world, 5)])

    assert [stored.key for stored in world.store.list_objects(KEYS.failures)] == [KEYS.failures_marker(4, 2)]
    assert KEYS.brake not in world.store.objects


@pytest.mark.parametrize("limit", [50, 1000, 5000])
def test_a_large_limit_is_noticed_soon_after_it_is_reached_with_few_listings(limit: int) -> None:
    store = FakeObjectStore()
    rows = [[str(row), "x"] for row in range(1, limit + limit // 10 + 2)]
    plan = make_plan(rows, store=store, execution_config={"stop_after": {"failed_rows": limit}})
    batch = open_batch(plan, store)
    commit = Commit(batch, FakeDeadLetters())
    listings = 0
    original = batch.rows.failed

    def counted() -> int:
        nonlocal listings
        listings += 1
        return original()

    batch.rows.failed = counted  # type: ignore[method-assign]
    row = 0
    while KEYS.brake not in store.objects:
        row += 1
        outcome = Outcome(RowStatus.FAILED, error_message="Boom")
        commit.write([batch.finish(row, rows[row - 1], outcome, row_hash="", attempts=1, started_ms=0, ended_ms=0)])

    assert limit <= row <= limit * 1.1 + 1
    assert listings <= 200


def test_rows_that_are_missing_are_not_run_when_the_rows_themselves_say_that_too_many_failed() -> None:
    world, batch, commit = committing(2)
    world.store.times = 9  # type: ignore[attr-defined]
    commit.write([failed_row(world, 1), failed_row(world, 2)])
    assert batch.work.brake(fresh=True) is None

    request = AggregateRequest(action=AggregateAction.FIND_MISSING, plan_key=KEYS.plan)
    response = aggregate_results(
        request,
        batches=world.batches,
        dead_letters=world.queue,
        metrics=MetricsAway(),
        ownership=FakeOwnership(world.clock),
        redrives=FakeRedrives(),
        clock=world.clock,
        deadline=FakeDeadline(),
    )

    assert response.missing == 0
    assert json_of(world.store.objects[KEYS.brake])["error"] == "RowFailedError"
