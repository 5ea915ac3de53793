"""``batch_processor_runs``, behind ``row_batches.run.runs.Runs``.

Items of a run: ``RUN#<execution>`` with ``RUN``, ``COUNTS``, ``BLANKS``, ``CAUSES``, with ``enable_xray`` ``TRACES``
and, if an agent has a rate, ``PACE``. Live counts are separate items because a write is charged by the size of the
whole item. Both indexes hold only keys, so counting writes to no index. ``runs-by-start`` lists every run,
``running-by-start`` lists the runs without an ending. The leases of a run's batches and the permits of targets are in
the same table (``foundation.aws.leases``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from foundation.aws.cursors import cursor_after, start_key
from foundation.aws.dynamodb_items import from_item, to_item
from foundation.aws.errors import conditional, translated
from foundation.errors import ThrottledError
from row_batches.run.blanks import Blanks
from row_batches.run.causes import Cause, most_frequent
from row_batches.run.runs import MOST_LIVE_CAUSES, Approval, Counts, Live, Run, RunEnding, RunPage, Start
from row_batches.run.traces import Traces

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RUNS_BY_START = "runs-by-start"
RUNNING_BY_START = "running-by-start"
LISTED = "RUNS"
RUNNING = "RUNNING"
KEPT_SECONDS = 365 * 86_400
MOST_RUNS = 50
"""The runs of a page. A run has two items here, and BatchGetItem takes up to 100
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html)."""
MOST_READS = 5
MOST_RACES = 8
MISSING = "missing#"
KEYS_OF = "keys#"
"""Prefixes of attribute names. A column follows, or a place in the answer."""
ROWS_OF = "rows#"
CAUSE = "cause#"
"""Prefixes of attribute names, which the id of a cause follows: its number of rows, and the cause itself."""
MOST_COLUMNS_COUNTED = 50
MOST_PLACES_KEPT = 5
MOST_KEYS_KEPT = 12
"""Limits of one write. They keep the item small, because each write is charged by the size of the whole item."""
KEYS = frozenset({"PK", "SK", "GSI1PK", "GSI1SK", "GSI2PK", "ttl"})


class DynamoDbRuns:
    """Runs in a DynamoDB table. Raises DeploymentError, ThrottledError and ServiceUnavailableError."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def start(self, run: Run) -> None:
        started = run.started_at.astimezone(UTC).isoformat(timespec="milliseconds")
        item = {
            **run.model_dump(mode="json", exclude_none=True, exclude={"blanks", "traces", "causes"}),
            "PK": run_partition(run.execution),
            "SK": "RUN",
            "GSI1PK": LISTED,
            "GSI1SK": f"{started}#{run.execution}",
            "GSI2PK": RUNNING,
            "ttl": _expiry(run.started_at),
        }
        answer = conditional(
            "dynamodb:PutItem",
            self._table,
            lambda: self._client.put_item(
                TableName=self._table,
                Item=to_item(item),
                # Step Functions allows a name again 90 days after its execution ended.
                ConditionExpression="attribute_not_exists(PK) OR started_at <> :started",
                ExpressionAttributeValues=to_item({":started": item["started_at"]}),
                ReturnValues="ALL_OLD",
            ),
        )
        if answer is not None and answer.get("Attributes"):
            for counted in ("COUNTS", "BLANKS", "CAUSES", "TRACES"):
                with translated("dynamodb:DeleteItem", self._table):
                    self._client.delete_item(TableName=self._table, Key=_key(run.execution, counted))

    def count(self, execution: str, counts: Counts) -> Counts | None:
        added = {name: value for name, value in counts.model_dump().items() if value}
        return Counts.model_validate(self._add(execution, "COUNTS", added, {})) if added else None

    def count_blanks(self, execution: str, blanks: Blanks) -> None:
        columns = Counter(blanks.missing).most_common(MOST_COLUMNS_COUNTED)
        added = {f"{MISSING}{column}": count for column, count in columns}
        if blanks.failed:
            added["failed"] = blanks.failed
        keys = {
            f"{KEYS_OF}{place}": Counter(counts).most_common(MOST_KEYS_KEPT)
            for place, counts in list(blanks.keys.items())[:MOST_PLACES_KEPT]
        }
        self._add(execution, "BLANKS", added, {name: dict(counts) for name, counts in keys.items()})

    def count_causes(self, execution: str, causes: Sequence[Cause]) -> None:
        for cause in causes:
            added = {f"{ROWS_OF}{cause.id}": cause.count}
            first = {f"{CAUSE}{cause.id}": cause.model_dump(include={"error", "message", "rows"})}
            if self._add(execution, "CAUSES", added, first, "attribute_exists(#0)"):
                continue
            # The number of causes is limited, because each write is charged by the size of the whole item.
            is_new = "attribute_not_exists(#0) AND (attribute_not_exists(causes) OR causes < :most)"
            if not self._add(execution, "CAUSES", {**added, "causes": 1}, first, is_new, {":most": MOST_LIVE_CAUSES}):
                # Another worker has added this cause meanwhile, or there are too many.
                self._add(execution, "CAUSES", added, first, "attribute_exists(#0)")

    def count_traces(self, execution: str, traces: Traces) -> None:
        first = {"refusal": traces.refusal} if traces.refusal else {}
        self._add(execution, "TRACES", {"sent": traces.sent, "refused": traces.refused}, first)

    def _add(
        self,
        execution: str,
        kind: str,
        added: dict[str, Any],
        first: dict[str, Any],
        condition: str = "",
        compared: dict[str, int] | None = None,
    ) -> dict[str, Any] | None:
        """Add to numbers, which ``condition`` can name as ``#0`` and so on. Returns the item, or None.

        ``first`` are attributes that are set only if they do not exist. ``compared`` are values of the condition.
        """
        first = {**first, "ttl": _expiry(datetime.now(UTC))}
        names = {f"#{number}": name for number, name in enumerate([*added, *first])}
        adding, setting = list(names)[: len(added)], list(names)[len(added) :]
        values = dict(zip([f":{name[1:]}" for name in names], [*added.values(), *first.values()], strict=True))
        met: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
        answer = conditional(
            "dynamodb:UpdateItem",
            self._table,
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(execution, kind),
                UpdateExpression=(
                    f"ADD {', '.join(f'{name} :{name[1:]}' for name in adding)} "
                    f"SET {', '.join(f'{name} = if_not_exists({name}, :{name[1:]})' for name in setting)}"
                ),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=to_item(values | (compared or {})),
                ReturnValues="ALL_NEW",
                **met,
            ),
        )
        return None if answer is None else from_item(answer.get("Attributes", {}))

    def wait(self, execution: str, until_ms: int) -> None:
        self._update(execution, "SET waiting_until = :until", {":until": _moment(until_ms)}, {})

    def throttle(self, execution: str, since_ms: int, now_ms: int) -> None:
        values = {":since": _moment(since_ms), ":now": _moment(now_ms)}
        self._update(execution, "SET throttled_since = :since, throttled_noted = :now", values, {})

    def hold_back(self, execution: str, now_ms: int) -> None:
        self._update(execution, "SET held_back_noted = :now", {":now": _moment(now_ms)}, {})

    def reserve_start(self, execution: str, now_ms: int, rows: int, row_ms: float, token_ms: float) -> Start:
        tokens = self._average_tokens(execution) if token_ms else 0
        values = {
            # In whole microseconds. At a million rows a minute, a row takes 60 of them.
            ":taken": round(rows * max(row_ms, tokens * token_ms) * 1000),
            ":now": now_ms * 1000,
            ":ttl": _expiry(datetime.now(UTC)),
        }
        for _ in range(MOST_RACES):
            old = self._move_start(execution, "next_us >= :now", "next_us = next_us + :taken", values)
            if old is not None:
                return Start(int(old["next_us"]) // 1000, tokens)
            condition = "attribute_not_exists(next_us) OR next_us < :now"
            if self._move_start(execution, condition, "next_us = :now + :taken", values) is not None:
                return Start(now_ms, tokens)
        raise ThrottledError(f"dynamodb:UpdateItem on {self._table} met too many others. Try again at a slower pace.")

    def _move_start(self, execution: str, condition: str, change: str, values: dict[str, Any]) -> dict[str, Any] | None:
        """Change the item and return it as it was before; None if it does not meet the condition."""
        answer = conditional(
            "dynamodb:UpdateItem",
            self._table,
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(execution, "PACE"),
                UpdateExpression=f"SET {change}, #ttl = :ttl",
                ConditionExpression=condition,
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues=to_item(values),
                ReturnValues="ALL_OLD",
            ),
        )
        return None if answer is None else from_item(answer.get("Attributes", {}))

    def _average_tokens(self, execution: str) -> int:
        with translated("dynamodb:Query", self._table):
            answer = self._client.query(
                TableName=self._table,
                KeyConditionExpression="PK = :pk AND SK = :sk",
                ExpressionAttributeValues={":pk": {"S": run_partition(execution)}, ":sk": {"S": "PACE"}},
            )
        pace = from_item(answer["Items"][0]) if answer["Items"] else {}
        return int(pace.get("tokens", 0) / max(1, pace.get("answers", 0)))

    def use_tokens(self, execution: str, used: int, expected: int, token_ms: float) -> None:
        values = {
            ":used": used,
            ":one": 1,
            ":more": round((used - expected) * token_ms * 1000),
            ":ttl": _expiry(datetime.now(UTC)),
        }
        with translated("dynamodb:UpdateItem", self._table):
            self._client.update_item(
                TableName=self._table,
                Key=_key(execution, "PACE"),
                UpdateExpression="ADD tokens :used, answers :one, next_us :more SET #ttl = :ttl",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues=to_item(values),
            )

    def set_live(self, execution: str, live: Live) -> bool:
        values = {":live": live.model_dump(mode="json", exclude_none=True)}
        return self._update(execution, "SET live = :live", values, {}, "attribute_exists(GSI2PK)")

    def ask(self, execution: str, approval: Approval) -> None:
        self._update(execution, "SET approval = :approval", {":approval": approval.model_dump(mode="json")}, {})

    def answered(self, execution: str) -> None:
        self._update(execution, "REMOVE approval", {}, {})

    def end(self, execution: str, ending: RunEnding) -> None:
        values = ending.model_dump(mode="json", exclude_none=True)
        self._update(
            execution,
            f"SET {', '.join(f'#{name} = :{name}' for name in values)} REMOVE GSI2PK, waiting_until, approval",
            {f":{name}": value for name, value in values.items()},
            {f"#{name}": name for name in values},
        )

    def reopen(self, execution: str) -> bool:
        names = {
            f"#{name}": name for name in ("state", "counts", "ended_at", "cost_usd", "summary_key", "error", "causes")
        }
        removed = ", ".join(name for name in names if name != "#state")
        return self._update(
            execution,
            f"SET GSI2PK = :running, #state = :running REMOVE {removed}",
            {":running": RUNNING},
            names,
            "attribute_exists(PK) AND attribute_not_exists(GSI2PK)",
        )

    def _update(
        self,
        execution: str,
        expression: str,
        values: dict[str, Any],
        names: dict[str, str],
        condition: str = "attribute_exists(PK)",
    ) -> bool:
        """Change the item. Returns whether it existed and met the condition."""
        changed = conditional(
            "dynamodb:UpdateItem",
            self._table,
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(execution, "RUN"),
                UpdateExpression=expression,
                ConditionExpression=condition,
                **({"ExpressionAttributeValues": to_item(values)} if values else {}),  # type: ignore[arg-type]  # DynamoDB refuses an empty map
                **({"ExpressionAttributeNames": names} if names else {}),  # type: ignore[arg-type]
            ),
        )
        return changed is not None

    def get(self, execution: str) -> Run | None:
        with translated("dynamodb:Query", self._table):
            answer = self._client.query(
                TableName=self._table,
                KeyConditionExpression="PK = :pk",
                ExpressionAttributeValues={":pk": {"S": run_partition(execution)}},
                ConsistentRead=True,
            )
        items = {item["SK"]["S"]: from_item(item) for item in answer["Items"]}
        if "RUN" not in items:
            return None
        run = _run(items["RUN"], items.get("COUNTS"))
        update: dict[str, Any] = {"blanks": _blanks(items["BLANKS"])} if "BLANKS" in items else {}
        if "CAUSES" in items and run.ended_at is None:
            update["causes"] = _causes(items["CAUSES"])
        if "TRACES" in items:
            update["traces"] = Traces.model_validate(items["TRACES"])
        return run.model_copy(update=update)

    def page(self, limit: int = MOST_RUNS, cursor: str = "") -> RunPage:
        request: dict[str, Any] = {"Limit": min(limit, MOST_RUNS), "ScanIndexForward": False}
        if cursor:
            request["ExclusiveStartKey"] = start_key(cursor, "GSI1PK", LISTED, "GSI1SK")
        with translated("dynamodb:Query", self._table):
            answer = self._client.query(
                TableName=self._table,
                IndexName=RUNS_BY_START,
                KeyConditionExpression="GSI1PK = :listed",
                ExpressionAttributeValues={":listed": {"S": LISTED}},
                **request,
            )
        return RunPage(
            self._read([item["PK"]["S"] for item in answer["Items"]]), cursor_after(answer.get("LastEvaluatedKey"))
        )

    def running(self) -> Iterator[Run]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=RUNNING_BY_START,
            KeyConditionExpression="GSI2PK = :running",
            ExpressionAttributeValues={":running": {"S": RUNNING}},
            PaginationConfig={"PageSize": MOST_RUNS},
        )
        with translated("dynamodb:Query", self._table):
            for page in pages:
                yield from self._read([item["PK"]["S"] for item in page["Items"]])

    def _read(self, keys: Sequence[str]) -> list[Run]:
        """The runs of the keys, in their order. Runs that expired after the index was read are left out."""
        wanted: Any = [{"PK": {"S": key}, "SK": {"S": kind}} for key in keys for kind in ("RUN", "COUNTS")]
        items: dict[tuple[str, str], dict[str, Any]] = {}
        for _ in range(MOST_READS):
            if not wanted:
                break
            with translated("dynamodb:BatchGetItem", self._table):
                answer = self._client.batch_get_item(RequestItems={self._table: {"Keys": wanted}})
            for item in answer["Responses"].get(self._table, []):
                items[item["PK"]["S"], item["SK"]["S"]] = from_item(item)
            unread: dict[str, Any] = dict(answer["UnprocessedKeys"])
            wanted = unread.get(self._table, {}).get("Keys", [])
        if wanted:
            raise ThrottledError(
                f"dynamodb:BatchGetItem on {self._table} left items unread. Try again at a slower pace."
            )
        return [_run(items[key, "RUN"], items.get((key, "COUNTS"))) for key in keys if (key, "RUN") in items]


def run_partition(execution: str) -> str:
    """The partition key of all items of a run."""
    return f"RUN#{execution}"


def _key(execution: str, kind: str) -> dict[str, Any]:
    return {"PK": {"S": run_partition(execution)}, "SK": {"S": kind}}


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _expiry(start: datetime) -> int:
    return int(start.timestamp()) + KEPT_SECONDS


def _run(item: dict[str, Any], live: dict[str, Any] | None) -> Run:
    fields = {name: value for name, value in item.items() if name not in KEYS}
    if "ended_at" not in fields and live is not None:
        fields["counts"] = {name: value for name, value in live.items() if name not in KEYS}
    return Run.model_validate(fields)


def _causes(item: dict[str, Any]) -> list[Cause]:
    counted = {name.removeprefix(ROWS_OF): count for name, count in item.items() if name.startswith(ROWS_OF)}
    return most_frequent(Cause(**item[f"{CAUSE}{key}"], count=count) for key, count in counted.items())


def _blanks(item: dict[str, Any]) -> Blanks:
    def under(start: str) -> dict[str, Any]:
        return {name.removeprefix(start): value for name, value in item.items() if name.startswith(start)}

    return Blanks(failed=item.get("failed", 0), missing=under(MISSING), keys=under(KEYS_OF))
