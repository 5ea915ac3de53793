"""Leases on DynamoDB: one holder at a time, none for ever."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from bedrock_batches.wiring import call_owner
from foundation.aws.leases import DynamoDbLeases
from foundation.errors import DeploymentError
from tests.support.moto_aws import moto_aws

TABLE = "VentureOS-BedrockBatchJobs"


class Clock:
    def __init__(self) -> None:
        self.ms = 1_790_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@pytest.fixture
def client() -> Iterator[Any]:
    with moto_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "PK", "AttributeType": "S"},
                {"AttributeName": "SK", "AttributeType": "S"},
            ],
        )
        yield client


def test_an_event_that_lambda_delivers_twice_at_once_is_worked_on_by_one_call(client: Any) -> None:
    # Given two calls under one request id, as Lambda gives them to a repeated event
    leases, context = DynamoDbLeases(client, TABLE, Clock()), SimpleNamespace(aws_request_id="request-1")
    first, second = call_owner(context), call_owner(context)
    # Then one of them holds the lease
    assert leases.acquire("create", first, 60)
    assert not leases.acquire("create", second, 60)


def test_one_holder_at_a_time_until_it_is_given_back(client: Any) -> None:
    leases = DynamoDbLeases(client, TABLE, Clock())
    assert leases.acquire("sync#osha", "a", 60)
    assert not leases.acquire("sync#osha", "b", 60)
    assert leases.acquire("sync#epa", "b", 60)
    leases.release("sync#osha", "a")
    assert leases.acquire("sync#osha", "b", 60)


def test_the_lease_of_a_holder_that_died_expires(client: Any) -> None:
    clock = Clock()
    leases = DynamoDbLeases(client, TABLE, clock)
    leases.acquire("create", "a", 60)
    clock.sleep(60.001)
    assert leases.acquire("create", "b", 60)
    leases.release("create", "a")
    assert not leases.acquire("create", "c", 60), "the late release was not the new holder's"


def test_a_holder_may_extend_its_lease_and_release_twice(client: Any) -> None:
    clock = Clock()
    leases = DynamoDbLeases(client, TABLE, clock)
    leases.acquire("create", "a", 60)
    clock.sleep(50)
    assert leases.acquire("create", "a", 60)
    clock.sleep(50)
    assert not leases.acquire("create", "b", 60)
    leases.release("create", "a")
    leases.release("create", "a")


def test_a_missing_table_is_the_deployments_fault(client: Any) -> None:
    leases = DynamoDbLeases(client, "other", Clock())
    with pytest.raises(DeploymentError):
        leases.acquire("create", "a", 60)
    with pytest.raises(DeploymentError):
        leases.release("create", "a")
