"""Brings generated and verified content from ``VentureOS-Violations`` into the lake.

A batch of the table's stream becomes one MERGE for each agency's table, under a lease that makes this call the table's
only writer. The call does not fail for what it cannot merge: a stream's shard stands still behind a batch that fails,
and gives it up after a day. Such items are kept, with the reason, in ``bedrock-batches/sync-failed/<date>/<id>.jsonl``,
counted in the metric ``SyncFailed``, which alarms, and replayed by ``make resync``. Only when they cannot even be kept,
or when the function dies, does the call fail, and Lambda repeats the whole batch: merging twice changes nothing, and
``<id>`` is the batch's place in the stream, so the same object is written again.

A stream brings the versions of an item in order, but what is merged later than that comes out of order: a replay, and
``compare``, which goes through the whole table for content that never arrived. Both merge each item as it is now.

A deleted item changes nothing in the lake. An item that takes a verification back says when, in ``verified_at``: one
without it cannot be told from a version before the verification, so it is not merged, but kept with that reason.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from bedrock_batches.sync.lake_content import (
    KEY_PREFIX,
    ContentUpdate,
    UnusableContentError,
    content_update,
    is_content,
    newest,
    plain_item,
)
from foundation.errors import BatchProcessorError, InvalidInputError, Problem
from foundation.ports import Clock, Deadline, Metrics, ObjectStore

LOGGER = logging.getLogger("batch_processor.sync_lake")

FAILED_PREFIX = "bedrock-batches/sync-failed/"
METRIC_DIMENSION = "bedrock_sync"
RESERVE_SECONDS = 30.0
"""Kept of the call's time, to write down what could not be merged."""
POLL_SECONDS = 1.0
WITHDRAW = "to take that back, set is_verified to false and verified_at to now."


class MergedRows(Protocol):
    """Rows written, rows that had this content or newer already, ids that the table lacks."""

    @property
    def updated(self) -> int: ...
    @property
    def unchanged(self) -> int: ...
    @property
    def missing(self) -> Sequence[str]: ...
    @property
    def verified(self) -> Sequence[str]:
        """Of the unchanged: verified rows of content whose update is not verified, and does not say since when."""


class ContentLake(Protocol):
    @property
    def agencies(self) -> Sequence[str]: ...

    def agencies_of(self, violation_ids: Collection[str]) -> dict[str, str]:
        """The agency of each violation that a table has. Raises as ``merge`` does."""

    def merge(self, agency: str, updates: Sequence[ContentUpdate]) -> MergedRows:
        """Write content into an agency's table, never older over newer; each violation once in ``updates``.

        Raises CommitConflictError, DeploymentError or ServiceUnavailableError; then nothing is written.
        """


class ContentItems(Protocol):
    """Items of ``VentureOS-Violations``, as ``plain_item`` gives them; read consistently."""

    def current(self, violation_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """The content items of violations that have one, by id."""

    def page(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        """Some thousand content items, and the cursor of the page after them; "" begins, and is the end."""


class Leases(Protocol):
    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        """True when ``owner`` now holds the lease ``name``, for so many seconds at most."""

    def release(self, name: str, owner: str) -> None:
        """Give it back, if ``owner`` still holds it."""


@dataclass(frozen=True)
class SyncServices:
    """What a sync needs from outside; ``owner`` names this call."""

    lake: ContentLake
    contents: ContentItems
    leases: Leases
    objects: ObjectStore
    metrics: Metrics
    clock: Clock
    deadline: Deadline
    owner: str


@dataclass(frozen=True)
class FailedItem:
    """An item that is not in the lake, and why."""

    item: Mapping[str, Any]
    sequence: int
    reason: str

    def line(self) -> bytes:
        # As text, as DynamoDB has it: it is longer than the 64 bits that orjson takes.
        line = {"reason": self.reason, "sequence": str(self.sequence), "item": self.item}
        return orjson.dumps(line, default=str) + b"\n"


@dataclass
class SyncResult:
    """Counts of one call: rows written, rows that needed nothing, what failed, and records that are not content.

    Several versions of one violation count as one row.
    """

    updated: int = 0
    unchanged: int = 0
    ignored: int = 0
    failed: list[FailedItem] = field(default_factory=list)
    failed_key: str = ""

    def document(self) -> dict[str, Any]:
        counts = {"updated": self.updated, "unchanged": self.unchanged, "ignored": self.ignored}
        return {**counts, "failed": len(self.failed), "failed_key": self.failed_key}


Version = tuple[Mapping[str, Any], int]
"""An item and its place in the stream."""


def sync_stream(records: Sequence[Mapping[str, Any]], services: SyncServices) -> SyncResult:
    """Merge a batch of DynamoDB stream records (event source mapping, view NEW_IMAGE or NEW_AND_OLD_IMAGES).

    https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
    """
    versions = list(_versions(records))
    result = _merge(versions, services)
    result.ignored = len(records) - len(versions)
    if result.failed:
        places = [sequence for _, sequence in versions]
        day = datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC).date().isoformat()
        result.failed_key = f"{FAILED_PREFIX}{day}/{min(places)}-{max(places)}.jsonl"
        services.objects.put(result.failed_key, b"".join(failed.line() for failed in result.failed))
    services.metrics.put(
        METRIC_DIMENSION,
        {
            "SyncMerged": (result.updated, "Count"),
            "SyncFailed": (len(result.failed), "Count"),
        },
    )
    _log(result)
    return result


def replay(key: str, services: SyncServices) -> SyncResult:
    """Merge the items of an object under ``sync-failed/`` as they are now, without those that were deleted since.

    The object keeps those that fail again, or is deleted.

    Raises ObjectNotFoundError, and InvalidInputError for another key.
    """
    if not key.startswith(FAILED_PREFIX):
        problem = Problem("replay", repr(key[:200]), "is no object that this replays", f"a key under {FAILED_PREFIX}")
        raise InvalidInputError([problem])
    lines = [orjson.loads(line) for line in services.objects.get(key).splitlines() if line]
    sequences = {_violation_id(line["item"]): int(line["sequence"]) for line in lines}
    current = services.contents.current(sequences)
    result = _merge([(item, sequences[violation_id]) for violation_id, item in current.items()], services)
    result.ignored = len(sequences) - len(current)
    if result.failed:
        result.failed_key = key
        services.objects.put(key, b"".join(failed.line() for failed in result.failed))
    else:
        services.objects.delete(key)
    _log(result)
    return result


def compare(cursor: str, services: SyncServices) -> dict[str, Any]:
    """Merge what the lake lacks of a page of the table: ``SyncResult.document``, ``reasons``, and the next ``cursor``.

    Finds content that no stream record brings any more, since ``bedrock_sync`` died on it, or did not run for a day.
    """
    items, following = services.contents.page(cursor)
    result = _merge([(item, 0) for item in items], services)
    _log(result)
    return {**result.document(), "reasons": _reasons(result), "cursor": following}


def _violation_id(item: Mapping[str, Any]) -> str:
    return str(item["PK"]).removeprefix(KEY_PREFIX)


def _reasons(result: SyncResult) -> list[str]:
    return sorted({failed.reason for failed in result.failed})[:10]


def _log(result: SyncResult) -> None:
    level = logging.ERROR if result.failed else logging.INFO
    LOGGER.log(level, "content synchronised", extra={**result.document(), "reasons": _reasons(result)})


def _versions(records: Iterable[Mapping[str, Any]]) -> Iterator[Version]:
    for record in records:
        change = record["dynamodb"]
        item = plain_item(change.get("NewImage", {}))
        if record.get("eventName") != "REMOVE" and is_content(item):
            yield item, int(change["SequenceNumber"])


def _merge(versions: Sequence[Version], services: SyncServices) -> SyncResult:
    result = SyncResult()
    items: dict[ContentUpdate, Version] = {}
    agencies = _agencies([_violation_id(item) for item, _ in versions if not item.get("agency")], services)
    for item, sequence in versions:
        agency = item.get("agency") or agencies.get(_violation_id(item), "")
        try:
            items[content_update({**item, "agency": agency}, sequence)] = item, sequence
        except UnusableContentError as error:
            result.failed.append(FailedItem(item, sequence, str(error)))
    by_agency: dict[str, list[ContentUpdate]] = {}
    for update in newest(items):
        by_agency.setdefault(update.agency, []).append(update)
    for agency, updates in sorted(by_agency.items()):
        reasons = _merge_agency(agency, updates, services, result)
        result.failed += [FailedItem(*items[update], reason) for update, reason in reasons]
    return result


def _agencies(violation_ids: Sequence[str], services: SyncServices) -> dict[str, str]:
    """Of items that do not say: content of an output whose job did not keep which records it took."""
    try:
        return services.lake.agencies_of(violation_ids) if violation_ids else {}
    except BatchProcessorError:
        LOGGER.exception("agencies not found", extra={"violations": len(violation_ids)})
        return {}


def _merge_agency(
    agency: str, updates: list[ContentUpdate], services: SyncServices, result: SyncResult
) -> Iterator[tuple[ContentUpdate, str]]:
    """Merge one table's updates; yields what failed and why."""
    if agency not in services.lake.agencies:
        yield from ((update, f"The lake has no agency {agency!r}: correct the item's agency.") for update in updates)
        return
    lease = f"sync#{agency}"
    try:
        if not _acquire(lease, services):
            reason = f"Another call held the lease {lease} all the time: run `make resync`."
            yield from ((update, reason) for update in updates)
            return
        try:
            merged = services.lake.merge(agency, updates)
        finally:
            services.leases.release(lease, services.owner)
    except BatchProcessorError as error:
        LOGGER.exception("merge failed", extra={"agency": agency})
        yield from ((update, str(error)) for update in updates)
        return
    result.updated += merged.updated
    result.unchanged += merged.unchanged
    missing, unverified = set(merged.missing), _withdrawn(merged.verified, services)
    for update in updates:
        if update.violation_id in missing:
            yield update, f"Table {agency} has no violation {update.violation_id}: load it, then run `make resync`."
        if update.violation_id in unverified:
            result.unchanged -= 1
            yield update, f"Violation {update.violation_id} is verified in the lake: {WITHDRAW}"


def _withdrawn(verified: Sequence[str], services: SyncServices) -> set[str]:
    """Those of the violations whose item is not verified now either: it is no older version that came late."""
    items = services.contents.current(verified) if verified else {}
    return {violation_id for violation_id, item in items.items() if not item.get("verified_at")}


def _acquire(lease: str, services: SyncServices) -> bool:
    """Wait for the lease while there is time; it lasts as long as this call can."""
    while (remaining := services.deadline.remaining_seconds()) > RESERVE_SECONDS:
        if services.leases.acquire(lease, services.owner, remaining):
            return True
        services.clock.sleep(POLL_SECONDS)
    return False
