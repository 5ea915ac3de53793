"""Leases in DynamoDB, behind ``foundation.ports.Leases``: one owner at a time, for a limited time.

They are in the same tables as the data that they protect, ``VentureOS-BedrockBatchJobs`` and ``batch_processor_runs``.
Item: ``PK LEASE#<name>``, ``SK <part>``, ``holder``, ``expiresAt`` (milliseconds since the epoch), ``ttl`` (seconds),
``schemaVersion``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foundation.aws.errors import conditional, translated
from foundation.ports import WHOLE, Clock, Lease

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_SECONDS = 86_400
"""How long the item of a lease that was never released is kept, so that a person can look at it."""
SCHEMA_VERSION = 1


def lease_partition(name: str) -> str:
    """The partition key of the leases of a name."""
    return f"LEASE#{name}"


class DynamoDbLeases:
    """Leases in one table. Methods raise DeploymentError, ThrottledError and ServiceUnavailableError."""

    def __init__(self, client: DynamoDBClient, table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def acquire(self, name: str, owner: str, seconds: float, part: str = WHOLE) -> bool:
        now_ms = self._clock.now_ms()
        until_ms = now_ms + int(seconds * 1000)
        taken = conditional(
            "dynamodb:PutItem",
            self._table,
            lambda: self._client.put_item(
                TableName=self._table,
                Item={
                    "PK": {"S": lease_partition(name)},
                    "SK": {"S": part},
                    "holder": {"S": owner},
                    "expiresAt": {"N": str(until_ms)},
                    "ttl": {"N": str(until_ms // 1000 + KEPT_SECONDS)},
                    "schemaVersion": {"N": str(SCHEMA_VERSION)},
                },
                ConditionExpression="attribute_not_exists(PK) OR expiresAt < :now OR holder = :owner",
                ExpressionAttributeValues={":now": {"N": str(now_ms)}, ":owner": {"S": owner}},
            ),
        )
        return taken is not None

    def release(self, name: str, owner: str, part: str = WHOLE) -> None:
        conditional(
            "dynamodb:DeleteItem",
            self._table,
            lambda: self._client.delete_item(
                TableName=self._table,
                Key={"PK": {"S": lease_partition(name)}, "SK": {"S": part}},
                ConditionExpression="holder = :owner",
                ExpressionAttributeValues={":owner": {"S": owner}},
            ),
        )

    def held(self, name: str) -> list[Lease]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="PK = :pk",
            FilterExpression="expiresAt >= :now",
            ExpressionAttributeValues={":pk": {"S": lease_partition(name)}, ":now": {"N": str(self._clock.now_ms())}},
            ConsistentRead=True,
        )
        with translated("dynamodb:Query", self._table):
            return [
                Lease(part=item["SK"]["S"], owner=item["holder"]["S"], until_ms=int(item["expiresAt"]["N"]))
                for page in pages
                for item in page["Items"]
            ]
