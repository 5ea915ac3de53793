"""Writes generated and verified content from ``VentureOS-Violations`` into the lake.

A batch of the table's stream says which violations changed. Their items are merged with one MERGE for each agency's
table, under a lease that makes this call the table's only writer (``sync.merge``). Content that cannot be merged is one
of two kinds (``Kind``):

* PERMANENT: the item or the lake must change first. Example: the table does not have the violation.
* PASSING: the same call can succeed later. Example: the catalog does not answer. While the record is young, it goes
  back to the stream (``batchItemFailures``), and Lambda repeats the batch from there. Later, only the schedule repeats
  it, so that one table does not block the others for hours.

Both kinds are kept with their reason in ``bedrock-batches/sync-failed/<date>/<id>.jsonl``, because a stream drops a
record after a day or after its last attempt. A schedule replays these objects (``replay``) and deletes each line whose
content is merged. ``compare`` goes through the whole table and finds content that the stream has lost.

A deleted item changes nothing in the lake. An item that withdraws a verification needs the time of that in
``verified_at``. Without it, the item is not merged, but kept with that reason.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bedrock_batches.sync.failed_items import FAILED_PREFIX, FailedItem, Kind, lines_of_failed, rewrite_failed
from bedrock_batches.sync.lake_content import is_content, plain_item, violation_id_of
from bedrock_batches.sync.merge import SyncResult, SyncServices, merge
from foundation.errors import InvalidInputError, ObjectNotFoundError, Problem

LOGGER = logging.getLogger("batch_processor.sync_lake")

METRIC_DIMENSION = "bedrock_sync"
YOUNG_SECONDS = 600.0
"""A record younger than this goes back to the stream."""
MOST_REPLAYED = 20_000
"""Items of one call; the others wait for the next call."""
MOST_REASONS = 10


def sync_stream(records: Sequence[Mapping[str, Any]], services: SyncServices) -> dict[str, Any]:
    """Merge a batch of DynamoDB stream records (event source mapping, view NEW_IMAGE or NEW_AND_OLD_IMAGES).

    Returns ``SyncResult.document`` with ``batchItemFailures``, which names the first record that can succeed later.
    Lambda repeats the batch from that record on
    (https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
    """
    now_seconds = services.clock.now_ms() / 1000
    images: dict[str, Mapping[str, Any]] = {}
    all_places: list[int] = []
    young: dict[str, int] = {}
    for item, place, changed_at in _images(records):
        violation_id = violation_id_of(item)
        images[violation_id] = item
        all_places.append(place)
        if changed_at is None or now_seconds - changed_at < YOUNG_SECONDS:
            young[violation_id] = min(place, young.get(violation_id, place))
    result = merge(images, services)
    result.ignored += len(records) - len(all_places)
    if result.failed:
        _keep(result, f"{min(all_places)}-{max(all_places)}", services)
    _measure(result, len(result.of_kind(Kind.PERMANENT)), services)
    _log(result)
    back = [young[one.violation_id] for one in result.of_kind(Kind.PASSING) if one.violation_id in young]
    failures = [{"itemIdentifier": str(min(back))}] if back else []
    return {**result.document(), "batchItemFailures": failures}


def replay(services: SyncServices, key: str = "") -> SyncResult:
    """Merge the current items of all objects under ``sync-failed/``, or of one object.

    Each object keeps the lines that fail again and those that cannot be read. An empty object is deleted. Deleted items
    count as ignored. Raises ObjectNotFoundError, and InvalidInputError for another key.
    """
    if key and not key.startswith(FAILED_PREFIX):
        problem = Problem("replay", repr(key[:200]), "cannot be replayed", f"a key under {FAILED_PREFIX}")
        raise InvalidInputError([problem])
    files: dict[str, list[FailedItem | bytes]] = {}
    items: dict[str, Mapping[str, Any]] = {}
    for name in [key] if key else [found.key for found in services.objects.list_objects(FAILED_PREFIX)]:
        if len(items) >= MOST_REPLAYED:
            break
        try:
            files[name] = list(lines_of_failed(services.objects.get(name)))
        except ObjectNotFoundError:
            if key:
                raise
            continue  # Another call has just emptied it.
        items |= {one.violation_id: one.item for one in files[name] if isinstance(one, FailedItem)}
    result = merge(items, services)
    again = {one.violation_id: one for one in result.failed}
    for name, lines in files.items():
        rewrite_failed(name, lines, again, services.objects)
    if key and result.failed:
        result.failed_key = key
    known = {
        one.violation_id
        for lines in files.values()
        for one in lines
        if isinstance(one, FailedItem) and one.kind is Kind.PERMANENT
    }
    new = [one for one in result.of_kind(Kind.PERMANENT) if one.violation_id not in known]
    _measure(result, len(new), services)
    _log(result)
    return result


def merge_now(violation_ids: Collection[str], name: str, services: SyncServices) -> SyncResult:
    """Merge the content of these violations without a stream record. Failures are kept as in ``sync_stream``, in an
    object with this name."""
    result = merge(services.contents.current(violation_ids), services)
    if result.failed:
        _keep(result, name, services)
    _measure(result, len(result.of_kind(Kind.PERMANENT)), services)
    _log(result)
    return result


def _keep(result: SyncResult, name: str, services: SyncServices) -> None:
    day = datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC).date().isoformat()
    result.failed_key = f"{FAILED_PREFIX}{day}/{name}.jsonl"
    services.objects.put(result.failed_key, b"".join(failed.line() for failed in result.failed))


def compare(cursor: str, services: SyncServices) -> dict[str, Any]:
    """Merge what the lake does not have of one page of the table. Finds content that the stream has lost, because
    ``bedrock_sync`` died or did not run for a day.

    Returns ``SyncResult.document``, ``reasons``, and the next ``cursor``. ``items`` is the number of items of the page:
    each is in one of the counts.
    """
    items, following = services.contents.page(cursor)
    result = merge({violation_id_of(item): item for item in items}, services)
    _log(result)
    return {**result.document(), "items": len(items), "reasons": _reasons(result), "cursor": following}


def _images(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[dict[str, Any], int, float | None]]:
    """Content items of a stream's records, with their places in the stream and the times of their changes in seconds
    since the epoch."""
    for record in records:
        change = record["dynamodb"]
        item = plain_item(change.get("NewImage", {}))
        if record.get("eventName") != "REMOVE" and is_content(item):
            yield item, int(change["SequenceNumber"]), change.get("ApproximateCreationDateTime")


def _measure(result: SyncResult, permanent: int, services: SyncServices) -> None:
    services.metrics.put(
        METRIC_DIMENSION,
        {
            "SyncMerged": (result.updated, "Count"),
            "SyncFailed": (permanent, "Count"),
            "SyncWaiting": (len(result.of_kind(Kind.PASSING)), "Count"),
        },
    )


def _reasons(result: SyncResult) -> list[str]:
    return sorted({failed.reason for failed in result.failed})[:MOST_REASONS]


def _log(result: SyncResult) -> None:
    level = logging.ERROR if result.failed else logging.INFO
    LOGGER.log(level, "content synchronised", extra={**result.document(), "reasons": _reasons(result)})
