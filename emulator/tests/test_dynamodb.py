"""DynamoDB as the job and content tables use it: conditions, transactions, batches, pages of an index, permissions.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.resources import allow, make_role, unique


class Table:
    """A table like the job table: `PK`, `SK`, and an index of jobs by time."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws, self.name, self.client = aws, unique("table"), aws.client("dynamodb")
        keys = ("PK", "SK", "GSI1PK", "GSI1SK")
        described = self.client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "jobs-by-created",
                    "KeySchema": [
                        {"AttributeName": "GSI1PK", "KeyType": "HASH"},
                        {"AttributeName": "GSI1SK", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        self.arn: str = described["TableDescription"]["TableArn"]

    def put(self, key: str, **options: Any) -> None:
        item = {"PK": {"S": f"JOB#{key}"}, "SK": {"S": "METADATA"}, "GSI1PK": {"S": "JOBS"}, "GSI1SK": {"S": key}}
        self.client.put_item(TableName=self.name, Item=item, **options)

    def get(self, key: str) -> dict[str, Any] | None:
        found = self.client.get_item(TableName=self.name, Key={"PK": {"S": f"JOB#{key}"}, "SK": {"S": "METADATA"}})
        item: dict[str, Any] | None = found.get("Item")
        return item


@pytest.fixture(scope="module")
def table(local_aws: LocalAws) -> Table:
    return Table(local_aws)


def test_a_lease_is_taken_once_and_again_when_it_has_expired(table: Table) -> None:
    lease = {"PK": {"S": "LEASE#create"}, "SK": {"S": "LEASE"}}

    def take(owner: str, now: int) -> dict[str, Any]:
        taken: dict[str, Any] = table.client.put_item(
            TableName=table.name,
            Item={**lease, "owner": {"S": owner}, "expires_at": {"N": str(now + 30)}},
            ConditionExpression="attribute_not_exists(PK) OR expires_at < :now",
            ExpressionAttributeValues={":now": {"N": str(now)}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return taken

    take("first", 100)
    with pytest.raises(ClientError, match="ConditionalCheckFailedException") as refused:
        take("second", 120)
    assert refused.value.response["Item"]["owner"] == {"S": "first"}  # type: ignore[typeddict-item]
    take("second", 131)


def test_an_update_adds_sets_and_removes_in_one_write_under_a_condition(table: Table) -> None:
    """API_UpdateItem: several clauses see the item from before; ADD makes a number or a set that is missing"""
    key = {"PK": {"S": "RUN#1"}, "SK": {"S": "TOTALS"}}
    table.client.put_item(TableName=table.name, Item={**key, "a": {"N": "1"}, "b": {"S": "old"}, "c": {"S": "gone"}})

    updated = table.client.update_item(
        TableName=table.name,
        Key=key,
        UpdateExpression="ADD a :two, made :two, kinds :kinds SET b = :b, copied = b, d = if_not_exists(d, :two) "
        "REMOVE c",
        ConditionExpression="attribute_exists(PK) AND a < :limit",
        ExpressionAttributeValues={
            ":two": {"N": "2"},
            ":b": {"S": "new"},
            ":limit": {"N": "2"},
            ":kinds": {"SS": ["x", "y"]},
        },
        ReturnValues="ALL_NEW",
    )["Attributes"]

    kinds = set(updated.pop("kinds")["SS"])
    assert updated == {
        **key,
        "a": {"N": "3"},
        "made": {"N": "2"},
        "b": {"S": "new"},
        "copied": {"S": "old"},
        "d": {"N": "2"},
    }
    assert kinds == {"x", "y"}
    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        table.client.update_item(
            TableName=table.name,
            Key=key,
            UpdateExpression="ADD a :one",
            ConditionExpression="a < :limit",
            ExpressionAttributeValues={":one": {"N": "1"}, ":limit": {"N": "2"}},
        )


def test_concurrent_adds_lose_nothing(table: Table) -> None:
    """API_UpdateItem: ADD is atomic"""
    key = {"PK": {"S": "RUN#2"}, "SK": {"S": "TOTALS"}}

    def add(_: int) -> None:
        table.client.update_item(
            TableName=table.name,
            Key=key,
            UpdateExpression="ADD finished :one, failed :two",
            ExpressionAttributeValues={":one": {"N": "1"}, ":two": {"N": "2"}},
        )

    with ThreadPoolExecutor(8) as callers:
        list(callers.map(add, range(40)))
    found = table.client.get_item(TableName=table.name, Key=key, ConsistentRead=True)["Item"]
    assert (found["finished"], found["failed"]) == ({"N": "40"}, {"N": "80"})


def test_a_time_to_live_names_its_attribute_and_leaves_what_has_not_expired(table: Table) -> None:
    """API_UpdateTimeToLive; amazondynamodb/latest/developerguide/TTL.html"""
    table.client.update_time_to_live(
        TableName=table.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
    )
    described = table.client.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"]
    assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    kept = {"PK": {"S": "RUN#3"}, "SK": {"S": "TTL"}, "ttl": {"N": "99999999999"}}
    table.client.put_item(TableName=table.name, Item=kept)
    assert table.client.get_item(TableName=table.name, Key={"PK": kept["PK"], "SK": kept["SK"]})["Item"] == kept


def test_a_transaction_is_done_whole_or_not_at_all_and_says_which_part_failed(table: Table) -> None:
    table.put("there")

    def parts(key: str) -> list[dict[str, Any]]:
        item = {"PK": {"S": f"JOB#{key}"}, "SK": {"S": "METADATA"}}
        return [
            {"Put": {"TableName": table.name, "Item": item, "ConditionExpression": "attribute_not_exists(PK)"}},
            {
                "Update": {
                    "TableName": table.name,
                    "Key": {"PK": {"S": "STATS"}, "SK": {"S": "METADATA"}},
                    "UpdateExpression": "ADD jobs :one",
                    "ExpressionAttributeValues": {":one": {"N": "1"}},
                }
            },
        ]

    table.client.transact_write_items(TransactItems=parts("new"))
    with pytest.raises(ClientError, match="TransactionCanceledException") as refused:
        table.client.transact_write_items(TransactItems=parts("there"))
    reasons = [reason["Code"] for reason in refused.value.response["CancellationReasons"]]
    assert reasons == ["ConditionalCheckFailed", "None"]
    stats = table.client.get_item(TableName=table.name, Key={"PK": {"S": "STATS"}, "SK": {"S": "METADATA"}})["Item"]
    assert stats["jobs"] == {"N": "1"}


def test_an_index_is_read_newest_first_page_by_page(table: Table) -> None:
    for day in range(10, 17):
        table.put(f"2026-01-{day}")
    query: dict[str, Any] = {
        "TableName": table.name,
        "IndexName": "jobs-by-created",
        "KeyConditionExpression": "GSI1PK = :jobs AND begins_with(GSI1SK, :year)",
        "ExpressionAttributeValues": {":jobs": {"S": "JOBS"}, ":year": {"S": "2026"}},
        "ScanIndexForward": False,
        "Limit": 3,
    }
    days, sizes = [], []
    while True:
        page = table.client.query(**query)
        days += [item["GSI1SK"]["S"] for item in page["Items"]]
        sizes.append(len(page["Items"]))
        if "LastEvaluatedKey" not in page:
            break
        assert set(page["LastEvaluatedKey"]) == {"PK", "SK", "GSI1PK", "GSI1SK"}
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    assert days == [f"2026-01-{day}" for day in range(16, 9, -1)]
    assert sizes == [3, 3, 1]


def test_a_batch_takes_25_items_once_each(table: Table) -> None:
    def requests(count: int) -> dict[str, Any]:
        items = [{"PK": {"S": f"VIOLATION#{number}"}, "SK": {"S": "BEDROCK_CONTENT"}} for number in range(count)]
        return {table.name: [{"PutRequest": {"Item": item}} for item in items]}

    assert table.client.batch_write_item(RequestItems=requests(25))["UnprocessedItems"] == {}
    for refused in (requests(26), {table.name: requests(1)[table.name] * 2}):
        with pytest.raises(ClientError, match="ValidationException"):
            table.client.batch_write_item(RequestItems=refused)


def test_an_item_has_400_kb_at_most_and_an_answer_1_mb(table: Table) -> None:
    """ServiceQuotas: the names count; API_Query: a page ends at 1 MB, before attributes are left out"""
    key = {"PK": {"S": "LARGE"}, "SK": {"S": "0"}}
    room = 400 * 1024 - len("PKLARGESK0text")
    for operation in ("put_item", "batch_write_item"):
        for size, fits in ((room, True), (room + 1, False)):
            item = {**key, "text": {"S": "x" * size}}
            whole = {"TableName": table.name, "Item": item}
            batch = {"RequestItems": {table.name: [{"PutRequest": {"Item": item}}]}}
            asked: dict[str, Any] = whole if operation == "put_item" else batch
            if fits:
                getattr(table.client, operation)(**asked)
                continue
            with pytest.raises(ClientError, match="Item size has exceeded"):
                getattr(table.client, operation)(**asked)
    for number in range(1, 5):
        table.client.put_item(TableName=table.name, Item={**key, "SK": {"S": str(number)}, "text": {"S": "x" * room}})

    page = table.client.query(
        TableName=table.name,
        KeyConditionExpression="PK = :pk",
        ExpressionAttributeValues={":pk": {"S": "LARGE"}},
        ProjectionExpression="SK",
        ConsistentRead=True,
    )

    assert 2 <= len(page["Items"]) <= 3
    assert "LastEvaluatedKey" in page


def all_pages(table: Table, **query: Any) -> list[str]:
    """The sort keys of a query, read page by page."""
    pages = table.client.get_paginator("query").paginate(TableName=table.name, ConsistentRead=True, **query)
    return [item["SK"]["S"] for page in pages for item in page["Items"]]


@pytest.mark.parametrize(
    "paging", [{}, {"Limit": 7}, {"ScanIndexForward": False}, {"ScanIndexForward": False, "Limit": 3}]
)
def test_a_query_reads_the_range_of_sort_keys_that_it_names_in_both_directions(
    table: Table, paging: dict[str, Any]
) -> None:
    """API_Query, KeyConditionExpression; developerguide/Query.Pagination.html"""
    partition = {"S": unique("RANGE")}
    every: dict[str, Any] = {
        **paging,
        "KeyConditionExpression": "PK = :pk",
        "ExpressionAttributeValues": {":pk": partition},
    }
    assert all_pages(table, **every) == []
    keys = [f"row_{number:03d}" for number in range(60)] + ["row_1", "é", "\U0001f600"]
    for key in reversed(keys):
        table.client.put_item(TableName=table.name, Item={"PK": partition, "SK": {"S": key}})
    assert all_pages(table, **every) == sorted(keys, reverse="ScanIndexForward" in paging)
    table.client.put_item(TableName=table.name, Item={"PK": partition, "SK": {"S": "row_0075"}})
    table.client.delete_item(TableName=table.name, Key={"PK": partition, "SK": {"S": "row_008"}})
    keys = sorted({*keys, "row_0075"} - {"row_008"}, reverse="ScanIndexForward" in paging)

    def asked(condition: str, **values: str) -> list[str]:
        given = {":pk": partition, **{f":{name}": {"S": value} for name, value in values.items()}}
        names = {"ExpressionAttributeNames": {"#sk": "SK"}} if "#sk" in condition else {}
        query = {"KeyConditionExpression": condition, "ExpressionAttributeValues": given, **names, **paging}
        return all_pages(table, **query)

    assert asked("PK = :pk") == keys
    low, high = "row_007", "row_020"
    assert asked("PK = :pk AND SK BETWEEN :a AND :z", a=low, z=high) == [key for key in keys if low <= key <= high]
    assert asked("#sk >= :a AND PK = :pk", a=high) == [key for key in keys if key >= high]
    assert asked("PK = :pk AND SK > :a", a=high) == [key for key in keys if key > high]
    assert asked("PK = :pk AND SK <= :z", z=low) == [key for key in keys if key <= low]
    assert asked("PK = :pk AND SK < :z", z=low) == [key for key in keys if key < low]
    assert asked("PK = :pk AND #sk = :a", a=low) == [low]
    assert asked("PK = :pk AND begins_with(SK, :p)", p="row_00") == [key for key in keys if key.startswith("row_00")]
    assert asked("PK = :pk AND begins_with(#sk, :p)", p="row_9") == []
    with pytest.raises(ClientError, match="ValidationException"):
        asked("PK = :pk AND SK BETWEEN :a AND :z", a=high, z=low)


def test_a_query_knows_the_items_of_a_transaction_and_none_of_one_that_was_refused(table: Table) -> None:
    partition = {"S": unique("TRANSACTION")}
    query: dict[str, Any] = {
        "KeyConditionExpression": "PK = :pk AND SK > :zero",
        "ExpressionAttributeValues": {":pk": partition, ":zero": {"S": "0"}},
    }

    def put(key: str) -> dict[str, Any]:
        item = {"PK": partition, "SK": {"S": key}}
        return {"Put": {"TableName": table.name, "Item": item, "ConditionExpression": "attribute_not_exists(PK)"}}

    table.client.transact_write_items(TransactItems=[put("2")])
    assert all_pages(table, **query) == ["2"]
    table.client.transact_write_items(TransactItems=[put("1"), put("3")])
    with pytest.raises(ClientError, match="TransactionCanceledException"):
        table.client.transact_write_items(TransactItems=[put("4"), put("2")])
    assert all_pages(table, **query) == ["1", "2", "3"]


def test_a_verified_item_is_not_overwritten(table: Table) -> None:
    key = {"PK": {"S": "VIOLATION#v"}, "SK": {"S": "BEDROCK_CONTENT"}}
    table.client.put_item(TableName=table.name, Item={**key, "is_verified": {"BOOL": True}, "title": {"S": "by hand"}})
    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        table.client.put_item(
            TableName=table.name,
            Item={**key, "title": {"S": "generated"}},
            ConditionExpression="attribute_not_exists(is_verified) OR is_verified <> :yes",
            ExpressionAttributeValues={":yes": {"BOOL": True}},
        )


def test_a_role_may_do_what_its_policy_names_on_the_table_and_its_index(table: Table) -> None:
    role = make_role(table.aws, allow(["dynamodb:PutItem", "dynamodb:Query"], table.arn))
    client = table.aws.client_as(role, "dynamodb")
    item = {"PK": {"S": "JOB#role"}, "SK": {"S": "METADATA"}}
    client.put_item(TableName=table.name, Item=item)
    client.transact_write_items(TransactItems=[{"Put": {"TableName": table.name, "Item": item}}])
    calls: list[tuple[str, Callable[[], Any]]] = [
        (
            "BatchWriteItem",
            lambda: client.batch_write_item(RequestItems={table.name: [{"PutRequest": {"Item": item}}]}),
        ),
        ("DeleteItem", lambda: client.delete_item(TableName=table.name, Key=item)),
        (
            "Query",
            lambda: client.query(
                TableName=table.name,
                IndexName="jobs-by-created",
                KeyConditionExpression="GSI1PK = :jobs",
                ExpressionAttributeValues={":jobs": {"S": "JOBS"}},
            ),
        ),
    ]
    for action, call in calls:
        with pytest.raises(ClientError, match=f"AccessDeniedException.*dynamodb:{action}"):
            call()
