"""Creating batch jobs: selection to submission, on moto and a lake in DuckDB."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from bedrock_batches.api.process import process
from bedrock_batches.submit import names
from bedrock_batches.submit.create_job import create_job
from bedrock_batches.submit.draft import Draft
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.submit.ports import JobRefusedError
from bedrock_batches.submit.submit_parts import submit_queued
from foundation.aws.dynamodb_items import to_item
from foundation.errors import DeploymentError, PermanentError, ServiceUnavailableError, ThrottledError
from tests.support.bedrock_jobs import AGENCIES, MODEL, TABLE, Deadline, JobsWorld, WaitingClock, jobs_world, violations
from tests.support.lake import memory_lake

OSHA = 260
EPA = 120


@pytest.fixture
def world() -> Iterator[JobsWorld]:
    with jobs_world([*violations(OSHA), *violations(EPA, "epa")]) as made:
        yield made


def config(**parts: Any) -> dict[str, Any]:
    return {"filters": {"agencies": ["osha"]}, **parts}


def in_priority_order(count: int, agency: str = "OSHA", of: int = OSHA) -> list[str]:
    return [f"{agency}-{number:06}" for number in reversed(range(of))][:count]


def test_a_job_takes_exactly_the_records_of_its_filters_in_priority_order(world: JobsWorld) -> None:
    job = world.create(config(limits={"maxViolations": 150}))
    job_id = job["jobId"]
    assert world.records(job_id) == in_priority_order(150)
    assert world.objects.get(names.records_key(job_id, 1)).decode().splitlines() == [
        f"{violation_id}\tosha" for violation_id in in_priority_order(150)
    ]
    (part,) = world.part_items(job_id)
    assert part["status"] == "submitted"
    assert part["recordCount"] == 150
    assert part["bytes"] == len(world.objects.get(part["inputKey"]))
    assert job["status"] == "InProgress"
    assert job["bedrockStatus"] == "Submitted"
    assert job["jobArn"] == part["jobArn"]
    assert job["violationCount"] == job["estimate"]["violationCount"] == job["stats"]["total"] == 150
    assert job["leftOut"] == {"inFlight": 0, "unusableIds": 0}
    assert job["modelId"] == MODEL
    assert job["expectedCompletion"] == "2026-11-22T09:00:00.000Z"
    assert world.jobs.in_flight() == [job_id]


def test_a_large_job_becomes_balanced_parts_and_those_over_the_quota_stay_queued(world: JobsWorld) -> None:
    world.quotas = Quotas(minimum_records=50, records_per_job=100, concurrent_jobs=2)
    job = world.create(config())
    parts = world.part_items(job["jobId"])
    assert [part["recordCount"] for part in parts] == [87, 87, 86]
    assert [part["status"] for part in parts] == ["submitted", "submitted", "queued"]
    assert world.records(job["jobId"]) == in_priority_order(OSHA)
    assert job["partCount"] == 3
    assert job["expectedCompletion"] == "2026-11-23T09:00:00.000Z", "two rounds of a day"


def test_records_in_flight_are_in_no_other_job(world: JobsWorld) -> None:
    first = world.create(config(limits={"maxViolations": 150}))
    second = world.create(config())
    assert world.records(second["jobId"]) == in_priority_order(OSHA)[150:]
    assert second["leftOut"]["inFlight"] == 150
    third = world.create(config())
    assert third["message"] == "No violations to process"
    assert third["emptiedBy"] == "notInFlight"
    assert third["status"] == "Completed"
    assert sorted(world.jobs.in_flight()) == sorted([first["jobId"], second["jobId"]])


def test_two_creations_at_once_share_no_record(world: JobsWorld) -> None:
    world.clock = WaitingClock()
    ids = [world.new_job(config(limits={"maxViolations": 130})) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda job_id: create_job(job_id, world.services()), ids))
    assert sorted(world.records(ids[0]) + world.records(ids[1])) == sorted(in_priority_order(OSHA))


def test_after_its_end_only_failed_records_are_free_again(world: JobsWorld) -> None:
    world.quotas = Quotas(minimum_records=1)
    first = world.create(config())
    failed = in_priority_order(OSHA)[10:13]
    world.end(first["jobId"], failed)
    assert world.records(world.create(config())["jobId"]) == failed


def test_records_that_share_an_id_are_left_out_and_named() -> None:
    with jobs_world([*violations(OSHA), {**violations(3)[2], "fine_amount": None}]) as world:
        job = world.create(config())
    assert (job["violationCount"], job["leftOut"]["unusableIds"]) == (OSHA - 1, 2)
    assert job["unusableIds"] == ["OSHA-000002"]


def test_lines_under_sync_failed_that_are_no_ids_keep_no_job_from_being_created(world: JobsWorld) -> None:
    waiting = in_priority_order(OSHA)[7]
    items = [
        {"PK": f"VIOLATION#{waiting}", "SK": "BEDROCK_CONTENT", "agency": "os\tha\n"},
        {"PK": "VIOLATION#A\tB\nC", "SK": "BEDROCK_CONTENT"},
        {"PK": f"VIOLATION#{'A' * 300}", "SK": "BEDROCK_CONTENT"},
        {"PK": 7},
    ]
    lines = [json.dumps({"reason": "no row", "item": item}).encode() for item in items]
    world.objects.put("bedrock-batches/sync-failed/2026-11-21/1-1.jsonl", b"\n".join([b"{", *lines, b"\xff"]))
    assert world.create(config())["violationCount"] == OSHA - 1


def lose_answers(world: JobsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK sends a write whose answer was lost again, and then its condition does not hold any more."""
    send = world.jobs._client.update_item

    def send_twice(**request: Any) -> Any:
        send(**request)
        return send(**request)

    monkeypatch.setattr(world.jobs._client, "update_item", send_twice, raising=False)


def test_a_job_is_created_though_the_answer_of_each_conditional_write_is_lost(
    world: JobsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(world, monkeypatch)
    job = world.create(config())
    assert (job["status"], job["creation"], job.get("reason")) == ("InProgress", "Done", None)
    assert world.jobs.in_flight() == [job["jobId"]]


def test_a_refused_job_leaves_its_records_free_though_the_answer_of_the_write_is_lost(
    world: JobsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.bedrock.refusals = [JobRefusedError("no")] * 9
    lose_answers(world, monkeypatch)
    assert world.create(config())["status"] == "Failed"
    assert world.jobs.in_flight() == []


def test_a_job_without_records_expires_though_the_answer_of_the_write_is_lost(
    world: JobsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(world, monkeypatch)
    job = world.create(config(filters={"agencies": ["osha"], "minFineAmount": 1e12}))
    assert (job["status"], job["violationCount"]) == ("Completed", 0)
    assert job["ttl"] == int(world.clock.now.timestamp()) + 30 * 86_400


def holders(job: Any) -> dict[str, int]:
    return {one["holder"]: one["records"] for one in job["heldBy"]}


def test_records_of_a_job_that_is_not_settled_are_in_no_other_job_however_long_ago_it_ended(world: JobsWorld) -> None:
    first = world.create(config())["jobId"]
    assert not any("ttl" in item for item in (world.item(first), *world.part_items(first)))
    world.end(first)
    world.clock.pass_by(days=40)
    second = world.create(config())
    assert second["emptiedBy"] == "notInFlight"
    assert holders(second) == {first: OSHA}
    # Nor are they while an output of the job is still to be taken, whatever is listed as failed
    world.objects.put(f"{names.errors_prefix(first)}0001-0001.jsonl", b'{"recordId": "OSHA-000001"}\n')
    world.update(first, outputsTaken=False)
    assert holders(world.create(config())) == {first: OSHA}
    # And when the job has settled, its items expire
    world.jobs.settle(first, world.clock.now)
    expires = int(world.clock.now.timestamp()) + 30 * 86_400
    assert [item.get("ttl") for item in (world.item(first), *world.part_items(first))] == [expires] * 2
    assert world.create(config())["violationCount"] == OSHA


def test_who_has_content_in_dynamodb_is_never_asked_again_and_its_content_is_left_to_the_sync(world: JobsWorld) -> None:
    # Given content that the lake does not have, and no job that holds it
    ids = in_priority_order(OSHA)
    world.contents = {*ids[:40], ids[150]}
    # When a job takes 120 records
    job = world.create(config(limits={"maxViolations": 120}))
    # Then it takes the next ones instead
    assert world.records(job["jobId"]) == [one for one in ids if one not in world.contents][:120]
    # And the sync finds what it is to merge
    held = holders(job)
    assert sum(held.values()) == job["leftOut"]["inFlight"] == 41
    assert {line["item"]["PK"] for key in held for line in world.lines(key)} == {
        f"VIOLATION#{one}" for one in world.contents
    }
    # And the next selection finds them there
    assert sum(holders(world.create(config())).values()) == 41 + 120


def test_what_could_not_be_merged_is_in_flight_and_its_holder_is_named(world: JobsWorld) -> None:
    waiting = in_priority_order(OSHA)[7]
    item = {"PK": f"VIOLATION#{waiting}", "SK": "BEDROCK_CONTENT", "agency": "osha"}
    failed = {"reason": "no row", "kind": "permanent", "item": item}
    key = "bedrock-batches/sync-failed/2026-11-21/1-1.jsonl"
    world.objects.put(key, json.dumps(failed).encode() + b"\n")
    job = world.create(config())
    assert (job["violationCount"], holders(job)) == (OSHA - 1, {key: 1})


def test_a_job_whose_item_cannot_be_read_keeps_its_records_and_stops_no_other_job(world: JobsWorld) -> None:
    first = world.create(config(limits={"maxViolations": 150}))
    world.dynamodb.put_item(TableName=TABLE, Item=to_item({**first, "status": "Sleeping"}))
    world.quotas = Quotas(minimum_records=1)
    second = world.create(config())
    assert (second["violationCount"], second["leftOut"]["inFlight"]) == (OSHA - 150, 150)


def test_repeating_a_call_for_a_job_changes_nothing(world: JobsWorld) -> None:
    job = world.create(config())
    keys = world.keys()
    create_job(job["jobId"], world.services())
    assert world.item(job["jobId"]) == job
    assert world.keys() == keys
    assert len(world.bedrock.submitted) == 1


class KilledError(BaseException):
    pass


class Killing:
    """Dies at the n-th call that changes something, over all of a services' ports."""

    CHANGES = ("put", "put_parts", "enter_in_flight", "change", "change_part", "submit", "upload_part", "release")

    def __init__(self, port: Any, count: list[int]) -> None:
        self._port = port
        self._count = count

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name not in self.CHANGES:
            return found

        def counted(*arguments: Any, **options: Any) -> Any:
            self._count[0] -= 1
            if self._count[0] <= 0:
                raise KilledError
            return found(*arguments, **options)

        return counted


@pytest.mark.parametrize("kill_at", range(1, 16))
def test_a_creation_killed_anywhere_goes_on_to_the_same_end(world: JobsWorld, kill_at: int) -> None:
    world.quotas = Quotas(minimum_records=50, records_per_job=150)
    job_id = world.new_job(config())
    services, count = world.services(), [kill_at]
    ports: Any = {name: Killing(getattr(services, name), count) for name in ("jobs", "objects", "batch", "leases")}
    killed = replace(services, **ports)
    try:
        create_job(job_id, killed)
    except KilledError:
        world.clock.pass_by(minutes=6)  # the lease of the dead call runs out
        create_job(job_id, world.services())
    job = world.item(job_id)
    assert job["creation"] == "Done"
    assert job["status"] == "InProgress"
    assert [part["status"] for part in world.part_items(job_id)] == ["submitted", "submitted"]
    assert [part.job_name for part in world.bedrock.submitted] == [f"{job_id}-0001", f"{job_id}-0002"]
    assert world.records(job_id) == in_priority_order(OSHA)
    assert world.jobs.in_flight() == [job_id]


def test_too_few_records_are_refused_with_the_shortfall_and_stay_free(world: JobsWorld) -> None:
    job = world.create(config(limits={"maxViolations": 37}))
    assert job["status"] == "Failed"
    assert job["message"] == "Failed to create batch job"
    assert job["shortfall"] == 63
    assert job["reason"].startswith("37 records are selected, and a batch inference job takes at least 100: 63 are")
    assert world.jobs.in_flight() == []
    assert not world.bedrock.submitted


def test_quotas_that_no_job_can_keep_are_named(world: JobsWorld) -> None:
    world.quotas = Quotas(bytes_per_file=1_000)
    job = world.create(config(batch={"onDemandBelowMinimum": True}))
    assert job["status"] == "Failed"
    assert job["reason"].endswith("correct the deployment's quotas.")


def test_too_few_records_run_at_once_when_that_is_asked_for(world: JobsWorld) -> None:
    estimated = world.create(config(limits={"maxViolations": 5}, batch={"onDemandBelowMinimum": True}), dry_run=True)
    job = world.create(config(limits={"maxViolations": 5}, batch={"onDemandBelowMinimum": True}))
    job_id = job["jobId"]
    (part,) = world.part_items(job_id)
    (output,) = world.keys(names.output_prefix(job_id))
    assert output.endswith("/input-0001.jsonl.out")
    assert len(output.split("/")) == 5, "as Bedrock lays it out: a folder of 12 characters"
    lines = world.lines(output)
    assert [line["recordId"] for line in lines] == [f"R{place:010d}" for place in range(5)]
    assert world.records(job_id) == in_priority_order(5)
    assert lines[0]["modelOutput"]["stopReason"] == "end_turn"
    assert lines[0]["modelInput"] == world.lines(part["inputKey"])[0]["modelInput"]
    assert (part["status"], part["bedrockStatus"]) == ("ended", "OnDemand")
    assert (job["onDemand"], job["bedrockStatus"], job["status"]) == (True, "OnDemand", "InProgress")
    assert job["expectedCompletion"] == "2026-11-21T09:20:00.000Z"
    batch_price = world.create(config(limits={"maxViolations": 5}), dry_run=True)["estimate"]["costUSD"]
    assert job["estimate"] == estimated["estimate"]
    assert job["estimate"]["costUSD"] == pytest.approx(2 * batch_price, abs=5e-6)
    create_job(job_id, world.services())
    assert world.bedrock.conversed == 5


def test_two_calls_at_once_ask_each_record_on_demand_once(world: JobsWorld) -> None:
    # Given a call that has created the job and is asking, and waits in the middle of it for a second one
    usual, asking, waiting, go_on = world.bedrock.answer, threading.Event(), threading.Event(), threading.Event()

    class ToldClock(WaitingClock):
        def sleep(self, seconds: float) -> None:
            waiting.set()
            super().sleep(seconds)

    world.clock = ToldClock()
    job_id = world.new_job(config(limits={"maxViolations": 5}, batch={"onDemandBelowMinimum": True}))

    def slow(model_input: Any) -> dict[str, Any]:
        asking.set()
        go_on.wait(60)
        return usual(model_input)

    world.bedrock.answer = slow
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(create_job, job_id, world.services())
        assert asking.wait(60)
        # When the second comes
        second = threads.submit(create_job, job_id, world.services())
        waiting.wait(30)
        go_on.set()
        first.result()
        second.result()
    # Then
    assert world.bedrock.conversed == 5


def test_a_record_that_the_model_refuses_is_an_error_line_and_a_throttled_one_is_asked_again(world: JobsWorld) -> None:
    answers: list[Exception | None] = [ThrottledError("slow down"), PermanentError("bad input")]
    usual = world.bedrock.answer

    def answer(model_input: Any) -> dict[str, Any]:
        trouble = answers.pop(0) if answers else None
        if trouble is not None:
            raise trouble
        return usual(model_input)

    world.bedrock.answer = answer
    job = world.create(config(limits={"maxViolations": 4}, batch={"onDemandBelowMinimum": True}))
    (output,) = world.keys(names.output_prefix(job["jobId"]))
    errors = [line["error"] for line in world.lines(output) if "error" in line]
    assert errors == [{"errorCode": 400, "errorMessage": "bad input"}]
    assert world.bedrock.conversed == 5


def test_a_call_without_time_for_the_slowest_answer_asks_for_another_call(world: JobsWorld) -> None:
    job_id = world.new_job(config(limits={"maxViolations": 3}, batch={"onDemandBelowMinimum": True}))
    create_job(job_id, world.services(deadline=Deadline(200.0)))
    assert (world.bedrock.conversed, world.again) == (0, [{"jobId": job_id}])
    assert world.keys(names.output_prefix(job_id)) == []
    create_job(job_id, world.services())
    (output,) = world.keys(names.output_prefix(job_id))
    assert len(world.lines(output)) == world.bedrock.conversed == 3


def test_a_denied_model_fails_the_job_and_the_call(world: JobsWorld) -> None:
    def denied(_: Any) -> dict[str, Any]:
        raise DeploymentError("bedrock:InvokeModel was denied")

    world.bedrock.answer = denied
    job_id = world.new_job(config(limits={"maxViolations": 3}, batch={"onDemandBelowMinimum": True}))
    with pytest.raises(DeploymentError):
        create_job(job_id, world.services())
    job = world.item(job_id)
    assert (job["status"], job["reason"]) == ("Failed", "bedrock:InvokeModel was denied")
    assert world.jobs.in_flight() == []


def test_an_estimate_creates_nothing(world: JobsWorld) -> None:
    job = world.create(config(), dry_run=True)
    assert job["message"] == "Cost estimation complete"
    assert job["estimate"]["violationCount"] == OSHA
    assert world.keys() == []
    assert world.jobs.list_jobs(None, 10).jobs == []
    assert world.jobs.in_flight() == []
    assert not world.bedrock.submitted


def test_an_estimate_below_the_minimum_says_that_a_job_would_be_refused(world: JobsWorld) -> None:
    job = world.create(config(limits={"maxViolations": 37}), dry_run=True)
    assert job["violationCount"] == 37
    assert "63 are missing" in job["reason"]


def test_the_flat_method_prices_by_the_record(world: JobsWorld) -> None:
    job = world.create(config(pricing={"method": "flat"}), dry_run=True)
    assert job["estimate"] == {
        "violationCount": 260,
        "totalTokens": 78_000,
        "costUSD": 0.078,
        "costPerViolation": 0.0003,
    }


def test_the_spend_limit_cuts_the_records_of_the_lowest_priority(world: JobsWorld) -> None:
    whole = world.create(config(), dry_run=True)["estimate"]["costUSD"]
    job = world.create(config(limits={"maxSpendUSD": whole / 2}))
    assert 100 < job["violationCount"] < 140
    assert job["estimate"]["costUSD"] <= whole / 2
    assert world.records(job["jobId"]) == in_priority_order(job["violationCount"])


def test_a_limit_below_one_record_is_named(world: JobsWorld) -> None:
    job = world.create(config(limits={"maxSpendUSD": 0.000001}))
    assert (job["message"], job["emptiedBy"]) == ("No violations to process", "maxSpendUSD")


def test_a_full_disk_ends_the_job_and_says_what_to_do(world: JobsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Draft, "add", full)
    job = world.create(config())
    assert job["status"] == "Failed"
    assert job["reason"] == "The records and those in flight do not fit into /tmp: lower limits.maxViolations."
    assert world.jobs.in_flight() == []


def test_the_filter_that_left_none_is_named(world: JobsWorld) -> None:
    job = world.create({"filters": {"agencies": ["epa"], "minFineAmount": 1_000_000, "hasFatalities": True}})
    assert job["emptiedBy"] == "minFineAmount"
    assert job["filters"][:3] == [
        {"name": "agencies", "remaining": EPA},
        {"name": "withoutGeneratedContent", "remaining": EPA},
        {"name": "minFineAmount", "remaining": 0},
    ]


@pytest.mark.parametrize("hostile", ["' OR 1=1 --", "a'; DROP TABLE lake.silver.osha; --", '"', "\\", "Serious; --"])
def test_hostile_values_are_bound_and_match_nothing(world: JobsWorld, hostile: str) -> None:
    job = world.create(config(filters={"violationTypes": [hostile]}))
    assert job["emptiedBy"] == "violationTypes"
    assert world.create(config(), dry_run=True)["violationCount"] == OSHA


def test_what_bedrock_refuses_is_a_failed_job_with_its_reason_and_free_records(world: JobsWorld) -> None:
    world.bedrock.refusals = [JobRefusedError("ValidationException: The provided model identifier is invalid.")]
    job = world.create(config())
    assert job["status"] == "Failed"
    assert job["message"] == "Failed to create batch job"
    assert job["reason"] == "ValidationException: The provided model identifier is invalid."
    assert world.records(world.create(config())["jobId"]) == in_priority_order(OSHA)


def test_a_job_goes_on_with_the_parts_that_bedrock_took(world: JobsWorld) -> None:
    world.quotas = Quotas(minimum_records=50, records_per_job=150)
    world.bedrock.refusals = [None, JobRefusedError("ValidationException: no")]
    job = world.create(config())
    assert [part["status"] for part in world.part_items(job["jobId"])] == ["submitted", "refused"]
    assert job["status"] == "InProgress"


def test_a_part_stays_queued_when_bedrock_wants_it_later(world: JobsWorld) -> None:
    world.bedrock.refusals = [ThrottledError("quota reached")]
    job = world.create(config())
    assert (job["status"], job["bedrockStatus"], job["jobArn"]) == ("InProgress", "Queued", "")
    assert [part["status"] for part in world.part_items(job["jobId"])] == ["queued"]


def test_parts_that_waited_when_their_job_failed_are_never_submitted(world: JobsWorld) -> None:
    # Given a job of two parts, whose one may run at a time and is refused
    world.quotas = Quotas(minimum_records=50, records_per_job=150, concurrent_jobs=1)
    world.bedrock.refusals = [DeploymentError("the job's role is missing")]
    job_id = world.new_job(config())
    with pytest.raises(DeploymentError):
        create_job(job_id, world.services())
    assert [part["status"] for part in world.part_items(job_id)] == ["cancelled", "cancelled"]
    # When somebody submits what is queued, as it was before the job failed, Then nothing is
    world.update_part(job_id, 1, status="queued")
    job = world.jobs.get(job_id)
    assert job is not None
    submit_queued(job, world.services())
    assert not world.bedrock.submitted
    assert [part["status"] for part in world.part_items(job_id)] == ["cancelled", "cancelled"]


def test_of_two_calls_for_one_job_the_later_leaves_its_records_in_flight(world: JobsWorld) -> None:
    # Given a call that has lost the lease to another one, which has written the job and submitted it
    job_id = world.new_job(config())
    late = world.services()

    class Overtaken:
        def __getattr__(self, name: str) -> Any:
            return getattr(late.jobs, name)

        def enter_in_flight(self, job: Any) -> None:
            late.jobs.enter_in_flight(job)
            world.clock.pass_by(minutes=6)
            create_job(job_id, world.services())

    # When the first one goes on
    overtaken: Any = Overtaken()
    create_job(job_id, replace(late, jobs=overtaken))
    # Then
    assert world.jobs.in_flight() == [job_id]
    job = world.item(job_id)
    assert (job["status"], job["bedrockStatus"]) == ("InProgress", "Submitted")


def test_a_service_that_does_not_answer_leaves_the_job_for_the_next_call(world: JobsWorld) -> None:
    world.bedrock.refusals = [ServiceUnavailableError("no answer")]
    job_id = world.new_job(config())
    with pytest.raises(ServiceUnavailableError):
        create_job(job_id, world.services())
    job = create_job(job_id, world.services())
    assert (job.status, job.bedrock_status) == ("InProgress", "Submitted")


def test_a_creation_that_finds_the_lease_held_waits_and_then_asks_to_be_called_again(world: JobsWorld) -> None:
    holder = world.services()
    assert holder.leases.acquire(names.CREATE_LEASE, "another", 300)
    with pytest.raises(ThrottledError):
        create_job(world.new_job(config()), world.services(deadline=Deadline(100.0)))


def test_a_stop_before_the_submission_ends_the_job(world: JobsWorld) -> None:
    job_id = world.new_job(config())
    world.update(job_id, stopRequestedAt="2026-11-21T09:00:00.000Z")
    job = create_job(job_id, world.services())
    assert (job.status, job.bedrock_status) == ("Failed", "Stopped")
    assert not world.bedrock.submitted
    assert world.jobs.in_flight() == []


def test_a_retry_takes_the_failed_records_and_those_of_parts_that_never_ran(world: JobsWorld) -> None:
    world.quotas = Quotas(minimum_records=50, records_per_job=100, concurrent_jobs=2)
    first = world.create(config())
    order = in_priority_order(OSHA)
    failed = [*order[3:6], *order[90:93]]
    world.end(first["jobId"], failed, status="Failed")
    world.quotas = Quotas(minimum_records=50)
    retried = world.create({}, retry_of=first["jobId"])
    assert world.records(retried["jobId"]) == [*failed, *order[174:]]
    first_line = world.lines(names.input_key(retried["jobId"], 1))[0]
    assert first_line == {**world.lines(names.input_key(first["jobId"], 1))[3], "recordId": "R0000000000"}
    records = world.objects.get(names.records_key(retried["jobId"], 1)).decode()
    assert records.splitlines()[0] == f"{failed[0]}\tosha"
    again = world.create({}, retry_of=first["jobId"])
    assert (again["message"], again["emptiedBy"]) == ("No violations to process", "notInFlight")


def test_a_second_retry_does_not_pay_again_for_what_the_first_brought_content(world: JobsWorld) -> None:
    # Given a job with six failed records, four of which have got content from a retry that has ended
    world.quotas = Quotas(minimum_records=1)
    first = world.create(config(limits={"maxViolations": 50}))
    failed = in_priority_order(6)
    world.end(first["jobId"], failed)
    retry = world.create({}, retry_of=first["jobId"])
    world.end(retry["jobId"], failed[4:])
    world.contents = set(failed[:4])
    world.clock.pass_by(hours=25)  # nothing is in flight any more
    # When it is retried again, Then only the two are asked again
    assert world.records(world.create({}, retry_of=first["jobId"])["jobId"]) == failed[4:]
    world.contents = set(failed)
    job = world.create({}, retry_of=first["jobId"])
    assert (job["message"], job["emptiedBy"]) == ("No violations to process", "withoutGeneratedContent")


def test_a_request_has_a_schema_where_its_model_takes_one_and_a_retry_follows_its_own_model(world: JobsWorld) -> None:
    world.quotas = Quotas(minimum_records=1)
    haiku = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    for first, second in ((haiku, MODEL), (MODEL, haiku)):
        job_id = world.create(config(limits={"maxViolations": 2}, batch={"modelId": first}))["jobId"]
        world.end(job_id, world.records(job_id))
        retry_id = world.create(config(batch={"modelId": second}), retry_of=job_id)["jobId"]
        world.end(retry_id)
        asked = [world.lines(names.input_key(one, 1))[0]["modelInput"] for one in (job_id, retry_id)]
        assert ["outputConfig" in body for body in asked] == [first == haiku, second == haiku]


def test_a_retry_asks_no_record_that_has_content_in_the_lake(world: JobsWorld) -> None:
    # Given two failed records, one of which got content in the lake that DynamoDB does not have
    world.quotas = Quotas(minimum_records=1)
    job_id = world.create(config())["jobId"]
    first, second = in_priority_order(2)
    world.end(job_id, [first, second])
    records = violations(OSHA)
    world.lake = memory_lake([*records[:-1], {**records[-1], "bedrock_title": "A title"}], AGENCIES)
    # When the job is retried, Then only the other one is asked
    assert world.records(world.create({}, retry_of=job_id)["jobId"]) == [second]


def test_a_retry_of_a_refused_retry_takes_the_records_of_the_job_that_it_retried(world: JobsWorld) -> None:
    first = world.create(config())
    failed = in_priority_order(12)[10:]
    world.end(first["jobId"], failed)
    refused = world.create({}, retry_of=first["jobId"])
    assert refused["shortfall"] == 98
    job = world.create({"batch": {"onDemandBelowMinimum": True}}, retry_of=refused["jobId"])
    assert world.records(job["jobId"]) == failed


@pytest.mark.parametrize("key", [names.input_key, names.records_key])
def test_a_retry_of_a_job_whose_input_is_gone_says_so(world: JobsWorld, key: Any) -> None:
    job_id = world.create(config())["jobId"]
    world.end(job_id, in_priority_order(2))
    world.objects.delete(key(job_id, 1))
    job = world.create({}, retry_of=job_id)
    reason = f"The input of job {job_id} is gone, since inputs expire: create the job again."
    assert (job["status"], job["reason"]) == ("Failed", reason)


def test_a_retry_of_a_job_that_had_nothing_to_do_has_nothing_to_do(world: JobsWorld) -> None:
    first = world.create({"filters": {"minFineAmount": 1_000_000}})
    job = world.create(config(), retry_of=first["jobId"])
    assert (job["message"], job["violationCount"]) == ("No violations to process", 0)


def test_a_retry_may_ask_with_other_tokens_time_and_model(world: JobsWorld) -> None:
    world.quotas = Quotas(minimum_records=1)
    first = world.create(config(limits={"maxViolations": 5}))
    world.end(first["jobId"], in_priority_order(2))
    changed = {"maxTokens": 900, "timeoutHours": 48, "modelId": "amazon.nova-pro-v1:0"}
    retried = world.create({"batch": changed}, retry_of=first["jobId"])
    (part,) = world.part_items(retried["jobId"])
    assert (part["modelId"], part["timeoutHours"], retried["modelId"]) == ("amazon.nova-pro-v1:0", 48, part["modelId"])
    for line, before in zip(
        world.lines(part["inputKey"]), world.lines(names.input_key(first["jobId"], 1)), strict=False
    ):
        assert line["modelInput"]["inferenceConfig"] == {"maxTokens": 900, "temperature": 0.2}
        assert line["modelInput"]["messages"] == before["modelInput"]["messages"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"temperature": 0.2}),
        ({"topP": 0.9}, {"topP": 0.9}),
        ({"temperature": None, "topP": 0.9}, {"topP": 0.9}),
        ({"temperature": 0.7}, {"temperature": 0.7}),
    ],
)
def test_a_default_temperature_is_not_sent_beside_top_p(world: JobsWorld, given: Any, sent: Any) -> None:
    job = world.create(config(batch=given))
    (line, *_) = world.lines(names.input_key(job["jobId"], 1))
    assert line["modelInput"]["inferenceConfig"] == {"maxTokens": 500, **sent}


def test_a_retry_without_failed_records_has_nothing_to_do(world: JobsWorld) -> None:
    first = world.create(config())
    world.end(first["jobId"])
    job = world.create({}, retry_of=first["jobId"])
    assert (job["message"], job["emptiedBy"]) == ("No violations to process", "failed")


def test_a_creation_that_died_frees_its_records_once_it_is_given_up(world: JobsWorld) -> None:
    job_id = world.new_job(config())
    services, count = world.services(), [5]
    with pytest.raises(KilledError):
        create_job(
            job_id, replace(services, jobs=Killing(services.jobs, count), objects=Killing(services.objects, count))
        )
    assert world.jobs.in_flight() == [job_id]
    world.update(job_id, status="Failed")
    world.clock.pass_by(minutes=6)
    assert len(world.records(world.create(config())["jobId"])) == OSHA


def test_an_unknown_job_is_an_error(world: JobsWorld) -> None:
    with pytest.raises(PermanentError, match="There is no job"):
        create_job("batch-1790000000-00000000", world.services())


def test_the_older_invocation_creates_and_estimates(world: JobsWorld) -> None:
    estimated = process({"config": config(), "dryRun": True}, world.services(), default_model=MODEL)
    assert estimated["message"] == "Cost estimation complete"
    assert estimated["dryRun"] is True
    assert world.keys() == []
    created = process({"config": config(), "dryRun": None}, world.services(), default_model=MODEL)
    assert created["message"] == "Batch job created successfully"
    assert created["violationCount"] == OSHA


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"config": {"filters": {"minFineAmount": -1}}}, "config.filters.minFineAmount"),
        ({"config": {}, "dryRun": "no"}, "dryRun"),
        ({}, "config"),
    ],
)
def test_the_older_invocation_answers_with_every_problem(world: JobsWorld, event: Any, path: str) -> None:
    body = process(event, world.services(), default_model=MODEL)
    assert body["message"] == "The request is not valid"
    assert [problem["path"] for problem in body["problems"]] == [path]


def test_lines_of_the_input_are_what_bedrock_reads(world: JobsWorld) -> None:
    job = world.create(config(batch={"maxTokens": 321, "temperature": 0.5, "topP": 0.9}))
    for line in world.objects.get(names.input_key(job["jobId"], 1)).splitlines():
        record = json.loads(line)
        assert set(record) == {"recordId", "modelInput"}
        assert record["modelInput"]["inferenceConfig"] == {"maxTokens": 321, "temperature": 0.5, "topP": 0.9}
