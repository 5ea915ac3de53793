"""VentureOS-BedrockBatchJobs on moto: items, conditions, listings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_batches.results.claims_dynamodb import DynamoDbClaims
from bedrock_batches.results.ports import Claim
from bedrock_batches.submit import dynamodb as jobs_table
from bedrock_batches.submit import names
from bedrock_batches.submit.job import Job, JobStatus, Part, PartStatus, new_job
from bedrock_batches.submit.job_items import UnreadableItemError, item_of_job
from bedrock_batches.submit.ports import Guard, KeyReusedError, all_jobs
from foundation.aws.dynamodb_items import to_item
from foundation.errors import DeploymentError, ThrottledError
from tests.support.bedrock_jobs import TABLE, JobsWorld, jobs_world

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture
def world() -> Iterator[JobsWorld]:
    with jobs_world([]) as made:
        yield made


def job(number: int = 0, **options: Any) -> Job:
    return new_job(f"batch-{1_790_000_000 + number}-0000000{number % 10}", NOW, {"limits": {"x": 1.5}}, **options)


def part(number: int) -> Part:
    return Part(job().job_id, number, PartStatus.QUEUED, record_count=100)


def test_a_job_comes_back_as_it_was_written(world: JobsWorld) -> None:
    written = job()
    assert world.jobs.create(written) == written.job_id
    assert world.jobs.get(written.job_id) == written
    assert world.jobs.get("batch-1790000000-ffffffff") is None


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("batch-1790000000-0123abcd", True),
        ("estimate-1790000000-0123abcd", True),
        ("batch-1-Test1", True),
        (f"batch-179000000000-{32 * 'x'}", True),
        (f"batch-1790000000-{33 * 'x'}", False),
        ("batch-1790000000-", False),
        ("batch-1790000000-a-b", False),
        ("batch-١-a", False),
        ("job-1790000000-0123abcd", False),
    ],
)
def test_an_id_has_a_number_and_letters_or_digits(text: str, is_one: bool) -> None:
    assert names.is_job_id(text) is is_one
    assert names.part_of_name(names.part_name(text, 7)) == ((text, 7) if is_one else None)


def test_the_same_key_and_request_give_the_first_job_and_another_request_is_refused(world: JobsWorld) -> None:
    table = world.jobs
    first = table.create(job(1), "key", {"a": 1, "b": [2]})
    assert table.create(job(2), "key", {"b": [2], "a": 1}) == first
    with pytest.raises(KeyReusedError):
        table.create(job(3), "key", {"a": 2})
    assert table.create(job(4), "other key", {"a": 1}) != first
    assert table.get(job(2).job_id) is None
    assert table.get(job(3).job_id) is None


class Conflicting:
    """Its first transactions meet another one, which has not ended, as moto's never do."""

    def __init__(self, client: Any, conflicts: int) -> None:
        self._client = client
        self.conflicts = conflicts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **request: Any) -> Any:
        self.conflicts -= 1
        if self.conflicts >= 0:
            reasons = [{"Code": "None"}, {"Code": "TransactionConflict", "Message": "Transaction is ongoing"}]
            error: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(error, "TransactWriteItems")
        return self._client.transact_write_items(**request)


def test_of_the_same_key_twice_at_once_the_later_tries_again(world: JobsWorld) -> None:
    paused: list[float] = []
    client: Any = Conflicting(world.dynamodb, 2)
    table = jobs_table.DynamoDbJobsTable(client, TABLE, paused.append)
    assert table.create(job(1), "key", {"a": 1}) == job(1).job_id
    assert len(paused) == 2
    # And when the other one has written the key meanwhile, its job is the answer
    client.conflicts = 1
    assert table.create(job(2), "key", {"a": 1}) == job(1).job_id


def test_a_conflict_that_does_not_end_is_told(world: JobsWorld) -> None:
    paused: list[float] = []
    client: Any = Conflicting(world.dynamodb, 100)
    with pytest.raises(ThrottledError):
        jobs_table.DynamoDbJobsTable(client, TABLE, paused.append).create(job(1), "key", {"a": 1})
    assert len(paused) == jobs_table.CONFLICT_ATTEMPTS - 1


def test_a_key_can_be_used_again_after_a_day(world: JobsWorld) -> None:
    first = world.jobs.create(job(1), "key", {"a": 1})
    (marker,) = [
        item
        for item in world.dynamodb.scan(TableName="VentureOS-BedrockBatchJobs")["Items"]
        if item["SK"]["S"] == "REQUEST"
    ]
    world.dynamodb.put_item(TableName="VentureOS-BedrockBatchJobs", Item={**marker, "ttl": {"N": "1"}})
    assert world.jobs.create(job(2), "key", {"a": 2}) != first


def test_a_change_is_made_only_where_the_expected_values_stand(world: JobsWorld) -> None:
    table, job_id = world.jobs, world.jobs.create(job())
    first = table.get(job_id)
    assert first is not None
    failed = replace(first, status=JobStatus.FAILED)
    told = replace(first, message="x", model_id="m")
    assert not table.change(failed, replace(failed, message="x"), only_if=(Guard.STATUS,))
    assert table.change(first, told, only_if=(Guard.STATUS, Guard.CREATION))
    assert table.get(job_id) == told
    assert not table.change(failed, failed, only_if=(Guard.STATUS,)), "a condition holds without a change too"
    assert table.change(told, replace(told, message=""))
    assert table.get(job_id) == replace(told, message="")
    gone = replace(first, job_id="batch-1790000000-ffffffff")
    assert not table.change(gone, replace(gone, message="x")), "no item comes into being"
    assert table.get(gone.job_id) is None


def test_a_change_leaves_what_another_call_has_written_meanwhile(world: JobsWorld) -> None:
    table = world.jobs
    first = table.get(table.create(job()))
    assert first is not None
    assert table.change(first, replace(first, bedrock_status="Submitted"))
    assert table.change(first, replace(first, message="x"))
    assert table.get(first.job_id) == replace(first, bedrock_status="Submitted", message="x")


def test_attributes_that_this_release_does_not_know_stay_and_are_shown(world: JobsWorld) -> None:
    written = replace(job(), other={"owner": "Ann", "depth": 3})
    table = world.jobs
    table.create(written)
    found = table.get(written.job_id)
    assert found == written
    assert table.change(found, replace(found, message="x"))
    assert table.get(written.job_id) == replace(written, message="x")


def test_an_item_that_no_release_wrote_is_named_and_does_not_hide_the_other_jobs(world: JobsWorld) -> None:
    table = world.jobs
    for number in (1, 2):
        table.create(job(number))
    strange = {**item_of_job(job(3)), "status": "Sleeping"}
    world.dynamodb.put_item(TableName=TABLE, Item=to_item(strange))
    with pytest.raises(UnreadableItemError, match=rf"{job(3).job_id}.*Sleeping"):
        table.get(job(3).job_id)
    assert [found.job_id for found in all_jobs(table)] == [job(2).job_id, job(1).job_id]


def test_the_listing_follows_the_status_and_knows_no_estimates(world: JobsWorld) -> None:
    table = world.jobs
    for number in range(3):
        table.create(job(number))
    estimate = new_job("estimate-1790000000-00000000", NOW, {}, dry_run=True)
    table.create(estimate)
    table.change(estimate, replace(estimate, status=JobStatus.COMPLETED))
    table.change(job(1), replace(job(1), status=JobStatus.COMPLETED, bedrock_status="Completed"))
    assert [found.job_id for found in all_jobs(table)] == [job(number).job_id for number in (2, 1, 0)]
    assert [found.job_id for found in all_jobs(table, JobStatus.COMPLETED)] == [job(1).job_id]
    assert [found.job_id for found in all_jobs(table, JobStatus.IN_PROGRESS)] == [job(2).job_id, job(0).job_id]


@pytest.mark.parametrize("cursor", ["!", "e30", "bm90IGpzb24", "WzFd", "eyJQSyI6MX0"])
def test_a_cursor_that_was_made_up_is_refused(world: JobsWorld, cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        world.jobs.list_jobs(None, 10, cursor)


def test_parts_are_replaced_as_a_whole_and_come_in_order(world: JobsWorld) -> None:
    table, job_id = world.jobs, world.jobs.create(job())
    table.put_parts(job_id, [part(number) for number in range(1, 61)])
    assert [found.number for found in table.parts(job_id)] == list(range(1, 61))
    table.put_parts(job_id, [part(2), part(1)])
    assert [found.number for found in table.parts(job_id)] == [1, 2]
    submitted, cancelled = (replace(part(2), status=status) for status in (PartStatus.SUBMITTED, PartStatus.CANCELLED))
    assert table.change_part(part(2), submitted, only_if=(Guard.STATUS,))
    assert not table.change_part(part(2), cancelled, only_if=(Guard.STATUS,))
    assert [found.status for found in table.parts(job_id)] == [PartStatus.QUEUED, PartStatus.SUBMITTED]


def test_jobs_enter_and_leave_those_in_flight(world: JobsWorld) -> None:
    table = world.jobs
    for number in (1, 2, 1):
        table.enter_in_flight(job(number).job_id)
    assert table.in_flight() == [job(1).job_id, job(2).job_id]
    table.leave_in_flight(job(1).job_id)
    table.leave_in_flight(job(1).job_id)
    assert table.in_flight() == [job(2).job_id]


def test_a_missing_table_is_the_deployments_fault(world: JobsWorld) -> None:
    world.dynamodb.delete_table(TableName="VentureOS-BedrockBatchJobs")
    for call in (
        lambda: world.jobs.get("x"),
        lambda: world.jobs.create(job()),
        lambda: world.jobs.change(job(), replace(job(), message="y")),
        lambda: world.jobs.list_jobs(None, 1),
    ):
        with pytest.raises(DeploymentError):
            call()


def test_a_settled_job_expires_with_all_its_items_and_one_that_is_opened_again_does_not(world: JobsWorld) -> None:
    table = world.jobs
    job_id = table.create(job(1))
    table.put_parts(job_id, [Part(job_id, 1, PartStatus.ENDED)])
    claims = DynamoDbClaims(world.dynamodb, "VentureOS-BedrockBatchJobs")
    claim = claims.take(Claim(job_id, "k", "e", 1, world.clock.now.replace(microsecond=0), 1), "a", 2_000, 1_000)
    assert claim is not None
    table.enter_in_flight(job_id)

    def expiries() -> list[Any]:
        items = world.dynamodb.scan(TableName="VentureOS-BedrockBatchJobs")["Items"]
        return [item.get("ttl", {}).get("N") for item in items]

    assert expiries() == [None] * 4
    table.settle(job_id, world.clock.now)
    assert table.in_flight() == []
    assert expiries() == [str(int(world.clock.now.timestamp()) + 30 * 86_400)] * 3
    settled = table.get(job_id)
    assert settled is not None
    assert settled.settled_at == world.clock.now
    table.reopen(job_id)
    assert table.in_flight() == [job_id]
    assert expiries() == [None] * 4
    opened = table.get(job_id)
    assert opened is not None
    assert (opened.settled_at, opened.ttl, opened.outputs_taken) == (None, None, False)
    assert claims.of_job(job_id) == [claim]
