"""A job's items follow Bedrock, the output objects and the claims, whatever events come or do not come."""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import replace
from typing import Any

import pytest

from bedrock_batches.results.reconcile import Reconciled, reconcile, reconcile_event
from bedrock_batches.results.take_results import take_objects
from bedrock_batches.submit.names import output_prefix
from bedrock_batches.submit.ports import JobRefusedError
from foundation.errors import ServiceUnavailableError, ThrottledError
from tests.support.bedrock_results import (
    CREATED_AT,
    JOB_ID,
    FakeBedrock,
    KilledError,
    Process,
    World,
    add_job,
    answer_line,
    bedrock_id,
    error_line,
    job_arn,
    output_file_key,
    violation_id,
)

EVENT = {
    "source": "aws.bedrock",
    "detail-type": "Batch Inference Job State Change",
    "detail": {"batchJobName": f"{JOB_ID}-0001", "status": "Completed"},
}
PRICE = {"inputUSDPer1kTokens": "0.1", "outputUSDPer1kTokens": "0.2", "maxTokens": 100}


@pytest.fixture
def world() -> World:
    world = World()
    add_job(world, [4], price=PRICE)
    return world


@pytest.fixture
def bedrock() -> FakeBedrock:
    bedrock = FakeBedrock()
    bedrock.end(1, "InProgress")
    return bedrock


def run(world: World, bedrock: FakeBedrock, **process: Any) -> tuple[Reconciled, Process]:
    call = Process(world, bedrock=bedrock, **process)
    return reconcile(JOB_ID, call.reconcile_services()), call


def write_output(world: World, part: int = 1, numbers: tuple[int, ...] = (0, 1, 2, 3), manifest: bool = True) -> None:
    world.put(output_file_key(part), b"".join(answer_line(violation_id(n)) for n in numbers))
    if manifest:
        counts = {"inputTokenCount": 1000 * len(numbers), "outputTokenCount": 500 * len(numbers)}
        world.put(f"{output_prefix(JOB_ID)}{bedrock_id(part)}/manifest.json.out", json.dumps(counts).encode())


def take(world: World, *parts: int) -> None:
    keys = [output_file_key(part) for part in parts or (1,)]
    take_objects([*keys], Process(world, owner="taker").result_services())


def test_a_running_job_shows_bedrocks_status_and_what_is_taken(world: World, bedrock: FakeBedrock) -> None:
    write_output(world, numbers=(0, 1), manifest=False)
    take(world)

    reconciled, call = run(world, bedrock)

    job = world.jobs[JOB_ID]
    assert (reconciled.status, job["status"], job["bedrockStatus"]) == ("InProgress", "InProgress", "InProgress")
    assert job["stats"] == {"processed": 2, "errors": 0, "total": 4}
    assert job["jobArn"] == job_arn(1)
    assert call.published == []


def test_a_completed_job_has_counts_tokens_cost_and_one_message(world: World, bedrock: FakeBedrock) -> None:
    write_output(world)
    take(world)
    bedrock.end(1, "Completed")

    reconciled, call = run(world, bedrock)

    job = world.jobs[JOB_ID]
    assert (reconciled.status, job["status"], job["bedrockStatus"]) == ("Completed", "Completed", "Completed")
    assert job["stats"] == {"processed": 4, "errors": 0, "total": 4}
    assert (job["inputTokens"], job["outputTokens"], job["actualCostUSD"]) == (4000, 2000, 0.8)
    assert job["processedAt"] == "2025-11-24T16:00:00.000Z"
    assert "message" not in job
    (message,) = call.published
    assert (message["status"], message["stats"]["processed"]) == ("Completed", 4)
    assert world.parts[JOB_ID][1]["status"] == "ended"


def test_the_reasons_of_failed_records_are_grouped_counted_and_watched(world: World, bedrock: FakeBedrock) -> None:
    # Given three records that the model refuses, with one reason but for its numbers, and one with content
    refused = [error_line(violation_id(n), 400, f"Input {n} is too long: 9,00{n} tokens") for n in (1, 2, 3)]
    world.put(output_file_key(1), answer_line(violation_id(0)) + b"".join(refused))
    take(world)
    bedrock.end(1, "Completed")
    # When the job ends
    _, call = run(world, bedrock)
    # Then the job says so, and three quarters of failures are a metric
    (group,) = world.jobs[JOB_ID]["failures"]
    assert group == {
        "error": "Bedrock could not process the record",
        "reason": "Input 1 is too long: 9,001 tokens",
        "code": 400,
        "count": 3,
        "example": violation_id(1),
        "sameInputFails": True,
    }
    assert call.metrics.sets == [("bedrock_job_events", {"FailedRecordsPercent": (75.0, "Percent")})]
    assert call.published[0]["failures"] == [group]


@pytest.mark.parametrize(("code", "same"), [(400, True), (403, True), (408, False), (429, False), (500, False)])
def test_only_what_the_request_itself_causes_fails_again(bedrock: FakeBedrock, code: int, same: bool) -> None:
    world = World()
    add_job(world, [1], price=PRICE)
    world.put(output_file_key(1), error_line(violation_id(0), code, "no"))
    take(world)
    bedrock.end(1, "Completed")
    run(world, bedrock)
    (group,) = world.jobs[JOB_ID]["failures"]
    assert (group["code"], group["sameInputFails"]) == (code, same)


def test_reconciling_again_changes_nothing_and_tells_nobody(world: World, bedrock: FakeBedrock) -> None:
    write_output(world)
    take(world)
    bedrock.end(1, "Completed")
    run(world, bedrock)
    before = json.dumps([world.jobs, {k: v.decode() for k, v in world.objects.items()}])
    world.sleep_minutes(60)

    _, call = run(world, bedrock)

    assert json.dumps([world.jobs, {k: v.decode() for k, v in world.objects.items()}]) == before
    assert call.published == []


def test_a_job_that_bedrock_completed_is_in_progress_until_its_results_are_taken(
    world: World, bedrock: FakeBedrock
) -> None:
    write_output(world)
    bedrock.end(1, "Completed")

    reconciled, call = run(world, bedrock)

    assert (reconciled.status, reconciled.bedrock_status) == ("InProgress", "Completed")
    assert call.calls == []  # its notification may still be on the way


def test_an_object_whose_notification_was_lost_is_given_to_the_result_function(
    world: World, bedrock: FakeBedrock
) -> None:
    write_output(world)
    bedrock.end(1, "Completed")
    world.sleep_minutes(2)

    reconciled, call = run(world, bedrock)

    assert reconciled.given == [output_file_key(1)]
    take_objects(call.calls[0]["takeObjects"], Process(world, owner="taker").result_services())
    assert run(world, bedrock)[0].status == "Completed"


def test_an_object_whose_taker_died_is_given_to_another_when_its_lease_is_over(
    world: World, bedrock: FakeBedrock
) -> None:
    write_output(world)
    bedrock.end(1, "Completed")
    with pytest.raises(KilledError):
        take_objects([output_file_key(1)], Process(world, kill_at=3).result_services())

    early, _ = run(world, bedrock)
    world.sleep_minutes(2)
    late, _ = run(world, bedrock)

    assert (early.given, late.given) == ([], [output_file_key(1)])


def test_a_completed_job_whose_output_does_not_come_fails_after_a_while(world: World, bedrock: FakeBedrock) -> None:
    bedrock.end(1, "Completed")
    first, _ = run(world, bedrock)
    world.sleep_minutes(11)
    second, _ = run(world, bedrock)

    assert (first.status, second.status) == ("InProgress", "Failed")
    assert "No record got content" in world.jobs[JOB_ID]["message"]


@pytest.mark.parametrize("status", ["Failed", "Expired", "Stopped"])
def test_a_job_that_ends_badly_does_not_stay_in_progress(world: World, bedrock: FakeBedrock, status: str) -> None:
    bedrock.end(1, status, "Something happened.")

    reconciled, call = run(world, bedrock)

    job = world.jobs[JOB_ID]
    assert (reconciled.status, job["status"], job["bedrockStatus"]) == ("Failed", "Failed", status)
    assert job["message"] == f"Part 1: {status} (Something happened)."
    assert [message["status"] for message in call.published] == ["Failed"]
    assert [line["recordId"] for line in world.failed_lines()] == [violation_id(n) for n in range(4)]
    assert world.in_flight == set()


def test_half_the_results_of_a_stopped_job_are_kept_and_the_other_half_is_listed_for_a_retry(
    world: World, bedrock: FakeBedrock
) -> None:
    write_output(world, numbers=(3, 1))
    take(world)
    bedrock.end(1, "Stopped")

    reconciled, _ = run(world, bedrock)

    assert reconciled.status == "Failed"
    assert world.jobs[JOB_ID]["stats"] == {"processed": 2, "errors": 0, "total": 4}
    assert sorted(world.violations) == [violation_id(1), violation_id(3)]
    lines = world.failed_lines()
    assert [(line["recordId"], line["agency"]) for line in lines] == [(violation_id(n), "osha") for n in (0, 2)]
    assert {line["error"] for line in lines} == {"Not processed by Bedrock"}
    assert world.keys("bedrock-batches/errors/") == [f"bedrock-batches/errors/{JOB_ID}/0001-unanswered.jsonl"]
    assert world.in_flight == {JOB_ID}


def test_the_answers_of_a_stopped_job_are_waited_for_though_their_object_comes_after_the_status(
    world: World, bedrock: FakeBedrock
) -> None:
    # Given a job that is stopped with two records processed, whose object is not there yet
    bedrock.end(1, "Stopped", processed=2)
    assert run(world, bedrock)[0].status == "InProgress"
    # When the object comes
    write_output(world, numbers=(3, 1))
    take(world)
    # Then it counts
    assert run(world, bedrock)[0].status == "Failed"
    assert world.jobs[JOB_ID]["stats"] == {"processed": 2, "errors": 0, "total": 4}
    assert world.in_flight == {JOB_ID}


def test_they_are_not_waited_for_for_ever(world: World, bedrock: FakeBedrock) -> None:
    bedrock.end(1, "Stopped", processed=2)
    run(world, bedrock)
    world.sleep_minutes(11)

    assert run(world, bedrock)[0].status == "Failed"


def test_records_whose_results_come_after_the_end_are_in_flight_again(world: World, bedrock: FakeBedrock) -> None:
    bedrock.end(1, "Stopped")
    run(world, bedrock)
    assert world.in_flight == set()
    write_output(world, numbers=(0, 1))
    take(world)
    run(world, bedrock)

    assert world.in_flight == {JOB_ID}


def test_a_partially_completed_job_is_completed_with_its_rest_listed(world: World, bedrock: FakeBedrock) -> None:
    write_output(world, numbers=(0, 1, 2))
    take(world)
    bedrock.end(1, "PartiallyCompleted")

    reconciled, _ = run(world, bedrock)

    assert (reconciled.status, reconciled.bedrock_status) == ("Completed", "PartiallyCompleted")
    assert [line["recordId"] for line in world.failed_lines()] == [violation_id(3)]


def test_results_that_come_after_the_end_still_count(world: World, bedrock: FakeBedrock) -> None:
    bedrock.end(1, "Stopped")
    run(world, bedrock)
    write_output(world, numbers=(0, 1, 2))
    take(world)

    _, call = run(world, bedrock)

    assert world.jobs[JOB_ID]["stats"]["processed"] == 3
    assert [line["recordId"] for line in world.failed_lines()] == [violation_id(3)]
    assert call.published == []


def test_an_object_of_the_older_layout_answers_for_all_parts(bedrock: FakeBedrock) -> None:
    world = World()
    add_job(world, [2, 3])
    bedrock.end(1, "Completed")
    bedrock.end(2, "Completed")
    key = f"{output_prefix(JOB_ID)}output.jsonl"
    world.put(key, b"".join(answer_line(violation_id(n)) for n in (0, 1, 3)) + error_line(violation_id(2)))
    take_objects([key], Process(world, owner="taker").result_services())

    reconciled, _ = run(world, bedrock)

    assert reconciled.status == "Completed"
    assert sorted(line["recordId"] for line in world.failed_lines()) == [violation_id(2), violation_id(4)]


WHOLE = f"{output_prefix(JOB_ID)}output.jsonl"
OTHER_FOLDER = f"{output_prefix(JOB_ID)}mnopqrstuvwx/input-0001.jsonl.out"


def deliver(world: World, key: str, body: bytes) -> None:
    world.sleep_minutes(1)
    world.put(key, body)
    take_objects([key], Process(world, owner="taker").result_services())


def told(world: World) -> tuple[Any, ...]:
    job = world.jobs[JOB_ID]
    return (*job["stats"].values(), job["inputTokens"], job["outputTokens"])


@pytest.mark.parametrize("key", [WHOLE, OTHER_FOLDER])
def test_a_copy_of_an_output_counts_and_costs_nothing(world: World, bedrock: FakeBedrock, key: str) -> None:
    write_output(world)
    world.put(output_file_key(1), world.objects[output_file_key(1)] + b"not JSON\n")
    take(world)
    bedrock.end(1, "Completed")
    run(world, bedrock)
    assert told(world) == (4, 0, 4, 4000, 2000)

    deliver(world, key, world.objects[output_file_key(1)])
    run(world, bedrock)

    assert told(world) == (4, 0, 4, 4000, 2000)
    assert world.jobs[JOB_ID]["actualCostUSD"] == 0.8


@pytest.mark.parametrize("key", [WHOLE, OTHER_FOLDER])
def test_a_copy_of_what_ran_on_demand_costs_nothing(world: World, bedrock: FakeBedrock, key: str) -> None:
    world.parts[JOB_ID][1] |= {"status": "ended", "bedrockStatus": "OnDemand"}
    write_output(world, manifest=False)
    take(world)
    deliver(world, key, world.objects[output_file_key(1)])

    run(world, bedrock)

    assert told(world) == (4, 0, 4, 40, 20)


@pytest.mark.parametrize("key", [WHOLE, OTHER_FOLDER])
def test_a_failed_record_that_another_object_answers_is_an_error_no_longer(
    world: World, bedrock: FakeBedrock, key: str
) -> None:
    write_output(world)
    answers = [answer_line(violation_id(n)) for n in (0, 1)]
    world.put(output_file_key(1), b"".join([*answers, error_line(violation_id(2)), error_line(violation_id(3))]))
    take(world)
    bedrock.end(1, "Completed")
    run(world, bedrock)
    assert told(world) == (2, 2, 4, 4000, 2000)

    deliver(world, key, b"".join(answer_line(violation_id(n)) for n in (2, 3)))
    run(world, bedrock)

    assert told(world) == (4, 0, 4, 4000, 2000)
    assert len(world.violations) == 4


def test_an_object_of_all_parts_beside_those_of_the_parts_counts_what_they_lack(bedrock: FakeBedrock) -> None:
    # Given a part with a manifest, one whose two answers are there, and one that has none
    world = World()
    add_job(world, [2, 3, 1])
    write_output(world, 1, (0, 1))
    write_output(world, 2, (2, 3), manifest=False)
    take(world, 1, 2)
    bedrock.end(1, "Completed")
    bedrock.end(2, "InProgress")
    bedrock.end(3, "InProgress")
    run(world, bedrock)
    assert told(world) == (4, 0, 6, 2020, 1010)
    # When the answers of all come in the older layout
    deliver(world, WHOLE, b"".join(answer_line(violation_id(n)) for n in range(6)))
    run(world, bedrock)
    # Then those of records 4 and 5 are new
    assert told(world) == (6, 0, 6, 2040, 1020)


def test_claims_of_an_earlier_version_count_as_they_did(bedrock: FakeBedrock) -> None:
    world = World()
    add_job(world, [2, 2])
    write_output(world, 1, (0, 1), manifest=False)
    world.put(output_file_key(2), answer_line(violation_id(2)) + error_line(violation_id(3)))
    take(world, 1, 2)
    bedrock.end(1, "Completed")
    bedrock.end(2, "Completed")
    for key, claim in world.claims.items():
        world.claims[key] = replace(claim, succeeded=b"")

    run(world, bedrock)

    assert told(world) == (3, 1, 4, 30, 15)


def test_lines_that_name_no_record_of_the_job_are_errors_as_far_as_records_lack_an_answer(
    world: World, bedrock: FakeBedrock
) -> None:
    write_output(world, numbers=(0, 1, 2))
    world.put(output_file_key(1), world.objects[output_file_key(1)] + b"not JSON\n" + answer_line("SOMEBODY-ELSES"))
    take(world)
    bedrock.end(1, "Completed")

    run(world, bedrock)

    assert told(world)[:3] == (3, 1, 4)


def test_queued_parts_are_submitted_as_others_end(bedrock: FakeBedrock) -> None:
    world = World()
    add_job(world, [1, 1, 1], queued=[3])
    bedrock.end(2, "InProgress")

    assert run(world, bedrock)[0].submitted == 0

    bedrock.end(1, "Completed")
    reconciled, _ = run(world, bedrock)

    assert reconciled.submitted == 1
    part = world.parts[JOB_ID][3]
    assert (part["status"], part["jobArn"], part["bedrockStatus"]) == ("submitted", job_arn(3), "Submitted")
    assert run(world, bedrock)[0].submitted == 0


def test_three_parts_with_two_at_a_time_make_one_completed_job(bedrock: FakeBedrock) -> None:
    world = World()
    add_job(world, [2, 2, 2], queued=[3])
    statuses = []
    for part in (1, 2, 3):
        bedrock.end(min(part + 1, 3), "InProgress")
        bedrock.end(part, "Completed")
        write_output(world, part, (2 * part - 2, 2 * part - 1))
        statuses.append(run(world, bedrock)[0].status)
        take(world, part)
    statuses.append(run(world, bedrock)[0].status)

    assert statuses == ["InProgress", "InProgress", "InProgress", "Completed"]
    assert world.jobs[JOB_ID]["stats"] == {"processed": 6, "errors": 0, "total": 6}
    assert (world.jobs[JOB_ID]["inputTokens"], world.jobs[JOB_ID]["outputTokens"]) == (6000, 3000)


def test_a_part_that_bedrock_has_no_room_for_stays_queued(bedrock: FakeBedrock) -> None:
    world = World()
    add_job(world, [1, 1], queued=[2])
    bedrock.refusals = [ThrottledError("quota")]

    reconciled, _ = run(world, bedrock)

    assert (reconciled.submitted, reconciled.bedrock_status) == (0, "Queued")
    assert world.parts[JOB_ID][2]["status"] == "queued"


def test_a_part_that_bedrock_refuses_fails_the_job_once_the_others_have_ended(bedrock: FakeBedrock) -> None:
    world = World()
    add_job(world, [1, 1], queued=[2])
    bedrock.refusals = [JobRefusedError("ValidationException: no such model")]
    bedrock.end(1, "Completed")
    write_output(world, 1, (0,))
    take(world)

    reconciled, _ = run(world, bedrock)

    assert reconciled.status == "Failed"
    assert world.jobs[JOB_ID]["message"] == "Part 2: Failed (ValidationException: no such model)."
    assert world.jobs[JOB_ID]["stats"] == {"processed": 1, "errors": 0, "total": 2}


def test_after_a_stop_nothing_is_submitted_and_what_runs_is_stopped(bedrock: FakeBedrock) -> None:
    world = World()
    add_job(world, [1, 1], queued=[2], stopRequestedAt="2025-11-24T16:00:00.000Z")

    first, _ = run(world, bedrock)
    bedrock.end(1, "Stopped")
    second, _ = run(world, bedrock)

    assert bedrock.stopped == [job_arn(1)]
    assert (first.status, second.status, second.bedrock_status) == ("InProgress", "Failed", "Stopped")
    assert world.parts[JOB_ID][2]["status"] == "cancelled"


def test_what_ran_on_demand_is_completed_with_tokens_from_its_answers(bedrock: FakeBedrock) -> None:
    world = World()
    add_job(world, [2])
    world.parts[JOB_ID][1] |= {"status": "ended", "bedrockStatus": "OnDemand"}
    write_output(world, 1, (0, 1), manifest=False)
    take(world)

    reconciled, _ = run(world, bedrock)

    assert (reconciled.status, reconciled.bedrock_status) == ("Completed", "OnDemand")
    assert (world.jobs[JOB_ID]["inputTokens"], world.jobs[JOB_ID]["outputTokens"]) == (20, 10)


def test_the_output_of_what_runs_on_demand_is_waited_for_as_long_as_its_processor_may_take(
    bedrock: FakeBedrock,
) -> None:
    world = World()
    add_job(world, [2])
    world.parts[JOB_ID][1] |= {"status": "ended", "bedrockStatus": "OnDemand", "endedAt": CREATED_AT}
    statuses = []
    for _ in range(3):
        statuses.append(run(world, bedrock)[0].status)
        world.sleep_minutes(70)

    assert statuses == ["InProgress", "InProgress", "Failed"]


def test_a_job_that_is_being_created_is_left_alone_until_its_processor_must_be_dead(bedrock: FakeBedrock) -> None:
    world = World()
    add_job(world, [1], queued=[1], creation="Pending")

    early, _ = run(world, bedrock)
    world.sleep_minutes(21)
    late, call = run(world, bedrock)

    assert (early.status, late.status) == ("InProgress", "Failed")
    assert "The processor ended before the job was created completely" in world.jobs[JOB_ID]["message"]
    assert world.parts[JOB_ID][1]["status"] == "cancelled"
    assert len(call.published) == 1


@pytest.mark.parametrize("queued", [[], [1]])
def test_a_creation_whose_processor_died_after_its_parts_were_written_is_finished(
    bedrock: FakeBedrock, queued: list[int]
) -> None:
    # Given a job whose processor died before or after it submitted the part
    world = World()
    add_job(world, [4], queued=queued, creation="Written")
    # When the job is reconciled, first while the processor can still be alive
    run(world, bedrock)
    assert world.jobs[JOB_ID]["creation"] == "Written"
    world.sleep_minutes(20)
    run(world, bedrock)
    # Then it is created, and it runs
    assert (world.jobs[JOB_ID]["creation"], world.parts[JOB_ID][1]["status"]) == ("Done", "submitted")
    assert world.jobs[JOB_ID]["status"] == "InProgress"


@pytest.mark.parametrize(
    "manifest",
    [
        {"inputTokenCount": None, "outputTokenCount": 5},
        {"inputTokenCount": "7", "outputTokenCount": 5},
        {"inputTokenCount": -1, "outputTokenCount": 5},
        {"outputTokenCount": 5},
        [],
        None,
    ],
)
def test_a_manifest_without_counts_leaves_them_to_the_answers(
    world: World, bedrock: FakeBedrock, manifest: object
) -> None:
    write_output(world, manifest=False)
    world.put(f"{output_prefix(JOB_ID)}{bedrock_id(1)}/manifest.json.out", json.dumps(manifest).encode())
    take(world)
    bedrock.end(1, "Completed")

    run(world, bedrock)

    job = world.jobs[JOB_ID]
    assert (job["status"], job["inputTokens"], job["outputTokens"]) == ("Completed", 40, 20)


@pytest.mark.parametrize("kill_at", range(1, 8))
def test_a_call_that_is_killed_at_any_write_is_made_up_for(world: World, bedrock: FakeBedrock, kill_at: int) -> None:
    write_output(world, numbers=(0, 1, 2))
    take(world)
    bedrock.end(1, "Completed")
    killed = Process(world, bedrock=bedrock, kill_at=kill_at)
    with contextlib.suppress(KilledError):
        reconcile(JOB_ID, killed.reconcile_services())
    world.sleep_minutes(3)

    reconciled, call = run(world, bedrock, owner="call-2")

    assert reconciled.status == "Completed"
    assert world.jobs[JOB_ID]["stats"]["processed"] == 3
    assert len(killed.published) + len(call.published) in (1, 2)
    assert [line["recordId"] for line in world.failed_lines()] == [violation_id(3)]


def test_while_another_call_reconciles_the_job_this_one_waits_and_gives_up(world: World, bedrock: FakeBedrock) -> None:
    world.leases[f"reconcile#{JOB_ID}"] = ("somebody", world.now_ms + 60_000)

    reconciled, _ = run(world, bedrock)

    assert reconciled.busy
    assert world.jobs[JOB_ID].get("bedrockStatus") is None


def test_an_event_of_bedrock_reconciles_its_job(world: World, bedrock: FakeBedrock) -> None:
    services = Process(world, bedrock=bedrock).reconcile_services()

    assert [done.job_id for done in reconcile_event(EVENT, services)] == [JOB_ID]


def test_an_event_of_somebody_elses_bedrock_job_is_left_alone(world: World, bedrock: FakeBedrock) -> None:
    services = Process(world, bedrock=bedrock).reconcile_services()
    foreign = {**EVENT, "detail": {"batchJobName": "nightly-report"}}

    assert reconcile_event(foreign, services) == []


def test_an_event_of_a_job_that_is_gone_is_no_error(world: World, bedrock: FakeBedrock) -> None:
    services = Process(world, bedrock=bedrock).reconcile_services()

    assert reconcile_event({"jobId": "batch-1764000000-ffffffff"}, services)[0].status == ""


def test_a_schedule_whose_time_is_not_enough_does_not_always_leave_the_same_jobs(
    world: World, bedrock: FakeBedrock
) -> None:
    others = [f"batch-176400000{number}-0123abcd" for number in range(1, 4)]
    for other in others:
        world.jobs[other] = {**world.jobs[JOB_ID], "jobId": other}
    reached = set()
    for _ in range(100):
        services = Process(world, bedrock=bedrock, looks=1).reconcile_services()
        reached |= {done.job_id for done in reconcile_event({"detail-type": "Scheduled Event"}, services)}
    assert reached == {JOB_ID, *others}


@pytest.mark.parametrize("fault", [ServiceUnavailableError("try again"), TypeError("int() argument"), RecursionError()])
def test_a_schedule_reconciles_all_unfinished_jobs_though_one_fails(
    world: World, bedrock: FakeBedrock, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "shuffle", lambda jobs: jobs.sort(reverse=True))
    other = "batch-1764000001-0123abcd"
    world.jobs[other] = {**world.jobs[JOB_ID], "jobId": other}
    world.parts[other] = {1: {**world.parts[JOB_ID][1], "jobId": other, "jobArn": "gone"}}
    finished = "batch-1764000002-0123abcd"
    world.jobs[finished] = {**world.jobs[JOB_ID], "jobId": finished, "status": "Completed"}

    class Failing(FakeBedrock):
        def get(self, job_arn: str) -> Any:
            if job_arn == "gone":
                raise fault
            return bedrock.get(job_arn)

    services = Process(world, bedrock=Failing()).reconcile_services()
    with pytest.raises(type(fault)):
        reconcile_event({"detail-type": "Scheduled Event"}, services)

    assert world.jobs[JOB_ID]["bedrockStatus"] == "InProgress"
    assert "bedrockStatus" not in world.jobs[finished]
