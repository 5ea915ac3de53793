"""Generated content in ``VentureOS-Violations``, behind ``bedrock_batches.results.ports.Violations``.

BatchWriteItem takes 25 items a request, but no conditions
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html), and content that is verified
or newer must stay. So the keys are read first, 100 a request, consistently:

* A violation without content is written by BatchWriteItem.
* Content of the same job and time is there already, from a call that was killed: nothing to do.
* Verified or newer content is kept. Other content is replaced by PutItem, on the condition that it is still the content
  that was read; otherwise it is read and compared again. Times are compared as moments: an item that was changed by
  hand can name another zone or other fractions of a second, and DynamoDB compares texts.

One race remains. Between the read that finds no content and the write, a few milliseconds, another writer could add
newer content of the same violation. No writer does: a record is in flight in one job at a time, one call at a time
holds an object's lease, and a person verifies only content that exists.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from bedrock_batches.results.ports import ContentItem
from bedrock_batches.submit.names import moment_of
from bedrock_batches.sync.lake_content import plain_item
from bedrock_batches.violations import ATTRIBUTION, CONTENT, CONTENT_SORT_KEY, KEY_PREFIX
from foundation.aws.errors import conditional, translated
from foundation.aws.unprocessed import until_processed
from foundation.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

THREADS = 8
MOST_READ = 100
MOST_WRITTEN = 25
MOST_COMPARED = 3
"""The most times that an item is compared with the stored one while others change the stored one."""
Item = TypeVar("Item")
PAGE_ITEMS = 5_000
"""A page of a scan ends with the answer that reaches this size. An answer has up to 1 MB."""
READ = MappingProxyType({"ProjectionExpression": "PK, generated_at, is_verified, job_id"})


class DynamoDbViolations:
    """Stores generated content. ``threads`` threads share the client. Raises ThrottledError and AWS errors."""

    def __init__(self, client: DynamoDBClient, table: str, clock: Clock, threads: int = THREADS) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._threads = threads

    def put_content(self, items: Sequence[ContentItem]) -> int:
        groups = list(_groups(items, MOST_READ))
        if len(groups) <= 1:
            return sum(map(self._put_group, groups))
        with ThreadPoolExecutor(min(self._threads, len(groups))) as threads:
            return sum(threads.map(self._put_group, groups))

    def with_content(self, violation_ids: Collection[str]) -> set[str]:
        """See ``submit.ports.Contents``."""
        groups = _groups([f"{KEY_PREFIX}{violation_id}" for violation_id in violation_ids], MOST_READ)
        with ThreadPoolExecutor(self._threads) as threads:
            found = threads.map(self._existing, groups)
            return {key.removeprefix(KEY_PREFIX) for group in found for key in group}

    def current(self, violation_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """See ``sync.merge.ContentItems``."""
        groups = _groups([f"{KEY_PREFIX}{violation_id}" for violation_id in violation_ids], MOST_READ)
        with ThreadPoolExecutor(self._threads) as threads:
            found = threads.map(lambda group: self._existing(group, {}), groups)
            return {key.removeprefix(KEY_PREFIX): plain_item(item) for group in found for key, item in group.items()}

    def page(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        """See ``sync.merge.ContentItems``. The cursor is the last key of the page in base64."""
        items: list[dict[str, Any]] = []
        while len(items) < PAGE_ITEMS:
            start: dict[str, Any] = {}
            if cursor:
                partition, sort = orjson.loads(base64.urlsafe_b64decode(cursor))
                start = {"ExclusiveStartKey": {"PK": {"S": partition}, "SK": {"S": sort}}}
            with translated("dynamodb:Scan", self._table):
                answer = self._client.scan(
                    TableName=self._table,
                    ConsistentRead=True,
                    FilterExpression="SK = :content",
                    ExpressionAttributeValues={":content": {"S": CONTENT_SORT_KEY}},
                    **start,
                )
            items += [plain_item(item) for item in answer["Items"]]
            last = answer.get("LastEvaluatedKey")
            if not last:
                return items, ""
            cursor = base64.urlsafe_b64encode(orjson.dumps([last["PK"]["S"], last["SK"]["S"]])).decode()
        return items, cursor

    def _put_group(self, items: Sequence[ContentItem]) -> int:
        """Write up to ``MOST_READ`` items. Returns how many stored items were kept instead."""
        existing = self._existing([_partition_key(item) for item in items])
        absent = [item for item in items if _partition_key(item) not in existing]
        for group in _groups(absent, MOST_WRITTEN):
            self._write(group)
        found = [(item, existing[_partition_key(item)]) for item in items if _partition_key(item) in existing]
        return sum(self._is_kept(item, stored) for item, stored in found)

    def _existing(
        self, partition_keys: Sequence[str], projection: Mapping[str, str] = READ
    ) -> dict[str, dict[str, Any]]:
        """The stored items by partition key, with the attributes that decide whether they are kept, or all of them."""
        found: dict[str, dict[str, Any]] = {}

        def read(keys: Sequence[Any]) -> Sequence[Any]:
            request: Any = {"Keys": keys, "ConsistentRead": True, **projection}
            with translated("dynamodb:BatchGetItem", self._table):
                answer = self._client.batch_get_item(RequestItems={self._table: request})
            for stored in answer["Responses"].get(self._table, []):
                found[stored["PK"]["S"]] = dict(stored)
            unprocessed = answer.get("UnprocessedKeys", {}).get(self._table)
            return unprocessed["Keys"] if unprocessed else []

        keys = [{"PK": {"S": key}, "SK": {"S": CONTENT_SORT_KEY}} for key in partition_keys]
        until_processed(keys, read, "BatchGetItem", self._table, sleep=self._clock.sleep)
        return found

    def _write(self, items: Sequence[ContentItem]) -> None:
        def write(requests: Sequence[Any]) -> Sequence[Any]:
            with translated("dynamodb:BatchWriteItem", self._table):
                answer = self._client.batch_write_item(RequestItems={self._table: requests})
            return answer.get("UnprocessedItems", {}).get(self._table, [])

        requests = [{"PutRequest": {"Item": stored_item(item)}} for item in items]
        until_processed(requests, write, "BatchWriteItem", self._table, sleep=self._clock.sleep)

    def _is_kept(self, item: ContentItem, stored: dict[str, Any]) -> bool:
        """Replace stored content unless it must be kept."""
        for _ in range(MOST_COMPARED):
            if _is_verified(stored) or _is_newer(stored, item):
                return True
            if _generated_at(stored) == item.generated_at and stored.get("job_id") == {"S": item.job_id}:
                return False
            if self._replace(item, stored):
                return False
            stored = self._existing([_partition_key(item)]).get(_partition_key(item), {})
        return True

    def _replace(self, item: ContentItem, stored: dict[str, Any]) -> bool:
        """Replace the stored item. False if it has changed since it was read, or is verified."""
        values: dict[str, Any] = {":false": {"BOOL": False}}
        same = "attribute_not_exists(generated_at)"
        if "generated_at" in stored:
            same, values[":generated_at"] = "generated_at = :generated_at", stored["generated_at"]
        put = conditional(
            "dynamodb:PutItem",
            self._table,
            lambda: self._client.put_item(
                TableName=self._table,
                Item=stored_item(item),
                ConditionExpression=f"(attribute_not_exists(is_verified) OR is_verified = :false) AND {same}",
                ExpressionAttributeValues=values,
            ),
        )
        return put is not None


def stored_item(item: ContentItem) -> dict[str, Any]:
    """The item in DynamoDB's form. It has no time of writing, so the same content gives the same bytes."""
    texts = {
        "PK": _partition_key(item),
        "SK": CONTENT_SORT_KEY,
        "violation_id": item.violation_id,
        "agency": item.agency,
        "generated_at": item.generated_at,
        "attribution": ATTRIBUTION,
        "job_id": item.job_id,
        "model_id": item.model_id,
        "prompt_version": item.prompt_version,
        "stop_reason": item.stop_reason,
    }
    return {
        **{name: {"S": text} for name, text in texts.items() if text},
        **{field.attribute: _typed(getattr(item.content, field.name)) for field in CONTENT},
        "input_tokens": {"N": str(item.input_tokens)},
        "output_tokens": {"N": str(item.output_tokens)},
        "is_verified": {"BOOL": False},
    }


def _typed(value: str | Sequence[str]) -> dict[str, Any]:
    return {"S": value} if isinstance(value, str) else {"L": [{"S": text} for text in value]}


def _partition_key(item: ContentItem) -> str:
    return f"{KEY_PREFIX}{item.violation_id}"


def _is_verified(stored: dict[str, Any]) -> bool:
    """Any ``is_verified`` but a BOOL false counts as verified here; the sync rejects values that are not BOOL."""
    return bool(stored.get("is_verified", {"BOOL": False}) != {"BOOL": False})


def _generated_at(stored: dict[str, Any]) -> str:
    return str(stored.get("generated_at", {}).get("S", ""))


def _is_newer(stored: dict[str, Any], item: ContentItem) -> bool:
    """Whether the stored content was generated after this item.

    Content without a time counts as older. Content with an unreadable time counts as newer, because a person changed
    it, and the sync reports it.
    """
    if "generated_at" not in stored:
        return False
    try:
        return moment_of(_generated_at(stored)) > moment_of(item.generated_at)
    except (ValueError, OverflowError):
        return True


def _groups(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[begin : begin + size] for begin in range(0, len(items), size))
