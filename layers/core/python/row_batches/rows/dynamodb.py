"""Finished rows as items of a DynamoDB table, behind ``row_batches.rows.store.RowStore``.

A row is an item that a person can query while the batch runs: ``batch_id, row_id, status, input_data, output_data,
execution_time_ms, timestamp, ttl``, and ``record``, from which the output is made. The rows of an execution are spread
over the partition keys of its plan, in blocks of ``BLOCK_ROWS``, because a partition takes 1,000 write units a second
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html).

Each write of consecutive rows ends with a small item under ``<batch_id>#finished``, which commits them. Only these
items say which rows are finished. A row that is written twice is one item, so it is read once. Rows that are not
SUCCESS are also in the index ``FAILED_ROWS``, under the same key. A row that is too large for an item is in an object,
and its item names the object.
"""

from __future__ import annotations

import heapq
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import orjson

from foundation.aws.errors import translated
from foundation.aws.retry import retried
from foundation.errors import ObjectNotFoundError, ServiceUnavailableError, ThrottledError
from foundation.json_text import parse_json, render_json
from foundation.ports import Clock, ObjectStore
from row_batches.document.plan import Keys, Storage
from row_batches.mapping.metadata_columns import timestamp
from row_batches.rows.markers import Covered, Markers
from row_batches.rows.partitions import BLOCK_ROWS, block_of, row_id
from row_batches.rows.read_ahead import read_ahead
from row_batches.rows.records import (
    AnsweredRow,
    FinishedRow,
    KeptAnswer,
    KeptFailure,
    RowColumns,
    RowRecord,
    RowStatus,
    columns_of,
    consecutive_runs,
)
from row_batches.rows.store import FinishedRows, ListedRow, RowRange

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FAILED_ROWS = "failed-rows"
MOST_ITEM_BYTES = 400 * 1024
MOST_WRITTEN_AT_ONCE = 25
"""Items of a BatchWriteItem. For the limits, see
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html."""
MOST_READ_AT_ONCE = 25
"""Items of a BatchGetItem, which answers with up to 16 MB; 25 of the largest items are less."""
UNIT_BYTES = 1024
ATTEMPTS = 12
"""Attempts at items that a throttled table left over. Their pauses add up to some 20 s, with jitter."""
SECONDS_A_DAY = 86_400
MOST_MESSAGE_CHARACTERS = 1_000
"""The longest error message in an item."""
MOST_GROUPS_AHEAD = 24
MOST_BYTES_AHEAD = 16 * 1024 * 1024
MOST_ANSWER_BYTES_AHEAD = 32 * 1024 * 1024
GROUP_BYTES = 1024 * 1024
"""One query reads rows of one partition key up to this size."""

Item = dict[str, Any]
Result = TypeVar("Result")


class _Range(NamedTuple):
    """Rows that one write finished, the bytes of their items and objects, and their write units."""

    first: int
    last: int
    bytes: int
    units: int


def partitions_of(storage: Storage) -> list[str]:
    """All partition keys of an execution's rows, and of the items that commit them."""
    return [partition for batch_id in storage.batch_ids for partition in (batch_id, _finished_partition(batch_id))]


def _finished_partition(batch_id: str) -> str:
    return f"{batch_id}#finished"


class DynamoDbRowStore:
    """The finished rows of the execution of ``keys`` in ``table``. ``storage`` comes from its plan.

    ``columns`` are the names of the input's columns. Memory: ``read`` holds ``MOST_BYTES_AHEAD`` and one group.
    ``answers`` holds ``MOST_ANSWER_BYTES_AHEAD``, one group (``BLOCK_ROWS`` items of up to 400 KB) and one row from an
    object. ``kept`` holds ``MOST_READ_AT_ONCE`` items and one such row.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        objects: ObjectStore,
        keys: Keys,
        storage: Storage,
        *,
        batch_size: int,
        columns: Sequence[str],
        clock: Clock,
    ) -> None:
        self._client = client
        self._table = table
        self._objects = objects
        self._keys = keys
        self._storage = storage
        self._columns = columns
        self._clock = clock
        self._markers = Markers(objects, keys, batch_size)

    def _batch_id(self, row: int) -> str:
        ids = self._storage.batch_ids
        return ids[block_of(row) % len(ids)]

    # --- writing

    def write(self, rows: Sequence[FinishedRow]) -> None:
        expires = self._clock.now_ms() // 1000 + self._storage.ttl_days * SECONDS_A_DAY
        sizes: dict[int, tuple[int, int]] = {}
        items: list[Item] = []
        for finished in rows:
            item, spilled_bytes = self._item(finished, expires)
            units = ceil(_size(item) / UNIT_BYTES) + finished.has_failed
            sizes[finished.row] = (_size(item) + spilled_bytes, units)
            items.append(item)
        self._put(items)
        self._put([self._marker(run, sizes, expires) for run in _runs_in_blocks(rows)])

    def _item(self, finished: FinishedRow, expires: int) -> tuple[Item, int]:
        """The row's item, and the number of its bytes that are in an object."""
        record = finished.record
        batch_id = self._batch_id(finished.row)
        ended_ms = record["started_ms"] + record["duration_ms"]
        item: Item = {
            "batch_id": {"S": batch_id},
            "row_id": {"S": row_id(finished.row)},
            "status": {"S": record["status"].value},
            "execution_time_ms": {"N": str(record["duration_ms"])},
            "timestamp": {"S": timestamp(ended_ms)},
            "ttl": {"N": str(expires)},
        }
        if finished.has_failed:
            item["failed_batch_id"] = {"S": batch_id}
            item["error_message"] = {"S": record["error"][:MOST_MESSAGE_CHARACTERS]}
        row_input = dict(zip(self._columns, finished.cells, strict=True))
        texts = {
            "input_data": render_json(row_input).encode(),
            "output_data": finished.answer,
            "record": render_json(record).encode(),
        }
        whole = item | {name: self._attribute(text) for name, text in texts.items()}
        if _size(whole) <= MOST_ITEM_BYTES:
            return whole, 0
        key = self._keys.spilled_row(finished.row)
        body = b"\n".join((texts["record"], texts["output_data"], texts["input_data"], b""))
        self._objects.put(key, body)
        return item | {"spilled_to": {"S": f"s3://{self._objects.bucket}/{key}"}}, len(body)

    def _attribute(self, text: bytes) -> Item:
        if self._storage.compress:
            compressed = zlib.compress(text)
            if len(compressed) < len(text):
                return {"B": compressed}
        return {"S": text.decode()}

    def _marker(self, run: Sequence[FinishedRow], sizes: dict[int, tuple[int, int]], expires: int) -> Item:
        first, last = run[0].row, run[-1].row
        size, units = (sum(numbers) for numbers in zip(*[sizes[finished.row] for finished in run], strict=True))
        return {
            "batch_id": {"S": _finished_partition(self._batch_id(first))},
            "row_id": {"S": f"{row_id(first)}-{last:09d}"},
            "bytes": {"N": str(size)},
            "units": {"N": str(units + 1)},
            "ttl": {"N": str(expires)},
        }

    def _put(self, items: Sequence[Item]) -> None:
        for start in range(0, len(items), MOST_WRITTEN_AT_ONCE):
            left: dict[str, Any] = {
                self._table: [{"PutRequest": {"Item": item}} for item in items[start : start + MOST_WRITTEN_AT_ONCE]]
            }

            def put() -> int:
                nonlocal left
                with translated("dynamodb:BatchWriteItem", self._table):
                    left = dict(self._client.batch_write_item(RequestItems=left).get("UnprocessedItems", {}))
                return len(left.get(self._table, ()))

            self._until_none_is_left(put, len(left[self._table]))

    def _until_none_is_left(self, ask: Callable[[], int], left: int) -> None:
        """Repeat ``ask`` with pauses until it leaves no items. Continues while the table accepts some of them."""

        def ask_for_all() -> None:
            nonlocal left
            left = ask()
            if left:
                raise ThrottledError(f"{self._table} is throttled. Try again at a slower pace.")

        while True:
            before = left
            try:
                return self._retried(ask_for_all)
            except ThrottledError:
                if left == before:
                    raise

    # --- which rows are finished

    def finished(self, first: int = 1, last: int | None = None) -> Iterator[RowRange]:
        for written in self._written(first, last):
            yield RowRange(max(written.first, first), written.last if last is None else min(written.last, last))

    def _written(self, first: int, last: int | None = None) -> Iterator[_Range]:
        """The written ranges that have rows from ``first`` to ``last``, ascending. They can overlap."""
        ids = self._storage.batch_ids
        blocks = range(block_of(first), len(ids) + block_of(first) if last is None else block_of(last) + 1)
        wanted = sorted({block % len(ids) for block in blocks})
        shards = [self._written_in(ids[number], first, last) for number in wanted]
        for written in heapq.merge(*shards):
            if written.last >= first:
                yield written

    def _written_in(self, batch_id: str, first: int, last: int | None) -> Iterator[_Range]:
        begin = block_of(first) * BLOCK_ROWS + 1
        end = f"{row_id(last)}~" if last is not None else "row~"
        for item in self._query(_finished_partition(batch_id), row_id(begin), end):
            begins, ends = item["row_id"]["S"].removeprefix("row_").split("-")
            yield _Range(int(begins), int(ends), int(item["bytes"]["N"]), int(item["units"]["N"]))

    # --- in order, without answers

    def read(self, row: int = 1, position: str = "") -> Generator[FinishedRows, None, None]:  # noqa: ARG002 (``row`` says it)
        sent = self._markers.letters_sent(row)
        groups = _grouped(self._written(row), row)
        reading = read_ahead(groups, self._records, most_parts=MOST_GROUPS_AHEAD, most_bytes=MOST_BYTES_AHEAD)
        with closing(reading):
            for group, records in reading:
                for first, last in _runs(records):
                    yield _TableRows(records[first:last], group if first == 0 else None, sent)

    def _records(self, group: _Group) -> list[RowRecord]:
        names = "row_id, #record, spilled_to"
        items = self._query(self._batch_id(group.first), row_id(group.first), row_id(group.last), names)
        return [self._texts(item)[0] for item in items]

    def _texts(self, item: Item) -> tuple[RowRecord, bytes]:
        """The record of a row's item, and its answer as JSON text, if it was asked for."""
        if "spilled_to" in item:
            lines = self._objects.get(item["spilled_to"]["S"].split("/", 3)[3]).split(b"\n", 2)
            return orjson.loads(lines[0]), lines[1]
        return orjson.loads(_text(item["record"])), _text(item["output_data"]) if "output_data" in item else b""

    # --- with answers

    def answers(self, row: int = 1) -> Generator[AnsweredRow, None, None]:
        reading = read_ahead(
            _grouped(self._written(row), row),
            lambda group: list(self._query(self._batch_id(group.first), row_id(group.first), row_id(group.last))),
            most_parts=MOST_GROUPS_AHEAD,
            most_bytes=MOST_ANSWER_BYTES_AHEAD,
        )
        with closing(reading):
            for _, items in reading:
                yield from map(self._answered, items)
                del items

    def _answered(self, item: Item) -> AnsweredRow:
        record, answer = self._texts(item)
        succeeded = record["status"] == RowStatus.SUCCESS
        unmatched = not succeeded and bool(record.get("missing"))
        return AnsweredRow(
            row=record["row"],
            status=RowStatus(record["status"]),
            started_ms=record["started_ms"],
            ended_ms=record["started_ms"] + record["duration_ms"],
            attempts=record["attempts"],
            error=record.get("error", ""),
            answer=parse_json(answer.decode()) if succeeded or unmatched else None,
            unmatched=unmatched,
            target_version=record["target_version"],
            error_name=record.get("error_name", ""),
            usage=record.get("usage", {}),
        )

    def kept(self, rows: Collection[int]) -> Iterator[KeptAnswer]:
        for item in self._get(sorted(rows), "row_id, #status, #record, output_data, spilled_to"):
            if item["status"]["S"] != RowStatus.SUCCESS:
                continue
            try:
                record, answer = self._texts(item)
            except ObjectNotFoundError:
                continue
            yield KeptAnswer(record["row"], record["hash"], record["target_version"], answer)

    def failures(self, rows: Collection[int]) -> Iterator[KeptFailure]:
        for item in self._get(sorted(rows), "row_id, #status, #record, spilled_to"):
            if item["status"]["S"] == RowStatus.SUCCESS:
                continue
            try:
                record, _ = self._texts(item)
            except ObjectNotFoundError:
                continue
            status = RowStatus(record["status"])
            yield KeptFailure(record["row"], status, record.get("error_name", ""), record.get("error", ""))

    # --- for people

    def listed(self, statuses: Collection[RowStatus], row: int = 1) -> Generator[ListedRow, None, None]:
        """Rows of these statuses. Rows that are not SUCCESS come from the index, which is slightly out of date."""
        if RowStatus.SUCCESS in statuses:
            items = self._listed_by_reading(row)
        else:
            items = self._get(self._failed_rows(row), "row_id, #status, #record, spilled_to")
        for item in items:
            if item["status"]["S"] in statuses:
                record = self._texts(item)[0]
                yield ListedRow(record["row"], RowStatus(record["status"]), record.get("error", ""), record["csv"])

    def _listed_by_reading(self, row: int) -> Iterator[Item]:
        names = "row_id, #status, #record, spilled_to"
        for group in _grouped(self._written(row), row):
            yield from self._query(self._batch_id(group.first), row_id(group.first), row_id(group.last), names)

    def _failed_rows(self, row: int) -> Iterator[int]:
        shards = [self._failed_in(batch_id, row) for batch_id in self._storage.batch_ids]
        return heapq.merge(*shards)

    def _failed_in(self, batch_id: str, row: int) -> Iterator[int]:
        for item in self._query(batch_id, row_id(row), "row~", index=FAILED_ROWS):
            yield int(item["row_id"]["S"].removeprefix("row_"))

    # --- markers

    def count_failed(self, rows: Sequence[int]) -> None:
        self._markers.count_failed(rows)

    def failed(self) -> int:
        return self._markers.failed()

    def mark_letters_sent(self, rows: Sequence[FinishedRow]) -> None:
        self._markers.mark_letters_sent(rows)

    # --- requests

    def _query(
        self, batch_id: str, first: str, last: str, names: str | None = None, *, index: str | None = None
    ) -> Iterator[Item]:
        """The items of a partition key between two sort keys, in order. An index can be slightly out of date."""
        asked: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": f"{'failed_' if index else ''}batch_id = :id AND row_id BETWEEN :a AND :z",
            "ExpressionAttributeValues": {":id": {"S": batch_id}, ":a": {"S": first}, ":z": {"S": last}},
        }
        asked |= {"IndexName": index} if index else {"ConsistentRead": True}
        if names is not None:
            asked |= _projection(names)
        while True:
            answer = self._retried(lambda: self._asked("dynamodb:Query", self._client.query, asked))
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _get(self, rows: Iterable[int], names: str) -> Iterator[Item]:
        """The items of ``rows``, which ascend. Rows without an item are left out."""
        chunk: list[int] = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == MOST_READ_AT_ONCE:
                yield from self._get_at_once(chunk, names)
                chunk = []
        if chunk:
            yield from self._get_at_once(chunk, names)

    def _get_at_once(self, rows: Sequence[int], names: str) -> list[Item]:
        keys = [{"batch_id": {"S": self._batch_id(row)}, "row_id": {"S": row_id(row)}} for row in rows]
        left: dict[str, Any] = {self._table: {"Keys": keys, "ConsistentRead": True, **_projection(names)}}
        found: list[Item] = []

        def get() -> int:
            nonlocal left
            answer = self._asked("dynamodb:BatchGetItem", self._client.batch_get_item, {"RequestItems": left})
            found.extend(answer["Responses"].get(self._table, []))
            left = answer.get("UnprocessedKeys", {})
            return len(left[self._table]["Keys"]) if left else 0

        self._until_none_is_left(get, len(rows))
        return sorted(found, key=lambda item: str(item["row_id"]["S"]))

    def _retried(self, ask: Callable[[], Result]) -> Result:
        return retried(ask, on=(ThrottledError, ServiceUnavailableError), attempts=ATTEMPTS, sleep=self._clock.sleep)

    def _asked(self, action: str, call: Any, asked: dict[str, Any]) -> Any:
        with translated(action, self._table):
            return call(**asked)


@dataclass(frozen=True, slots=True)
class _Group:
    """Finished rows with one partition key, without gap or overlap."""

    first: int
    last: int
    size: int
    writes: int
    units: int


@dataclass(frozen=True, slots=True)
class _TableRows:
    """Consecutive rows. ``group`` is None if it is already counted."""

    records: list[RowRecord]
    group: _Group | None
    sent: Covered

    @property
    def first(self) -> int:
        return self.records[0]["row"]

    @property
    def last(self) -> int:
        return self.records[-1]["row"]

    @property
    def writes(self) -> int:
        return self.group.writes if self.group else 0

    @property
    def write_units(self) -> int:
        return self.group.units if self.group else 0

    @property
    def position(self) -> str:
        return str(self.last)

    def columns_from(self, row: int) -> RowColumns:
        return columns_of([record for record in self.records if record["row"] >= row], self.sent.covers)


def _grouped(written: Iterator[_Range], next_row: int) -> Iterator[_Group]:
    """The written rows from ``next_row`` on, as groups that have one partition key and are not too large."""
    group: _Group | None = None
    for first, last, size, units in written:
        begins = max(first, next_row)
        if last < begins:
            if group is not None:  # It has no new rows, but its write was paid for.
                group = _Group(group.first, group.last, group.size, group.writes + 1, group.units + units)
            continue
        next_row = last + 1
        if (
            group is not None
            and begins == group.last + 1
            and block_of(begins) == block_of(group.first)
            and group.size + size <= GROUP_BYTES
        ):
            group = _Group(group.first, last, group.size + size, group.writes + 1, group.units + units)
            continue
        if group is not None:
            yield group
        group = _Group(begins, last, size, 1, units)
    if group is not None:
        yield group


def _runs_in_blocks(rows: Sequence[FinishedRow]) -> Iterator[list[FinishedRow]]:
    """Split rows into runs of consecutive rows of one block."""
    blocks: defaultdict[int, list[FinishedRow]] = defaultdict(list)
    for finished in rows:
        blocks[block_of(finished.row)].append(finished)
    for block in blocks.values():
        yield from consecutive_runs(block)


def _runs(records: Sequence[RowRecord]) -> Iterator[tuple[int, int]]:
    """The slices of records with consecutive rows. There can be gaps, because items can have expired."""
    first = 0
    for at in range(1, len(records) + 1):
        if at == len(records) or records[at]["row"] != records[at - 1]["row"] + 1:
            yield first, at
            first = at


def _projection(names: str) -> dict[str, Any]:
    """The projection of the attributes to read. Names with ``#`` are reserved words of DynamoDB
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html)."""
    reserved = {name: name[1:] for name in names.split(", ") if name.startswith("#")}
    return {"ProjectionExpression": names, "ExpressionAttributeNames": reserved}


def _text(attribute: Item) -> bytes:
    return zlib.decompress(attribute["B"]) if "B" in attribute else str(attribute["S"]).encode()


def _size(item: Item) -> int:
    """The bytes of an item: names, and values as UTF-8. The size of a number is an upper bound
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html)."""
    size = 0
    for name, attribute in item.items():
        ((_, value),) = attribute.items()
        size += len(name) + (len(value) if isinstance(value, bytes) else len(str(value).encode()))
    return size
