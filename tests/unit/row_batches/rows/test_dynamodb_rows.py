"""Rows in a table that throttles, loses answers, and holds items of 400 KB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from foundation.errors import ThrottledError
from row_batches.document.plan import Keys, Storage, StorageMode
from row_batches.rows.dynamodb import ATTEMPTS, MOST_WRITTEN_AT_ONCE, DynamoDbRowStore
from row_batches.rows.partitions import batch_ids_of
from row_batches.rows.records import RowStatus
from tests.contract.test_row_store import lines_of, row_of, rows_of
from tests.support.fakes import FakeClock, FakeObjectStore
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_results_table


class Table:
    """A client between the store and the table that fails as it is told; counts what it lets through."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.takes = MOST_WRITTEN_AT_ONCE
        self.gives = 100
        self.loses = 0
        self.throttles = 0
        self.slow_key = ""
        self.written: list[str] = []
        self.queried: list[tuple[str | None, str]] = []
        """The index, and the partition key, of each query."""

    def batch_write_item(self, RequestItems: dict[str, list[Any]]) -> Any:  # noqa: N803 (AWS's name)
        ((table, requests),) = RequestItems.items()
        self._fail("BatchWriteItem")
        slow = [put for put in requests if put["PutRequest"]["Item"]["batch_id"]["S"] == self.slow_key]
        rest = [put for put in requests if put not in slow]
        taken = rest[: self.takes] or slow[:1]
        left = [put for put in requests if put not in taken]
        if taken:
            self._client.batch_write_item(RequestItems={table: taken})
            self.written += [put["PutRequest"]["Item"]["row_id"]["S"] for put in taken]
        if self.loses:
            self.loses -= 1
            raise ReadTimeoutError(endpoint_url="https://dynamodb")
        return {"UnprocessedItems": {table: left} if left else {}}

    def batch_get_item(self, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 (AWS's name)
        ((table, asked),) = RequestItems.items()
        self._fail("BatchGetItem")
        keys = asked["Keys"]
        answer = self._client.batch_get_item(RequestItems={table: {**asked, "Keys": keys[: self.gives]}})
        left = keys[self.gives :]
        return {**answer, "UnprocessedKeys": {table: {**asked, "Keys": left}} if left else {}}

    def query(self, **asked: Any) -> Any:
        self._fail("Query")
        self.queried.append((asked.get("IndexName"), asked["ExpressionAttributeValues"][":id"]["S"]))
        return self._client.query(**asked)

    def _fail(self, operation: str) -> None:
        if self.throttles:
            self.throttles -= 1
            error = {"Code": "ProvisionedThroughputExceededException", "Message": "slower"}
            raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}, operation)  # type: ignore[typeddict-item]


class World:
    def __init__(self, storage: Storage) -> None:
        client = boto3.client("dynamodb")
        self.name = make_results_table(client)
        self.table = Table(client)
        self.clock = FakeClock()
        self.objects = FakeObjectStore()
        self.storage = storage
        self.store = DynamoDbRowStore(
            self.table,  # type: ignore[arg-type]  # the operations that the store uses
            self.name,
            self.objects,
            Keys("run-1"),
            storage,
            batch_size=100,
            columns=["n"],
            clock=self.clock,
        )

    def items(self) -> list[dict[str, Any]]:
        found = boto3.client("dynamodb").scan(TableName=self.name)["Items"]
        return sorted(found, key=lambda item: (item["batch_id"]["S"], item["row_id"]["S"]))


def world_of(partitions: int = 1, **storage: Any) -> World:
    ids = batch_ids_of("echo", "run-1", partitions)
    return World(Storage(mode=StorageMode.DYNAMODB, batch_ids=ids, ttl_days=3, **storage))


@pytest.fixture(autouse=True)
def aws() -> Iterator[None]:
    with moto_aws("us-east-1"):
        yield


def assert_whole(world: World, rows: int) -> None:
    assert lines_of(world.store) == [f"{row},x\n" for row in range(1, rows + 1)]
    assert [answered.row for answered in world.store.answers()] == list(range(1, rows + 1))


def test_a_row_is_an_item_that_a_person_can_read() -> None:
    world = world_of()
    world.store.write([row_of(1), row_of(2, failed=True)])

    first, second, finished = world.items()

    assert {name: next(iter(value.values())) for name, value in first.items() if name != "record"} == {
        "batch_id": "echo#run-1",
        "row_id": "row_000000001",
        "status": "SUCCESS",
        "input_data": '{"n":"1"}',
        "output_data": '{"said": "x"}',
        "execution_time_ms": "1",
        "timestamp": "1970-01-01T00:00:01.001Z",
        "ttl": str(world.clock.now_ms() // 1000 + 3 * 86_400),
    }
    assert (second["status"]["S"], second["error_message"]["S"]) == ("FAILED", "Boom: it broke")
    assert (finished["batch_id"]["S"], finished["row_id"]["S"]) == (
        "echo#run-1#finished",
        "row_000000001-000000002",
    )
    assert "failed_batch_id" not in first, "the index has failed rows only"


def test_failed_rows_are_found_by_the_index_alone() -> None:
    world = world_of(partitions=3)
    world.store.write([row_of(row, failed=row in (7, 150, 299)) for row in range(1, 301)])

    listed = list(world.store.listed({RowStatus.FAILED}, row=100))

    assert [row.row for row in listed] == [150, 299]
    assert sorted(world.table.queried) == [("failed-rows", batch_id) for batch_id in world.storage.batch_ids]


def test_a_throttled_table_is_slower_and_nothing_is_lost_or_doubled() -> None:
    world = world_of()
    world.table.throttles, world.table.takes = 3, 7

    world.store.write(rows_of(1, 60))

    assert_whole(world, 60)
    assert world.clock.sleeps, "it waited"
    assert len(world.table.written) == len(set(world.table.written)) == 61

    world.table.throttles, world.table.gives = 2, 3
    assert [kept.row for kept in world.store.kept(range(1, 30))] == list(range(1, 30))
    world.table.throttles = 2
    assert list(world.store.finished()) == [(1, 60)]


def test_a_table_that_takes_nothing_is_an_error_and_writing_again_is_right() -> None:
    world = world_of()
    world.table.throttles = ATTEMPTS

    with pytest.raises(ThrottledError):
        world.store.write(rows_of(1, 30))

    assert list(world.store.finished()) == [], "rows that were not committed are not finished"
    world.store.write(rows_of(1, 30))
    assert_whole(world, 30)


def test_a_lost_answer_of_a_write_writes_no_row_twice() -> None:
    world = world_of()
    world.table.loses = 2

    world.store.write(rows_of(1, 40))

    assert_whole(world, 40)
    assert len(world.items()) == 41
    assert len(world.table.written) > 41, "the same items, again"


def test_rows_whose_write_was_not_committed_are_not_finished() -> None:
    world = world_of()
    world.store.write(rows_of(1, 10))
    item = world.items()[0]
    boto3.client("dynamodb").put_item(TableName=world.name, Item={**item, "row_id": {"S": "row_000000011"}})

    assert list(world.store.finished()) == [(1, 10)]
    assert_whole(world, 10)


def test_a_hot_partition_only_slows_its_own_rows() -> None:
    world = world_of(partitions=3)
    world.table.slow_key = world.storage.batch_ids[1]

    world.store.write(rows_of(95, 305))

    assert lines_of(world.store) == [f"{row},x\n" for row in range(95, 306)]
    by_key = {key: sum(item["batch_id"]["S"] == key for item in world.items()) for key in world.storage.batch_ids}
    assert by_key == {"echo#run-1#00": 11, "echo#run-1#01": 100, "echo#run-1#02": 100}


def test_a_row_of_more_than_400_kb_lies_in_an_object_that_its_item_names() -> None:
    world = world_of()
    large = row_of(2, said="é" * 300_000)
    large.record["csv"] = "2,large\n"
    failed = row_of(3, failed=True)
    failed.record["error"] = "Boom: " + "y" * 500_000

    world.store.write([row_of(1), large, failed])

    _, second, third, _ = world.items()
    assert second["spilled_to"]["S"] == "s3://results/work/run-1/spilled/000000000002.jsonl"
    assert not second.keys() & {"record", "output_data", "input_data"}
    assert len(third["error_message"]["S"]) == 1_000
    assert lines_of(world.store) == ["1,x\n", "2,large\n", "3,x\n"]
    (answer,) = world.store.kept([2])
    assert json.loads(answer.answer) == {"said": "é" * 300_000}
    assert [answered.status for answered in world.store.answers()] == ["SUCCESS", "SUCCESS", "FAILED"]
    assert [row.error for row in world.store.listed({RowStatus.FAILED})] == [failed.record["error"]]
    (finished,) = world.store.read()
    assert finished.write_units == 6, "1 + 1 + 2, with the index 1, and the item that commits them 1"


def test_compressed_rows_take_less_and_say_the_same() -> None:
    rows = [row_of(row, said="the same text " * 200) for row in range(1, 11)]
    plain, compressed = world_of(), world_of(compress=True)
    for world in (plain, compressed):
        world.store.write(rows)

    def units(world: World) -> int:
        return sum(finished.write_units for finished in world.store.read())

    assert units(compressed) < units(plain) / 2
    assert lines_of(compressed.store) == lines_of(plain.store)
    assert [row.answer for row in compressed.store.answers()] == [row.answer for row in plain.store.answers()]


def test_an_expired_item_is_a_row_that_is_not_there() -> None:
    world = world_of()
    world.store.write(rows_of(1, 5))
    key = {"batch_id": {"S": "echo#run-1"}, "row_id": {"S": "row_000000003"}}
    boto3.client("dynamodb").delete_item(TableName=world.name, Key=key)

    assert [(rows.first, rows.last) for rows in world.store.read()] == [(1, 2), (4, 5)]
    assert [kept.row for kept in world.store.kept([2, 3, 4])] == [2, 4]
