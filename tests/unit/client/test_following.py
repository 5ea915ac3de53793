"""Following an execution: what is shown each second, and how little is asked of AWS."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from batch_processor_client import following, runs
from batch_processor_client.console import followers
from batch_processor_client.deployment import Deployment
from batch_processor_client.executions import Ending
from batch_processor_client.following import follow
from batch_processor_client.progress import Progress
from foundation.errors import ThrottledError
from row_batches.document.plan import Plan
from row_batches.run.blanks import Blanks
from row_batches.run.process_tool_rows import flush_seconds
from row_batches.run.runs import Counts, Run
from tests.support.batches import EXECUTION, make_plan
from tests.support.fakes import FakeObjectStore, FakeRuns
from tests.unit.client.fakes import OUTPUTS, FakeStates

RUNNING = {"status": "RUNNING"}
SUCCEEDED = {"status": "SUCCEEDED", "output": json.dumps({"total_rows": 10})}
MAP_RUN = {"mapRunArn": "arn:map-run", "startDate": datetime(2026, 1, 1, tzinfo=UTC)}
ROWS = 300
LANES = 5


class World:
    """A run, its table and its plan; a clock that only waiting moves; and the requests of each second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, descriptions: list[dict[str, Any]], rows: int = 10) -> None:
        self.store, self.runs = FakeObjectStore(), FakeRuns()
        self.states = FakeStates(descriptions, [MAP_RUN], [{"running": 2}])
        self.plan: Plan | None = None
        self.rows = rows
        self.second = 0.0
        self.requests: Counter[float] = Counter()
        monkeypatch.setattr(Deployment, "client", lambda _, service, config=None: self.states)
        monkeypatch.setattr(following, "DynamoDbRuns", lambda *_: self)
        monkeypatch.setattr(runs, "S3ObjectStore", lambda *_: self)
        monkeypatch.setattr(self.states, "called", lambda _: self.request())
        self.deployment = Deployment.model_validate(OUTPUTS)

    def request(self) -> None:
        self.requests[self.second] += 1

    def begin(self, **document: Any) -> None:
        """Write the plan, and add the run to the table."""
        self.plan = make_plan([["1", "a"]] * self.rows, store=self.store, threads=LANES, **document)
        self.runs.start(Run.of_plan(self.plan))

    def get(self, key: str) -> Any:
        """Both the object store and the table of runs, as the client sees them."""
        self.request()
        return self.store.get(key) if key.startswith("work/") else self.runs.get(key)

    def follow(self) -> Iterator[Progress]:
        return follow(self.deployment, EXECUTION, wait=self.wait, clock=lambda: self.second)

    def wait(self, seconds: float) -> None:
        self.second += seconds


def test_each_second_shows_the_counts_in_the_table_of_runs_and_the_last_one_the_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a run whose plan is written in the second second
    world = World(monkeypatch, [RUNNING, RUNNING, RUNNING, SUCCEEDED])
    looks = []
    for progress in world.follow():
        looks.append((progress.total, progress.succeeded, progress.failed))
        if len(looks) == 1:
            world.begin()
        else:
            world.runs.count(EXECUTION, Counts(succeeded=3, failed=1, timed_out=1))
    assert looks == [(None, 0, 0), (10, 0, 0), (10, 3, 2), (10, 6, 4)]
    assert progress.ending == Ending(status="SUCCEEDED", document={"total_rows": 10})


@pytest.mark.parametrize("rows", [10, 20_000])
def test_a_second_takes_three_requests_at_most_whatever_the_size(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [RUNNING] * 60 + [SUCCEEDED], rows)
    for number, _ in enumerate(world.follow()):
        if number == 2:
            world.begin()
    assert max(world.requests.values()) <= 3
    assert sum(world.requests.values()) < 2.5 * len(world.requests)


def test_two_terminals_and_a_page_on_one_run_of_20_000_rows_show_the_same_counts_within_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given three who look at a run, each at its own moment of every second
    world = World(monkeypatch, [RUNNING] * 200, 20_000)
    world.begin()
    unhurried = partial(follow, world.deployment, EXECUTION, wait=lambda _: None, clock=lambda: world.second)
    monkeypatch.setattr(followers, "follow", lambda *_, **__: unhurried())
    page = followers.Followers(world.deployment, clock=lambda: world.second)
    terminals = [unhurried(), unhurried()]
    lookers: list[Callable[[], Progress]] = [
        *(partial(next, terminal) for terminal in terminals),
        lambda: page.progress(EXECUTION),
    ]
    moments = [0.0, 0.3, 0.6]
    finished = [0]
    for second in range(30):
        for moment, look in zip(moments, lookers, strict=True):
            world.second = second + moment
            # Then each shows what the table of runs had at most two seconds before
            assert look().succeeded >= finished[max(0, second - 2)]
            assert world.requests[world.second] <= 3
        world.runs.count(EXECUTION, Counts(succeeded=400))
        finished.append(finished[-1] + 400)
    world.second = 40.0
    assert {look().succeeded for look in lookers} == {12_000}


def test_rows_in_flight_are_those_of_the_running_children_and_never_more_than_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, [RUNNING] * 30 + [SUCCEEDED])
    world.begin()
    seen = []
    for progress in world.follow():
        seen.append(progress.in_flight)
        if len(seen) == 20:
            world.runs.count(EXECUTION, Counts(succeeded=7))
    assert (seen[0], seen[15], seen[25]) == (None, 10, 3)


def test_what_the_table_of_runs_cannot_say_is_what_it_said_last(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [RUNNING] * 3 + [SUCCEEDED])
    world.begin()
    world.runs.count(EXECUTION, Counts(succeeded=4))
    seen = []
    for progress in world.follow():
        seen.append(progress.succeeded)
        world.runs.broken = ThrottledError("slow down")
    assert seen == [4, 4, 4, 4]


def test_columns_that_stay_empty_are_known_while_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [RUNNING, RUNNING, SUCCEEDED])
    world.begin(output_mapping={"columns": [{"name": "mood", "source": "$.sentimnet"}]})
    world.runs.count(EXECUTION, Counts(succeeded=5))
    world.runs.count_blanks(EXECUTION, Blanks(missing={"mood": 5}, keys={"$": {"sentiment": 5}}))
    first = next(world.follow())
    assert [column.closest for column in first.empty] == ["$.sentiment"]


def test_300_rows_of_a_second_at_concurrency_5_move_the_bar_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a worker with five calls in flight, each of a second, which writes its rows as the product does
    seconds = ROWS // LANES
    world = World(monkeypatch, [RUNNING] * (seconds + 1) + [SUCCEEDED], ROWS)
    world.begin()
    monkeypatch.setattr(world, "wait", lambda _: None)  # time moves on once for two people
    world.states.descriptions = [each for each in world.states.descriptions for _ in range(2)]
    two_people = zip(world.follow(), world.follow(), strict=True)
    written_at, unwritten, shown = 0.0, 0, []
    for one, other in two_people:
        assert (one.done, one.failed) == (other.done, other.failed)
        shown.append(one)
        world.second, unwritten = world.second + 1, unwritten + LANES
        if world.second - written_at >= flush_seconds(world.second):
            world.runs.count(EXECUTION, Counts(succeeded=unwritten))
            written_at, unwritten = world.second, 0
    # Then each second shows more rows than the one before, and from the first tenth on, the time left is right
    done = [progress.done for progress in shown]
    assert done[: seconds + 1] == [LANES * second for second in range(seconds + 1)]
    for second in range(seconds // 10, seconds):
        assert shown[second].seconds_left == pytest.approx(seconds - second, rel=0.2)


def test_a_worker_writes_less_often_as_the_run_goes_on() -> None:
    assert [flush_seconds(age) for age in (0, 60, 120, 300, 86_400)] == [1.0, 1.0, 2.0, 5.0, 5.0]
