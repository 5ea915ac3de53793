"""A job settles when the facts say that nothing of it can be lost any more."""

from __future__ import annotations

import json
import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from bedrock_batches.results.reconcile import reconcile, reconcile_event
from bedrock_batches.results.settle import SettleServices, heal, settle_jobs
from bedrock_batches.results.take_results import take_objects
from bedrock_batches.submit.records_in_flight import write_in_flight
from bedrock_batches.sync.failed_items import FAILED_PREFIX
from bedrock_batches.sync.merge import SyncServices
from foundation.errors import ServiceUnavailableError
from tests.support.bedrock_results import (
    JOB_ID,
    FakeBedrock,
    FakeClaims,
    FakeJobs,
    FakeLeases,
    FakeObjects,
    KilledError,
    Process,
    World,
    add_job,
    answer_line,
    error_line,
    output_file_key,
    violation_id,
)
from tests.support.content import update
from tests.unit.bedrock_batches.sync.test_sync_lake import FakeLake, RecordedMetrics

FAILED_KEY = f"{FAILED_PREFIX}2025-11-24/1-1.jsonl"


@dataclass
class Lake(FakeLake):
    """Also says which rows have content."""

    agencies: Any = ("osha",)
    asked: list[int] = field(default_factory=list)

    def have_content(self, violation_ids: Collection[str]) -> dict[str, bool]:
        self.asked.append(len(violation_ids))
        return {one: row is not None for one, row in self.tables["osha"].items() if one in violation_ids}


@dataclass
class Contents:
    """The content that the results wrote, as items."""

    world: World

    def current(self, violation_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        return {
            one: {
                "PK": f"VIOLATION#{one}",
                "SK": "BEDROCK_CONTENT",
                "agency": item["agency"],
                "title_bedrock": item["title"],
                "generated_at": item["generated_at"],
            }
            for one, item in self.world.violations.items()
            if one in violation_ids
        }

    def with_content(self, violation_ids: Collection[str]) -> set[str]:
        return set(self.current(violation_ids))

    def page(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        raise AssertionError("not used here")


@pytest.fixture
def world() -> World:
    """A job of two parts, four records each; of each part the last record failed."""
    world = World()
    add_job(world, [4, 4])
    for part, first in ((1, 0), (2, 4)):
        lines = [answer_line(violation_id(n)) for n in range(first, first + 3)]
        world.put(output_file_key(part), b"".join([*lines, error_line(violation_id(first + 3))]))
    return world


@pytest.fixture
def lake() -> Lake:
    return Lake(tables={"osha": {violation_id(n): None for n in range(8)}})


@pytest.fixture
def bedrock() -> FakeBedrock:
    return FakeBedrock()


def services(world: World, lake: Lake) -> SettleServices:
    process: Any = Process(world)
    sync = SyncServices(
        lake, Contents(world), FakeLeases(process), FakeObjects(process), RecordedMetrics(), process, process, "sync"
    )
    return SettleServices(FakeJobs(process), FakeClaims(process), lake, sync)


def end(world: World, bedrock: FakeBedrock, *parts: int) -> None:
    """Bedrock completes the job, and the results of these parts are taken."""
    for part in (1, 2):
        bedrock.end(part, "Completed")
    take_objects([output_file_key(part) for part in parts or (1, 2)], Process(world, owner="taker").result_services())
    reconcile(JOB_ID, Process(world, bedrock=bedrock).reconcile_services())


def merge(lake: Lake, world: World, *numbers: int) -> None:
    for one in map(violation_id, numbers):
        item = Contents(world).current([one])[one]
        lake.tables["osha"][one] = update(one, title=item["title_bedrock"])


def test_a_job_settles_when_the_lake_has_all_its_content(world: World, lake: Lake, bedrock: FakeBedrock) -> None:
    # Given a job that has ended, and whose content is on its way
    end(world, bedrock)
    assert world.jobs[JOB_ID]["outputsTaken"] is True
    merge(lake, world, 0, 1, 2, 4, 5)
    assert settle_jobs(services(world, lake)) == []
    assert "settledAt" not in world.jobs[JOB_ID]
    # When the last of it is merged
    merge(lake, world, 6)
    # Then the job settles, and expires 30 days later
    assert settle_jobs(services(world, lake)) == [JOB_ID]
    assert world.jobs[JOB_ID]["ttl"] == world.now_ms // 1000 + 30 * 86_400
    assert world.in_flight == set()
    assert max(lake.asked) == 4, "one part at a time"


def test_records_that_are_gone_from_the_lake_or_whose_content_was_deleted_are_not_waited_for(
    world: World, lake: Lake, bedrock: FakeBedrock
) -> None:
    end(world, bedrock)
    merge(lake, world, 0, 1, 4, 5)
    del lake.tables["osha"][violation_id(2)]
    del world.violations[violation_id(6)]
    assert settle_jobs(services(world, lake)) == [JOB_ID]


@pytest.mark.parametrize(("kind", "settled"), [("passing", []), ("permanent", [JOB_ID])])
def test_content_that_can_never_merge_is_not_waited_for_what_may_pass_is(
    world: World, lake: Lake, bedrock: FakeBedrock, kind: str, settled: list[str]
) -> None:
    end(world, bedrock)
    merge(lake, world, 0, 1, 2, 4, 5)
    item = {"PK": f"VIOLATION#{violation_id(6)}", "SK": "BEDROCK_CONTENT"}
    world.put(FAILED_KEY, json.dumps({"reason": "so", "kind": kind, "item": item}).encode())
    assert settle_jobs(services(world, lake)) == settled


def test_content_that_the_stream_lost_is_merged_and_no_job_buys_it_again(
    world: World, lake: Lake, bedrock: FakeBedrock, tmp_path: Any
) -> None:
    # Given a job whose content never reached the lake, a day and more after its end
    end(world, bedrock)
    world.sleep_minutes(30 * 60)
    process: Any = Process(world)
    held = write_in_flight(_InFlight(world, process), tmp_path)
    assert sorted(line.split("\t")[0] for path in held for line in path.read_text().splitlines()) == [
        violation_id(n) for n in (0, 1, 2, 4, 5, 6)
    ]
    # When the clock comes by, Then the content is merged and the job settles
    assert heal(services(world, lake))["settled"] == [JOB_ID]
    assert [one for one, row in lake.tables["osha"].items() if row is None] == [violation_id(3), violation_id(7)]


class _InFlight:
    def __init__(self, world: World, process: Any) -> None:
        self.jobs = FakeJobs(process)
        self.objects = FakeObjects(process)


def test_a_job_waits_while_the_lake_cannot_be_written(world: World, lake: Lake, bedrock: FakeBedrock) -> None:
    end(world, bedrock)
    world.sleep_minutes(30 * 60)
    lake.failures = {"osha": ServiceUnavailableError("away")}
    assert heal(services(world, lake))["settled"] == []
    lake.failures = {}
    assert heal(services(world, lake))["settled"] == [JOB_ID]
    assert world.keys(FAILED_PREFIX) == []


def test_a_job_without_content_settles_at_its_end(world: World, bedrock: FakeBedrock) -> None:
    for part in (1, 2):
        world.objects.pop(output_file_key(part))
        bedrock.end(part, "Failed", "Invalid input")
    reconcile(JOB_ID, Process(world, bedrock=bedrock).reconcile_services())
    assert (world.jobs[JOB_ID]["status"], "settledAt" in world.jobs[JOB_ID]) == ("Failed", True)
    assert world.in_flight == set()


def test_a_job_whose_announced_output_is_missing_is_looked_at_for_a_day(world: World, bedrock: FakeBedrock) -> None:
    outputs = [world.objects.pop(output_file_key(part)) for part in (1, 2)]
    for part in (1, 2):
        bedrock.end(part, "Completed")
    run = lambda: reconcile_event({}, Process(world, bedrock=bedrock).reconcile_services())  # noqa: E731
    run()
    world.sleep_minutes(11)
    run()
    assert (world.jobs[JOB_ID]["status"], "settledAt" in world.jobs[JOB_ID]) == ("Failed", False)
    # When one of the two comes hours later, and its notification is lost
    world.sleep_minutes(6 * 60)
    world.put(output_file_key(1), outputs[0])
    world.sleep_minutes(2)
    call = Process(world, bedrock=bedrock)
    reconcile_event({}, call.reconcile_services())
    # Then it is taken all the same
    take_objects(call.calls[0]["takeObjects"], Process(world, owner="taker").result_services())
    run()
    assert world.jobs[JOB_ID]["stats"] == {"processed": 3, "errors": 1, "total": 8}


def test_an_output_after_the_end_whose_taker_is_killed_is_taken_by_the_clock(
    world: World, lake: Lake, bedrock: FakeBedrock
) -> None:
    # Given a job that ended and settled with the first part's results, before the second part's object was there
    late = world.objects.pop(output_file_key(2))
    end(world, bedrock, 1)
    world.sleep_minutes(11)
    reconcile(JOB_ID, Process(world, bedrock=bedrock).reconcile_services())
    merge(lake, world, 0, 1, 2)
    assert settle_jobs(services(world, lake)) == [JOB_ID]
    # When the object comes, and its taker is killed
    world.put(output_file_key(2), late)
    with pytest.raises(KilledError):
        take_objects([output_file_key(2)], Process(world, owner="taker", kill_at=5).result_services())
    # Then the clock gives it to another taker
    world.sleep_minutes(2)
    call = Process(world, bedrock=bedrock)
    reconcile_event({"detail-type": "Scheduled Event"}, call.reconcile_services())
    take_objects(call.calls[0]["takeObjects"], Process(world, owner="another").result_services())
    reconcile(JOB_ID, Process(world, bedrock=bedrock).reconcile_services())
    assert world.jobs[JOB_ID]["stats"] == {"processed": 6, "errors": 2, "total": 8}
    merge(lake, world, 4, 5, 6)
    assert settle_jobs(services(world, lake)) == [JOB_ID]


def test_a_job_of_the_release_before_does_not_expire_before_it_settles(world: World, bedrock: FakeBedrock) -> None:
    world.jobs[JOB_ID]["ttl"] = 7
    for part in (1, 2):
        bedrock.end(part, "InProgress")
    reconcile(JOB_ID, Process(world, bedrock=bedrock).reconcile_services())
    assert "ttl" not in world.jobs[JOB_ID]


def test_one_jobs_fault_keeps_no_other_from_settling(
    world: World, lake: Lake, bedrock: FakeBedrock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "shuffle", lambda jobs: jobs.sort())
    end(world, bedrock)
    merge(lake, world, 0, 1, 2, 4, 5, 6)
    broken = "batch-1700000000-0123abcd"
    world.jobs[broken] = {**world.jobs[JOB_ID], "jobId": broken}
    world.parts[broken] = world.parts[JOB_ID]
    world.in_flight.add(broken)
    monkeypatch.setattr(FakeClaims, "of_job", _failing_for(broken, FakeClaims.of_job))
    with pytest.raises(TypeError):
        settle_jobs(services(world, lake))
    assert "settledAt" in world.jobs[JOB_ID]


def _failing_for(job_id: str, original: Any) -> Any:
    def of_job(self: FakeClaims, wanted: str) -> Any:
        if wanted == job_id:
            raise TypeError("a fault of ours")
        return original(self, wanted)

    return of_job
