"""Claims on output objects, in ``VentureOS-BedrockBatchJobs``.

Item: ``PK JOB#<jobId>``, ``SK CLAIM#<sha256 of key and ETag>``, ``key, etag, size, lastModified, part, offset, chunks,
processed, errors, kept, truncated, repeated, inputTokens, outputTokens, answered, succeeded`` (bits; ``succeeded`` is
missing in claims of earlier versions), ``done, leaseOwner, leaseUntil`` (milliseconds since the epoch). Their ``ttl``
comes when the job settles.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bedrock_batches.results.ports import Claim, ClaimLostError, Counts
from foundation.aws.dynamodb_items import from_item, to_item
from foundation.aws.errors import conditional, translated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PREFIX = "CLAIM#"
NAMES = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
}


class DynamoDbClaims:
    """Implements ``results.ports.Claims``. Raises DeploymentError, ThrottledError and ServiceUnavailableError."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def take(self, claim: Claim, owner: str, until_ms: int, now_ms: int) -> Claim | None:
        new = replace(claim, lease_owner=owner, lease_until_ms=until_ms)
        if self._put(new, "attribute_not_exists(PK)"):
            return new
        condition = "done = :false AND (leaseUntil <= :now OR leaseOwner = :owner)"
        values = {":false": False, ":now": now_ms, ":owner": owner}
        answer = conditional(
            "dynamodb:UpdateItem",
            self._table,
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(claim),
                UpdateExpression="SET leaseOwner = :owner, leaseUntil = :until",
                ConditionExpression=condition,
                ExpressionAttributeValues=to_item({**values, ":until": until_ms}),
                ReturnValues="ALL_NEW",
            ),
        )
        if answer is not None:
            return _claim(answer["Attributes"])
        stored = self._stored(claim)
        return None if stored is None or stored.done else stored

    def commit(self, before: Claim, after: Claim) -> None:
        values = {":offset": before.offset, ":chunks": before.chunks, ":owner": before.lease_owner, ":false": False}
        condition = "#offset = :offset AND chunks = :chunks AND leaseOwner = :owner AND done = :false"
        if self._put(after, condition, values, {"#offset": "offset"}):
            return
        # The answer of our own write can be lost, and the SDK repeats it.
        if before == after or self._stored(after) != after:
            raise ClaimLostError(f"another call continues with s3 object {before.key} from {before.offset:,}")

    def amend(self, before: Claim, after: Claim) -> bool:
        counts = {":processed": before.counts.processed, ":errors": before.counts.errors}
        condition = "done = :true AND #processed = :processed AND #errors = :errors"
        names = {"#processed": "processed", "#errors": "errors"}
        # The answer of our own write can be lost, and the SDK repeats it.
        return self._put(after, condition, {**counts, ":true": True}, names) or self._stored(after) == after

    def _stored(self, claim: Claim) -> Claim | None:
        with translated("dynamodb:GetItem", self._table):
            answer = self._client.get_item(TableName=self._table, Key=_key(claim), ConsistentRead=True)
        return _claim(answer["Item"]) if "Item" in answer else None

    def release(self, claim: Claim) -> None:
        conditional(
            "dynamodb:UpdateItem",
            self._table,
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(claim),
                UpdateExpression="SET leaseUntil = :zero, leaseOwner = :nobody",
                ConditionExpression="leaseOwner = :owner",
                ExpressionAttributeValues=to_item({":zero": 0, ":nobody": "", ":owner": claim.lease_owner}),
            ),
        )

    def of_job(self, job_id: str) -> list[Claim]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="PK = :job AND begins_with(SK, :claim)",
            ExpressionAttributeValues=to_item({":job": f"JOB#{job_id}", ":claim": PREFIX}),
            ConsistentRead=True,
        )
        with translated("dynamodb:Query", self._table):
            return [_claim(item) for page in pages for item in page["Items"]]

    def _put(
        self, claim: Claim, condition: str, values: dict[str, Any] | None = None, names: dict[str, str] | None = None
    ) -> bool:
        options: dict[str, Any] = {"ExpressionAttributeValues": to_item(values)} if values else {}
        if names:
            options["ExpressionAttributeNames"] = names
        put = conditional(
            "dynamodb:PutItem",
            self._table,
            lambda: self._client.put_item(
                TableName=self._table, Item=_item(claim), ConditionExpression=condition, **options
            ),
        )
        return put is not None


def _key(claim: Claim) -> dict[str, Any]:
    digest = hashlib.sha256(f"{claim.key}\n{claim.etag}".encode()).hexdigest()
    return to_item({"PK": f"JOB#{claim.job_id}", "SK": f"{PREFIX}{digest}"})


def _item(claim: Claim) -> dict[str, Any]:
    counts = {NAMES.get(name, name): value for name, value in asdict(claim.counts).items()}
    attributes = {
        "key": claim.key,
        "etag": claim.etag,
        "size": claim.size,
        "lastModified": claim.last_modified.isoformat(),
        "part": claim.part,
        "offset": claim.offset,
        "chunks": claim.chunks,
        "answered": claim.answered,
        "succeeded": claim.succeeded,
        "done": claim.done,
        "leaseOwner": claim.lease_owner,
        "leaseUntil": claim.lease_until_ms,
        **counts,
    }
    return {**_key(claim), **to_item(attributes)}


def _claim(item: dict[str, Any]) -> Claim:
    found = from_item(item)
    fields = Counts.__dataclass_fields__
    return Claim(
        job_id=found["PK"].removeprefix("JOB#"),
        key=found["key"],
        etag=found["etag"],
        size=int(found["size"]),
        last_modified=datetime.fromisoformat(found["lastModified"]),
        part=None if found["part"] is None else int(found["part"]),
        offset=int(found["offset"]),
        chunks=int(found["chunks"]),
        counts=Counts(**{name: int(found.get(NAMES.get(name, name), 0)) for name in fields}),
        answered=bytes(found["answered"]),
        succeeded=bytes(found.get("succeeded", b"")),
        done=found["done"],
        lease_owner=found["leaseOwner"],
        lease_until_ms=int(found["leaseUntil"]),
    )
