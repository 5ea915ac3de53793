"""DynamoDB streams as event sources of functions: windows, filters, retries, bisection, failure records, permissions.

* https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html, services-ddb-batchfailurereporting.html,
  services-dynamodb-errors.html, services-ddb-params.html
* Batching: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html
* Filtering comes before batching: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html

A table has one shard here, so a mapping processes one batch at a time, outside the polling thread.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ministack.core import responses
from ministack.core.arn import ArnParseError, parse_arn
from ministack.services import dynamodb, lambda_svc

from emulator.step_functions.roles import Role

logger = logging.getLogger(__name__)

PAYLOAD_BYTES = 6 * 1024 * 1024
RECORDS_PER_LOOK = 10_000
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0
"""Pauses between retries grow as Lambda's do, but are short here."""
STREAM_ACTIONS = ("dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream")

Record = dict[str, Any]


@dataclass(slots=True)
class Shard:
    """The state of a mapping: matching records that wait for the function, and the position to read from next."""

    next_position: int
    waiting: list[tuple[Record, int]] = field(default_factory=list)
    """Records with their sizes in bytes."""
    since: float = 0.0
    """When the first waiting record was seen."""
    busy: bool = False
    in_hand: list[tuple[Record, int]] = field(default_factory=list)
    """Records of the batch that the function has."""

    def again(self) -> None:
        """Wait with the batch that the function had when the server stopped."""
        self.waiting, self.in_hand = self.in_hand + self.waiting, []
        self.busy, self.since = False, time.monotonic()


_shards: dict[str, Shard] = {}


def role_of(config: dict[str, Any]) -> Role:
    return Role(config.get("Role", ""), config.get("FunctionArn", ""))


def stream_denial(config: dict[str, Any], stream_arn: str) -> str | None:
    """The permission that the function's role lacks to read the stream, or None."""
    denials = (role_of(config).denial(action, stream_arn) for action in STREAM_ACTIONS)
    return next((denial for denial in denials if denial), None)


def permitted_creation(create: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Refuse CreateEventSourceMapping if the function's role cannot read the stream."""

    def create_esm(data: dict[str, Any]) -> Any:
        stream_arn = data.get("EventSourceArn", "")
        if ":dynamodb:" in stream_arn:
            name, qualifier, refused = lambda_svc._resolve_existing_esm_function(data.get("FunctionName", ""))
            _function, config = (None, None) if refused else lambda_svc._get_func_record_for_qualifier(name, qualifier)
            if config is not None and stream_denial(config, stream_arn):
                return responses.error_response_json(
                    "InvalidParameterValueException",
                    f"Cannot access stream {stream_arn}. Please ensure the role can perform the GetRecords, "
                    "GetShardIterator, DescribeStream, and ListStreams Actions on your stream in DynamoDB.",
                    400,
                )
        return create(data)

    return create_esm


def poll() -> bool:
    """Run one pass over all mappings of streams; returns whether any of them made progress."""
    moved = False
    known = set()
    for account, region, mapping in lambda_svc._iter_all_esms():
        source = mapping.get("EventSourceArn", "")
        if ":dynamodb:" not in source or not mapping.get("Enabled", True):
            continue
        known.add(mapping["UUID"])
        tokens = (
            lambda_svc._request_account_id.set(account),
            lambda_svc._request_region.set(region),
        )
        try:
            moved = _poll_mapping(mapping, source) or moved
        finally:
            lambda_svc._request_account_id.reset(tokens[0])
            lambda_svc._request_region.reset(tokens[1])
    for gone in set(_shards) - known:
        del _shards[gone]
    return moved


def _poll_mapping(mapping: dict[str, Any], source: str) -> bool:
    try:
        table_name, _label = lambda_svc._dynamodb_stream_table_from_arn_spec(parse_arn(source)) or ("", "")
    except ArnParseError:
        return False
    table = dynamodb._tables.get(table_name)
    if not table or table.get("LatestStreamArn") != source:
        return False
    function, config = lambda_svc._get_func_record_for_qualifier(mapping["FunctionName"], mapping.get("Qualifier"))
    if function is None:
        return False
    shard = _shards.get(mapping["UUID"])
    if shard is None:
        shard = _shards[mapping["UUID"]] = Shard(_first_position(mapping, table_name))
    if shard.busy:
        return False
    if denial := stream_denial(config, source):
        mapping["LastProcessingResult"] = f"PROBLEM: {denial}"
        return False
    moved = _read(shard, mapping, table_name)
    batch = _ready_batch(shard, mapping)
    if not batch:
        return moved
    shard.busy = True
    record = lambda_svc._execution_record_for_config(function, config)
    lambda_svc._dispatch_esm_batch(mapping["UUID"], _deliver, shard, mapping, record, batch)
    return True


def _first_position(mapping: dict[str, Any], table_name: str) -> int:
    known = lambda_svc._dynamodb_stream_positions.get(mapping["UUID"])
    if known is not None:
        return int(known)
    from_start = mapping.get("StartingPosition") == "TRIM_HORIZON"
    position = dynamodb.stream_start_position if from_start else dynamodb.stream_end_position
    return int(position(table_name))


def _read(shard: Shard, mapping: dict[str, Any], table_name: str) -> bool:
    """Read new records of the stream that match the filters."""
    if len(shard.waiting) >= mapping.get("BatchSize", 100):
        return False
    position = max(shard.next_position, dynamodb.stream_start_position(table_name))
    found = dynamodb.stream_records_since(table_name, position, RECORDS_PER_LOOK)
    if not found:
        return False
    matching = lambda_svc._apply_filter_criteria(found, mapping)
    if matching and not shard.waiting:
        shard.since = time.monotonic()
    shard.waiting += [(record, len(json.dumps(record, default=str))) for record in matching]
    shard.next_position = position + len(found)
    return True


def _ready_batch(shard: Shard, mapping: dict[str, Any]) -> list[Record]:
    """The next batch: as many records as the mapping takes, or all that waited for the window, within 6 MB."""
    size, window = mapping.get("BatchSize", 100), mapping.get("MaximumBatchingWindowInSeconds") or 0
    taken, used = 0, 0
    for _record, used_by_record in shard.waiting[:size]:
        if taken and used + used_by_record > PAYLOAD_BYTES:
            break
        taken, used = taken + 1, used + used_by_record
    full = taken == size or taken < len(shard.waiting)
    if not taken or (not full and time.monotonic() - shard.since < window):
        return []
    shard.in_hand = shard.waiting[:taken]
    batch = [record for record, _bytes in shard.in_hand]
    del shard.waiting[:taken]
    shard.since = time.monotonic()
    return batch


def _deliver(shard: Shard, mapping: dict[str, Any], function: dict[str, Any], batch: list[Record]) -> None:
    try:
        for records, result, condition in _failed_parts(mapping, function, batch):
            _keep_failure(mapping, function, records, result, condition)
    finally:
        shard.in_hand, shard.busy = [], False


def _failed_parts(
    mapping: dict[str, Any], function: dict[str, Any], batch: list[Record]
) -> Iterator[tuple[list[Record], dict[str, Any], str]]:
    """Invoke with the batch until each record is processed or given up. Yields the records given up, with the reason.

    Splitting a batch does not use up a retry. Retries are without limit unless the mapping has one.
    """
    parts = [(batch, 0)]
    throttled = 0
    while parts:
        records, attempt = parts.pop(0)
        if mapping["UUID"] not in lambda_svc._esms or not mapping.get("Enabled", True):
            return
        result = lambda_svc._execute_function(function, {"Records": records})
        if result.get("throttle"):
            throttled += 1
            parts.insert(0, (records, attempt))
            _pause(throttled)
            continue
        left = records if result.get("error") else _left_over(mapping, records, result)
        if not left:
            mapping["LastProcessingResult"] = "OK"
            continue
        mapping["LastProcessingResult"] = "PROBLEM: Function call failed"
        most, oldest = mapping.get("MaximumRetryAttempts", -1), mapping.get("MaximumRecordAgeInSeconds", -1)
        if oldest > 0 and time.time() - min(_created(record) for record in left) > oldest:
            yield left, result, "RecordAgeExceeded"
        elif mapping.get("BisectBatchOnFunctionError") and len(records) > 1:
            if len(left) < len(records):
                parts.insert(0, (left, attempt))
            else:
                half = len(records) // 2
                parts[:0] = [(records[:half], attempt), (records[half:], attempt)]
            _pause(1)
        elif 0 <= most <= attempt:
            yield left, result, "RetryAttemptsExhausted"
        else:
            parts.insert(0, (left, attempt + 1))
            _pause(attempt + 1)


def _left_over(mapping: dict[str, Any], records: list[Record], result: dict[str, Any]) -> list[Record]:
    """The records to retry after a partial failure: the first failed record, and all after it."""
    if "ReportBatchItemFailures" not in (mapping.get("FunctionResponseTypes") or []):
        return []
    body = result.get("body")
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return records
    failures = (body or {}).get("batchItemFailures") or [] if isinstance(body, dict) else []
    failed = {failure.get("itemIdentifier") for failure in failures}
    if not failed:
        return []
    for place, record in enumerate(records):
        if record["dynamodb"]["SequenceNumber"] in failed:
            return records[place:]
    return records


def _keep_failure(
    mapping: dict[str, Any], function: dict[str, Any], records: list[Record], result: dict[str, Any], condition: str
) -> None:
    """Send the failure record to the mapping's destination, with the function's own role."""
    destination = ((mapping.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination", "")
    if not destination:
        return
    action = "sns:Publish" if ":sns:" in destination else "sqs:SendMessage"
    if denial := role_of(function["config"]).denial(action, destination):
        logger.warning("No failure record of %s: %s", mapping["UUID"], denial)
        return
    source = mapping["EventSourceArn"]
    lambda_svc._send_ddb_stream_failure_record(mapping, function, records, source, result, condition)


def _created(record: Record) -> float:
    return float(record["dynamodb"].get("ApproximateCreationDateTime", time.time()))


def _pause(attempt: int) -> None:
    time.sleep(min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS))


def install() -> None:
    """Replace the poller of DynamoDB streams."""
    lambda_svc._create_esm = permitted_creation(lambda_svc._create_esm)
    lambda_svc._poll_dynamodb_streams = poll
