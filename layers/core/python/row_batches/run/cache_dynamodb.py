"""``batch_processor_answers``, behind ``row_batches.run.answer_cache.AnswerCache``.

Item: ``answer_id``, ``target``, ``version``, ``answered_at`` (ISO), ``answered_ms``, ``answer`` (compressed JSON),
``ttl``. The ids are hashes, so that items spread over all partitions.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from foundation.aws.errors import translated
from row_batches.mapping.metadata_columns import timestamp
from row_batches.run.answer_cache import CachedAnswer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MOST_ANSWER_BYTES = 390 * 1024
"""The compressed size of the largest answer that is kept. An item can be up to 400 KB, attribute names included
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html)."""
MOST_READ_AT_ONCE = 25
"""BatchGetItem answers with up to 16 MB; 25 of the largest items are less."""
MOST_WRITTEN_AT_ONCE = 25
ATTEMPTS = 3
"""Attempts at items that a throttled table left over. After them, a read misses the rest and a write drops it."""
SECONDS_A_DAY = 86_400


class DynamoDbAnswers:
    """Answers in a DynamoDB table. Raises DeploymentError, ThrottledError and ServiceUnavailableError."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, ids: Collection[str], since_ms: int) -> Iterator[tuple[str, bytes]]:
        """Read answers. DynamoDB can take days to delete an expired item, so the time of each item is checked."""
        waiting = iter(ids)
        while keys := [{"answer_id": {"S": each}} for each in islice(waiting, MOST_READ_AT_ONCE)]:
            left: Any = {self._table: {"Keys": keys}}
            for _ in range(ATTEMPTS):
                with translated("dynamodb:BatchGetItem", self._table):
                    answer = self._client.batch_get_item(RequestItems=left)
                for item in answer["Responses"].get(self._table, []):
                    if int(item["answered_ms"]["N"]) >= since_ms:
                        yield item["answer_id"]["S"], zlib.decompress(item["answer"]["B"])
                left = answer.get("UnprocessedKeys")
                if not left:
                    break

    def keep(self, answers: Sequence[CachedAnswer], now_ms: int, days: int) -> None:
        items: dict[str, dict[str, Any]] = {}  # by id, because a request must not name an id twice
        for each in answers:
            compressed = zlib.compress(each.answer)
            if len(compressed) <= MOST_ANSWER_BYTES:
                items[each.id] = {
                    "answer_id": {"S": each.id},
                    "target": {"S": each.target},
                    "version": {"S": each.version},
                    "answered_at": {"S": timestamp(now_ms)},
                    "answered_ms": {"N": str(now_ms)},
                    "answer": {"B": compressed},
                    "ttl": {"N": str(now_ms // 1000 + days * SECONDS_A_DAY)},
                }
        waiting = iter(items.values())
        while puts := [{"PutRequest": {"Item": item}} for item in islice(waiting, MOST_WRITTEN_AT_ONCE)]:
            left: Any = {self._table: puts}
            for _ in range(ATTEMPTS):
                with translated("dynamodb:BatchWriteItem", self._table):
                    left = self._client.batch_write_item(RequestItems=left).get("UnprocessedItems")
                if not left:
                    break
