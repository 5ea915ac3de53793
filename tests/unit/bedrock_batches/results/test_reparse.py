"""Kept answers are read again by a better reader, and nobody pays for them again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bedrock_batches.results import reparse as module
from bedrock_batches.results import take_results
from bedrock_batches.results.model_output import NO_ANSWER, FailureKind, RecordFailure, RecordResult, read_result
from bedrock_batches.results.reconcile import reconcile
from bedrock_batches.results.reparse import Reparsed, reparse
from bedrock_batches.results.take_results import take_objects
from bedrock_batches.submit.names import record_id
from foundation.errors import InvalidInputError
from tests.support.bedrock_results import (
    JOB_ID,
    FakeBedrock,
    KilledError,
    Process,
    World,
    add_job,
    answer_line,
    error_line,
    output_file_key,
    violation_id,
)


def strict(line: bytes) -> RecordResult:
    """A reader of an earlier release, which takes nothing in a fence."""
    result = read_result(line)
    if b"```" not in line:
        return result
    return RecordResult(
        result.record_id, NO_ANSWER, failure=RecordFailure(FailureKind.UNREADABLE, "no JSON", raw_text="…")
    )


def fenced(record: str) -> bytes:
    content = {"title": f"Title of {record}", "description": "What happened.", "tags": ["a"]}
    return answer_line(record, f"```json\n{json.dumps(content)}\n```")


@pytest.fixture(params=[1, 2], ids=["by id", "by place"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """A job of two parts that ended. Of each, the earlier reader could not read two answers, and one that no reader
    can; one record was refused."""
    world = World()
    add_job(world, [6, 6], schemaVersion=request.param)
    name = record_id if request.param == 2 else violation_id
    bedrock = FakeBedrock()
    for part, first in ((1, 0), (2, 6)):
        lines = [
            answer_line(name(first)),
            answer_line(name(first + 1)),
            fenced(name(first + 2)),
            fenced(name(first + 3)),
        ]
        lines += [answer_line(name(first + 4), "I would rather not."), error_line(name(first + 5))]
        world.put(output_file_key(part), b"".join(lines))
        bedrock.end(part, "Completed")
    with monkeypatch.context() as earlier:
        earlier.setattr(take_results, "read_result", strict)
        take_objects([output_file_key(1), output_file_key(2)], Process(world, owner="taker").result_services())
    reconcile(JOB_ID, Process(world, bedrock=bedrock).reconcile_services())
    assert world.jobs[JOB_ID]["stats"] == {"processed": 4, "errors": 8, "total": 12}
    return world


def run(world: World, dry_run: bool = False, **process: Any) -> tuple[Reparsed, Process]:
    call = Process(world, **process)
    return reparse(JOB_ID, call.result_services(), dry_run=dry_run), call


def test_a_dry_run_says_what_would_be_read_and_changes_nothing(world: World) -> None:
    before = (dict(world.objects), dict(world.violations), dict(world.claims))
    found, call = run(world, dry_run=True)
    assert found.document() == {
        "jobId": JOB_ID,
        "dryRun": True,
        "last": max(claim.key for claim in world.claims.values()),
        "answers": 6,
        "read": 4,
        "repaired": 0,
        "costUSD": 0.0,
        "complete": True,
    }
    assert (world.objects, world.violations, world.claims) == before
    assert (call.writes, call.reconciled) == (0, [])


def test_what_is_read_is_stored_counted_and_no_failure_any_more(world: World) -> None:
    found, call = run(world)
    assert (found.answers, found.read) == (6, 4)
    assert {violation_id(n) for n in (2, 3, 8, 9)} <= world.violations.keys()
    assert world.violations[violation_id(2)]["agency"] == "osha"
    left = sorted(line["recordId"] for line in world.failed_lines())
    assert left == [violation_id(n) for n in (4, 5, 10, 11)]
    # And the job says so
    assert call.reconciled == [{"jobId": JOB_ID}]
    reconcile(JOB_ID, Process(world).reconcile_services())
    assert world.jobs[JOB_ID]["stats"] == {"processed": 8, "errors": 4, "total": 12}
    # And a second time there is nothing left to read
    assert run(world)[0].read == 0


def test_a_job_that_had_settled_waits_for_the_lake_again(world: World) -> None:
    world.jobs[JOB_ID] |= {"settledAt": "2025-11-24T16:00:00.000Z", "ttl": 7}
    world.in_flight.clear()
    run(world)
    reconcile(JOB_ID, Process(world).reconcile_services())
    assert "settledAt" not in world.jobs[JOB_ID]
    assert world.in_flight == {JOB_ID}


@pytest.mark.parametrize("kill_at", range(1, 8))
def test_a_call_that_is_killed_at_any_write_is_made_up_for(world: World, kill_at: int) -> None:
    with pytest.raises(KilledError):
        run(world, kill_at=kill_at)
    run(world, owner="another")
    reconcile(JOB_ID, Process(world).reconcile_services())
    assert world.jobs[JOB_ID]["stats"] == {"processed": 8, "errors": 4, "total": 12}
    assert len(world.failed_lines()) == 4


def test_newer_content_stays(world: World) -> None:
    world.violations[violation_id(2)] = {"title": "N", "generated_at": "2030-01-01T00:00:00.000Z"}
    run(world)
    assert world.violations[violation_id(2)]["title"] == "N"


def test_an_object_that_is_gone_is_left_out(world: World) -> None:
    del world.objects[output_file_key(1)]
    assert run(world)[0].read == 2


def test_a_call_without_time_says_that_there_is_more(world: World) -> None:
    found, _ = run(world, looks=1)
    assert (found.read, found.complete) == (2, False)
    assert run(world)[0].document()["read"] == 2


def test_a_job_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no such job"):
        module.reparse("batch-1-a", Process(World()).result_services(), dry_run=True)
