"""``VentureOS-BedrockBatchJobs``, behind ``submit.ports.JobsTable``. Items as in ``submit.job_items``."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import ClientError

from bedrock_batches.submit import names
from bedrock_batches.submit.job import KEPT, Job, JobStatus, Part
from bedrock_batches.submit.job_items import (
    NOT_SETTLED,
    Item,
    UnreadableItemError,
    changes,
    expires_at,
    item_of_job,
    item_of_part,
    job_of_item,
    part_of_item,
    settled_at,
)
from bedrock_batches.submit.ports import Guard, JobPage, KeyReusedError
from foundation.aws.cursors import cursor_after, start_key
from foundation.aws.dynamodb_items import from_item, to_item
from foundation.aws.errors import AWS_ERRORS, conditional, error_code, translate, translated
from foundation.aws.retry import retried
from foundation.aws.unprocessed import until_processed
from foundation.errors import ThrottledError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LOGGER = logging.getLogger("batch_processor.jobs_table")

CANCELLED = "TransactionCanceledException"
IDEMPOTENCY_SECONDS = 24 * 3_600
CONFLICT_ATTEMPTS = 5
"""Attempts at a transaction that conflicts with another one on the same item: the same key, sent twice at once."""
CONFLICT_PAUSE_SECONDS = 0.2
BATCH_ITEMS = 25
"""Most items of one BatchWriteItem
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html)."""


class DynamoDbJobsTable:
    def __init__(self, client: DynamoDBClient, table: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def create(
        self,
        job: Job,
        idempotency_key: str = "",
        request: Mapping[str, Any] | None = None,
        *,
        instead_of: str = "",
    ) -> str:
        key = f"IDEMPOTENCY#{_hash(idempotency_key.encode())}" if idempotency_key else ""
        body = _hash(orjson.dumps(request, option=orjson.OPT_SORT_KEYS))
        writes: list[Any] = [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": to_item(item_of_job(job)),
                    "ConditionExpression": "attribute_not_exists(PK)",
                }
            }
        ]
        if key:
            marker = {"PK": key, "SK": "REQUEST", "jobId": job.job_id, "request": body}
            writes.append(self._put_marker(marker, instead_of))
        try:
            earlier = retried(
                lambda: self._transact(writes, key),
                on=_ConflictError,
                attempts=CONFLICT_ATTEMPTS,
                first_pause_seconds=CONFLICT_PAUSE_SECONDS,
                sleep=self._sleep,
            )
        except _ConflictError as error:
            raise ThrottledError(
                "Another request with this Idempotency-Key is being processed: send it again later."
            ) from error
        if earlier is None:
            return job.job_id
        if earlier["request"] != body:
            raise KeyReusedError(
                "This Idempotency-Key was used for another request: send a new key, or the request as it was."
            )
        return str(earlier["jobId"])

    def _put_marker(self, marker: Mapping[str, Any], instead_of: str) -> dict[str, Any]:
        """DynamoDB deletes expired items late, so the condition looks at the time itself."""
        now = int(time.time())
        return {
            "Put": {
                "TableName": self._table,
                "Item": to_item({**marker, "ttl": now + IDEMPOTENCY_SECONDS}),
                "ConditionExpression": "attribute_not_exists(PK) OR #ttl < :now OR jobId = :replaced",
                "ExpressionAttributeNames": {"#ttl": "ttl"},
                "ExpressionAttributeValues": {":now": {"N": str(now)}, ":replaced": {"S": instead_of}},
            }
        }

    def _transact(self, writes: list[Any], key: str) -> dict[str, Any] | None:
        """The marker of an earlier request with this key; None if the job was written. Raises _ConflictError."""
        try:
            self._client.transact_write_items(TransactItems=writes)
        except AWS_ERRORS as error:
            earlier = self._get(key, "REQUEST") if key and error_code(error) == CANCELLED else None
            if earlier is not None:
                return earlier
            if _is_conflict(error):
                raise _ConflictError from error
            raise translate(error, "dynamodb:TransactWriteItems", self._table) from error
        return None

    def get(self, job_id: str) -> Job | None:
        item = self._get(names.job_key(job_id), names.METADATA)
        return None if item is None else job_of_item(item)

    def parts(self, job_id: str) -> list[Part]:
        found = self._query(
            KeyConditionExpression="PK = :pk AND begins_with(SK, :sk)",
            ExpressionAttributeValues={":pk": {"S": names.job_key(job_id)}, ":sk": {"S": names.PART_PREFIX}},
            ConsistentRead=True,
        )
        return [part_of_item(item) for item in found]

    def put_parts(self, job_id: str, parts: Sequence[Part]) -> None:
        kept = {part.number for part in parts}
        writes: list[Any] = [{"PutRequest": {"Item": to_item(item_of_part(part))}} for part in parts]
        writes += [
            {"DeleteRequest": {"Key": to_item(_part_key(part))}}
            for part in self.parts(job_id)
            if part.number not in kept
        ]
        for start in range(0, len(writes), BATCH_ITEMS):
            batch = writes[start : start + BATCH_ITEMS]
            until_processed(batch, self._write, "BatchWriteItem", self._table, sleep=self._sleep)

    def _write(self, requests: Sequence[Any]) -> Sequence[Any]:
        """The requests that were not processed."""
        with translated("dynamodb:BatchWriteItem", self._table):
            answer = self._client.batch_write_item(RequestItems={self._table: requests})
        return answer.get("UnprocessedItems", {}).get(self._table, [])

    def change(self, before: Job, after: Job, *, only_if: Collection[Guard] = ()) -> bool:
        return self._change(item_of_job(before), item_of_job(after), only_if)

    def change_part(self, before: Part, after: Part, *, only_if: Collection[Guard] = ()) -> bool:
        return self._change(item_of_part(before), item_of_part(after), only_if)

    def _change(self, before: Item, after: Item, only_if: Collection[Guard]) -> bool:
        expected = {name.value: before[name.value] for name in only_if}
        return self._update(before["PK"], before["SK"], changes(before, after), expected)

    def list_jobs(self, status: JobStatus | None, limit: int, cursor: str = "") -> JobPage:
        index, key, value = (
            (names.JOBS_BY_CREATED, "GSI1PK", names.LISTED)
            if status is None
            else (names.JOBS_BY_STATUS, "GSI2PK", names.status_key(status))
        )
        start: dict[str, Any] = {"ExclusiveStartKey": start_key(cursor, key, value, "GSI1SK")} if cursor else {}
        with translated("dynamodb:Query", f"{self._table}/index/{index}"):
            answer = self._client.query(
                TableName=self._table,
                IndexName=index,
                KeyConditionExpression=f"{key} = :value",
                ExpressionAttributeValues={":value": {"S": value}},
                ScanIndexForward=False,
                Limit=limit,
                **start,
            )
        return JobPage(list(_readable(answer["Items"])), cursor_after(answer.get("LastEvaluatedKey")))

    def in_flight(self) -> list[str]:
        found = self._query(
            KeyConditionExpression="PK = :pk",
            ExpressionAttributeValues={":pk": {"S": names.IN_FLIGHT_KEY}},
            ConsistentRead=True,
        )
        return [str(item["jobId"]) for item in found]

    def enter_in_flight(self, job_id: str) -> None:
        item = {**_in_flight_key(job_id), "jobId": job_id}
        with translated("dynamodb:PutItem", self._table):
            self._client.put_item(TableName=self._table, Item=to_item(item))

    def leave_in_flight(self, job_id: str) -> None:
        with translated("dynamodb:DeleteItem", self._table):
            self._client.delete_item(TableName=self._table, Key=to_item(_in_flight_key(job_id)))

    def settle(self, job_id: str, at: datetime) -> None:
        for sort in self._sort_keys(job_id):
            settled = settled_at(at) if sort == names.METADATA else {}
            self._update(names.job_key(job_id), sort, {**expires_at(at + KEPT), **settled}, {})
        self.leave_in_flight(job_id)

    def reopen(self, job_id: str) -> None:
        self.enter_in_flight(job_id)
        for sort in self._sort_keys(job_id):
            open_again = NOT_SETTLED if sort == names.METADATA else {}
            self._update(names.job_key(job_id), sort, {**expires_at(None), **open_again}, {})

    def _sort_keys(self, job_id: str) -> list[str]:
        """The job's item, its parts, and the claims on its outputs."""
        found = self._query(
            KeyConditionExpression="PK = :pk",
            ExpressionAttributeValues={":pk": {"S": names.job_key(job_id)}},
            ProjectionExpression="SK",
            ConsistentRead=True,
        )
        return [str(item["SK"]) for item in found]

    def _get(self, partition: str, sort: str) -> dict[str, Any] | None:
        with translated("dynamodb:GetItem", self._table):
            answer = self._client.get_item(
                TableName=self._table, Key=to_item({"PK": partition, "SK": sort}), ConsistentRead=True
            )
        return from_item(answer["Item"]) if "Item" in answer else None

    def _query(self, **query: Any) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("query").paginate(TableName=self._table, **query)
        with translated("dynamodb:Query", self._table):
            for page in pages:
                yield from map(from_item, page["Items"])

    def _update(self, partition: str, sort: str, changes: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
        """Set attributes where each ``expected`` value is stored, and remove those whose new value is None. Never
        creates an item."""
        if not changes and not expected:
            return True
        names_used = {f"#{name}": name for name in [*changes, *expected]}
        given = [name for name, value in changes.items() if value is not None]
        removed = [name for name, value in changes.items() if value is None]
        clauses = [
            *(["SET " + ", ".join(f"#{name} = :{name}" for name in given)] if given else []),
            *(["REMOVE " + ", ".join(f"#{name}" for name in removed)] if removed else []),
        ]
        values = {f":{name}": changes[name] for name in given}
        values |= {f":expected_{name}": value for name, value in expected.items()}
        options: dict[str, Any] = {"ExpressionAttributeValues": to_item(values)} if values else {}
        if clauses:
            options["UpdateExpression"] = " ".join(clauses)
        condition = " AND ".join(["attribute_exists(PK)", *(f"#{name} = :expected_{name}" for name in expected)])
        changed = conditional(
            "dynamodb:UpdateItem",
            self._table,
            lambda: self._client.update_item(
                TableName=self._table,
                Key=to_item({"PK": partition, "SK": sort}),
                ConditionExpression=condition,
                ExpressionAttributeNames=names_used,
                **options,
            ),
        )
        return changed is not None


def _readable(items: Iterable[Mapping[str, Any]]) -> Iterator[Job]:
    """The jobs of a listing. A job that cannot be read does not hide the others."""
    for item in items:
        try:
            yield job_of_item(from_item(item))
        except UnreadableItemError as error:
            LOGGER.error("job left out of the listing", extra={"why": str(error)})


def _part_key(part: Part) -> dict[str, str]:
    return {"PK": names.job_key(part.job_id), "SK": names.part_sort_key(part.number)}


def _in_flight_key(job_id: str) -> dict[str, str]:
    return {"PK": names.IN_FLIGHT_KEY, "SK": names.job_key(job_id)}


class _ConflictError(Exception):
    """Raised if another transaction works on the same item."""


def _is_conflict(error: Exception) -> bool:
    """https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""
    reasons: Any = error.response.get("CancellationReasons", []) if isinstance(error, ClientError) else []
    return any(reason.get("Code") == "TransactionConflict" for reason in reasons)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
