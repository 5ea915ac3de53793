"""Leases in ``VentureOS-BedrockBatchJobs``: one holder at a time, and nobody waits for a holder that died.

Item: ``PK LEASE#<name>``, ``SK LEASE``, ``holder``, ``expiresAt`` (milliseconds since the epoch), ``ttl`` (seconds).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from foundation.aws.errors import error_code, translate
from foundation.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REFUSED = "ConditionalCheckFailedException"
KEPT_SECONDS = 86_400
"""How long an item that nobody released stays, for a person to look at."""


class DynamoDbLeases:
    """Raises what ``translate`` gives: DeploymentError, ThrottledError, ServiceUnavailableError."""

    def __init__(self, client: DynamoDBClient, table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        """True when ``owner`` now holds the lease, for so many seconds; its own lease is extended."""
        now_ms = self._clock.now_ms()
        until_ms = now_ms + int(seconds * 1000)
        try:
            self._client.put_item(
                TableName=self._table,
                Item={
                    "PK": {"S": f"LEASE#{name}"},
                    "SK": {"S": "LEASE"},
                    "holder": {"S": owner},
                    "expiresAt": {"N": str(until_ms)},
                    "ttl": {"N": str(until_ms // 1000 + KEPT_SECONDS)},
                },
                ConditionExpression="attribute_not_exists(PK) OR expiresAt < :now OR holder = :owner",
                ExpressionAttributeValues={":now": {"N": str(now_ms)}, ":owner": {"S": owner}},
            )
        except ClientError as error:
            if error_code(error) == REFUSED:
                return False
            raise translate(error, "dynamodb:PutItem", self._table) from error
        return True

    def release(self, name: str, owner: str) -> None:
        """Give the lease back; one that expired and went to another holder stays his."""
        try:
            self._client.delete_item(
                TableName=self._table,
                Key={"PK": {"S": f"LEASE#{name}"}, "SK": {"S": "LEASE"}},
                ConditionExpression="holder = :owner",
                ExpressionAttributeValues={":owner": {"S": owner}},
            )
        except ClientError as error:
            if error_code(error) != REFUSED:
                raise translate(error, "dynamodb:DeleteItem", self._table) from error
