"""Following an execution within the quotas of the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from batch_processor_client.executions import Ending
from batch_processor_client.following import Follower
from row_batches.run.blanks import Blanks
from row_batches.run.causes import Cause
from row_batches.run.runs import Counts, Run
from tests.support.fakes import FakeRuns
from tests.unit.client.fakes import EXECUTION, FakeStates, FakeStorage

RUNNING = {"status": "RUNNING"}
MAP_RUN = {"mapRunArn": "arn:map-run", "startDate": datetime(2026, 1, 1, tzinfo=UTC)}
RUN = Run(
    execution="night-run",
    arn=EXECUTION,
    batch_name="night",
    target="echo",
    target_version="1",
    total_rows=10,
    plan_key="",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    estimate_usd=0,
)


def follower(states: FakeStates, storage: FakeStorage, waited: list[float]) -> Follower:
    return Follower(
        states, storage, FakeRuns(), "results", EXECUTION, wait=waited.append, clock=lambda: float(len(waited))
    )


def test_an_execution_is_followed_to_its_ending_with_one_map_run_call_a_second() -> None:
    # Given an execution that ends at the fifth look, its map run starting with the second
    output = {"status": "SUCCEEDED", "output": json.dumps({"total_rows": 10})}
    states = FakeStates([RUNNING] * 4 + [output], [MAP_RUN], [{"succeeded": 4}, {"succeeded": 9}])
    storage = FakeStorage(
        {"work/night-run/plan.json": b'{"total_rows": 10, "target": {}, "config": {"output_mapping": {}}}'}
    )
    waited: list[float] = []
    # When it is followed
    followed = follower(states, storage, waited)
    *looks, ending = list(followed.follow())
    # Then there was a pause after each look, and in each at most one call about the map run
    assert (looks, waited) == ([None] * 4, [1.0] * 4)
    assert [call for call in states.calls if call != "DescribeExecution"] == ["ListMapRuns"] + ["DescribeMapRun"] * 3
    assert ending == Ending(status="SUCCEEDED", document={"total_rows": 10})
    assert (followed.progress.total, followed.progress.done) == (10, 9)


def test_failures_are_listed_every_five_seconds_and_at_the_end() -> None:
    # Given markers that appear while an execution runs
    states = FakeStates([RUNNING] * 6 + [{"status": "SUCCEEDED", "output": "{}"}], [MAP_RUN], [{"succeeded": 1}])
    storage = FakeStorage({"work/night-run/failed/000000000001-1": b""})
    waited: list[float] = []
    followed = follower(states, storage, waited)
    seen = []
    for _ in followed.follow():
        seen.append(followed.progress.failed)
        storage.objects[f"work/night-run/failed/{len(seen) + 1:012d}-1"] = b""
    # Then the count stands between two listings
    assert seen == [1, 1, 1, 1, 1, 6, 7]


def test_the_total_is_unknown_until_the_plan_is_written() -> None:
    states = FakeStates([RUNNING, {"status": "SUCCEEDED", "output": "{}"}])
    followed = follower(states, FakeStorage(), [])
    list(followed.follow())
    assert followed.progress.total is None


def test_columns_that_stay_empty_are_known_while_the_run_goes_on() -> None:
    plan = {
        "total_rows": 10,
        "target": {},
        "config": {"output_mapping": {"columns": [{"name": "mood", "source": "$.sentimnet"}]}},
    }
    storage = FakeStorage({"work/night-run/plan.json": json.dumps(plan).encode()})
    followed = follower(FakeStates(), storage, [])
    followed.runs.start(RUN)
    followed.runs.count("night-run", Counts(succeeded=5))
    followed.runs.count_blanks("night-run", Blanks(missing={"mood": 5}, keys={"$": {"sentiment": 5}}))
    followed.look()
    assert [column.closest for column in followed.progress.empty] == ["$.sentiment"]


def test_the_causes_of_failed_rows_are_known_while_the_run_goes_on() -> None:
    followed = follower(FakeStates(), FakeStorage(), [])
    followed.runs.start(RUN)
    followed.runs.count_causes("night-run", [Cause(error="Boom", message="it [broke]", count=12, rows=[3])])
    followed.runs.count_causes("night-run", [Cause(error="Slow", message="it took long", count=1, rows=[4])])

    followed.look()

    assert followed.progress.notes(datetime.now(UTC)) == ["12 × Boom: it [broke] (and 1 more)"]
