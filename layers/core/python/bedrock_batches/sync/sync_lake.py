"""Brings generated and verified content from ``VentureOS-Violations`` into the lake.

A batch of the table's stream says which violations changed. Their items are merged with one MERGE for each agency's
table, under a lease that makes this call the table's only writer. The items are read after the lease is taken, so what
is merged is the content as it is now: a call that waited for the lease never writes what it saw before.

What cannot be merged is one of two kinds (``Kind``):

* PERMANENT: it stays out until somebody changes the item or the lake. Example: the table has no such violation.
* PASSING: the same call may succeed later. Example: the catalog does not answer. Such a record goes back to the stream
  (``batchItemFailures``) while it is young, and Lambda repeats the batch from there on. Later only the clock repeats
  it, so that a table that cannot be written for hours does not hold up the others.

Both kinds are kept with their reason in ``bedrock-batches/sync-failed/<date>/<id>.jsonl``, since a stream gives up a
record after a day or after its last attempt. A clock replays these objects (``replay``), and deletes each line whose
content is merged. ``compare`` goes through the whole table for content that no stream record brings any more.

A deleted item changes nothing in the lake. An item that takes a verification back says when, in ``verified_at``: one
without it is not merged, but kept with that reason.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from bedrock_batches.sync.lake_content import (
    ContentUpdate,
    UnusableContentError,
    content_update,
    is_content,
    plain_item,
    violation_id_of,
)
from foundation.errors import BatchProcessorError, InvalidInputError, ObjectNotFoundError, Problem
from foundation.json_text import parse_json, render_json
from foundation.ports import Clock, Deadline, Leases, Metrics, ObjectStore

LOGGER = logging.getLogger("batch_processor.sync_lake")

FAILED_PREFIX = "bedrock-batches/sync-failed/"
METRIC_DIMENSION = "bedrock_sync"
RESERVE_SECONDS = 30.0
"""Kept of the call's time, to write down what could not be merged."""
POLL_SECONDS = 1.0
YOUNG_SECONDS = 600.0
"""A record goes back to the stream for so long after its change."""
MOST_REPLAYED = 20_000
"""Items of one call: more wait for the next."""
MOST_REASONS = 10
WITHDRAW = "to take that back, set is_verified to false and verified_at to now."


class Kind(StrEnum):
    PASSING = "passing"
    PERMANENT = "permanent"


class MergedRows(Protocol):
    """What became of the updates of a merge. Every update is in exactly one of the five."""

    @property
    def updated(self) -> int: ...
    @property
    def unchanged(self) -> int:
        """Rows that had this content or newer content already."""

    @property
    def missing(self) -> Sequence[str]:
        """Ids that the table lacks."""

    @property
    def verified(self) -> Sequence[str]:
        """Ids of verified rows whose update is not verified, and does not say since when."""

    @property
    def repeated(self) -> Sequence[str]:
        """Ids that several rows share: nobody can tell which of them the content belongs to."""


class ContentLake(Protocol):
    @property
    def agencies(self) -> Sequence[str]: ...

    def agencies_of(self, violation_ids: Collection[str]) -> dict[str, list[str]]:
        """The agencies whose tables have each violation. Raises as ``merge`` does."""

    def merge(self, agency: str, updates: Sequence[ContentUpdate]) -> MergedRows:
        """Write content into an agency's table; each violation once in ``updates``.

        Never older content over newer, never unverified over verified, never into a row whose id another row shares.
        Raises CommitConflictError, DeploymentError or ServiceUnavailableError; then nothing is written.
        """


class ContentItems(Protocol):
    """Items of ``VentureOS-Violations``, as ``plain_item`` gives them; read consistently."""

    def current(self, violation_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """The content items of violations that have one, by id."""

    def with_content(self, violation_ids: Collection[str]) -> set[str]:
        """Those of the violations that have content."""

    def page(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        """Some thousand content items, and the cursor of the page after them; "" begins, and is the end."""


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
    """An item that is not in the lake, and why. ``item`` has at least ``PK``."""

    item: Mapping[str, Any]
    reason: str
    kind: Kind = Kind.PERMANENT

    @property
    def violation_id(self) -> str:
        return violation_id_of(self.item)

    def line(self) -> bytes:
        """``{"reason", "kind", "item"}``. Numbers of DynamoDB can be longer than the 64 bits that orjson takes."""
        return render_json({"reason": self.reason, "kind": self.kind.value, "item": self.item}).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> FailedItem:
        """Raises ValueError for what ``line`` did not write. Lines of the release before have no ``kind``."""
        found = parse_json(line.decode("utf-8", "replace"))
        item = found.get("item") if isinstance(found, dict) else None
        if not isinstance(item, dict) or not is_content({"SK": "BEDROCK_CONTENT", **item}):
            raise ValueError("the line names no content item")
        kind = found.get("kind")
        return cls(item, str(found.get("reason", "")), Kind(kind) if kind in list(Kind) else Kind.PERMANENT)


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

    def of_kind(self, kind: Kind) -> list[FailedItem]:
        return [one for one in self.failed if one.kind is kind]

    def document(self) -> dict[str, Any]:
        return {
            "updated": self.updated,
            "unchanged": self.unchanged,
            "ignored": self.ignored,
            "failed": len(self.failed),
            "waiting": len(self.of_kind(Kind.PASSING)),
            "failed_key": self.failed_key,
        }


Items = Mapping[str, Mapping[str, Any]]
"""Content items by the id of their violation."""


def sync_stream(records: Sequence[Mapping[str, Any]], services: SyncServices) -> dict[str, Any]:
    """Merge a batch of DynamoDB stream records (event source mapping, view NEW_IMAGE or NEW_AND_OLD_IMAGES).

    Returns ``SyncResult.document`` with ``batchItemFailures``, which names the first record of what may pass: Lambda
    repeats the batch from that record on
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
    result = _merge(images, services)
    result.ignored += len(records) - len(all_places)
    if result.failed:
        _keep(result, f"{min(all_places)}-{max(all_places)}", services)
    _measure(result, len(result.of_kind(Kind.PERMANENT)), services)
    _log(result)
    back = [young[one.violation_id] for one in result.of_kind(Kind.PASSING) if one.violation_id in young]
    failures = [{"itemIdentifier": str(min(back))}] if back else []
    return {**result.document(), "batchItemFailures": failures}


def replay(services: SyncServices, key: str = "") -> SyncResult:
    """Merge the items of all objects under ``sync-failed/``, or of one, as they are now.

    Each object keeps the lines that fail again, and those that cannot be read; when none is left it is deleted. Items
    that were deleted since count as ignored. Raises ObjectNotFoundError, and InvalidInputError for another key.
    """
    if key and not key.startswith(FAILED_PREFIX):
        problem = Problem("replay", repr(key[:200]), "is no object that this replays", f"a key under {FAILED_PREFIX}")
        raise InvalidInputError([problem])
    files: dict[str, list[FailedItem | bytes]] = {}
    items: dict[str, Mapping[str, Any]] = {}
    for name in [key] if key else [found.key for found in services.objects.list_objects(FAILED_PREFIX)]:
        if len(items) >= MOST_REPLAYED:
            break
        try:
            files[name] = list(_lines(services.objects.get(name)))
        except ObjectNotFoundError:
            if key:
                raise
            continue  # Another call has just emptied it.
        items |= {one.violation_id: one.item for one in files[name] if isinstance(one, FailedItem)}
    result = _merge(items, services)
    again = {one.violation_id: one for one in result.failed}
    for name, lines in files.items():
        _rewrite(name, lines, again, services)
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
    """Merge the content of these violations, which no stream record brought; what fails is kept as in ``sync_stream``,
    in an object of this name."""
    result = _merge(services.contents.current(violation_ids), services)
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
    """Merge what the lake lacks of a page of the table: ``SyncResult.document``, ``reasons``, and the next ``cursor``.

    ``items`` is how many the page had: each is in one of the counts.

    Finds content that no stream record brings any more, since ``bedrock_sync`` died on it, or did not run for a day.
    """
    items, following = services.contents.page(cursor)
    result = _merge({violation_id_of(item): item for item in items}, services)
    _log(result)
    return {**result.document(), "items": len(items), "reasons": _reasons(result), "cursor": following}


def _images(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[dict[str, Any], int, float | None]]:
    """Content items of a stream's records, with their places in the stream and the seconds since the epoch of their
    changes."""
    for record in records:
        change = record["dynamodb"]
        item = plain_item(change.get("NewImage", {}))
        if record.get("eventName") != "REMOVE" and is_content(item):
            yield item, int(change["SequenceNumber"]), change.get("ApproximateCreationDateTime")


def _lines(body: bytes) -> Iterator[FailedItem | bytes]:
    """The lines of an object under ``sync-failed/``; one that cannot be read as it is."""
    for line in filter(None, body.splitlines()):
        try:
            yield FailedItem.of_line(line)
        except ValueError:
            LOGGER.error("a line under sync-failed/ cannot be read: correct or delete it", extra={"bytes": len(line)})
            yield line


def failed_items(body: bytes) -> list[FailedItem]:
    """What an object under ``sync-failed/`` says, without the lines that cannot be read."""
    return [line for line in _lines(body) if isinstance(line, FailedItem)]


def _rewrite(
    key: str, lines: Sequence[FailedItem | bytes], again: Mapping[str, FailedItem], services: SyncServices
) -> None:
    left = [
        line + b"\n" if isinstance(line, bytes) else again[line.violation_id].line()
        for line in lines
        if isinstance(line, bytes) or line.violation_id in again
    ]
    before = [line + b"\n" if isinstance(line, bytes) else line.line() for line in lines]
    if not left:
        services.objects.delete(key)
    elif left != before:
        services.objects.put(key, b"".join(left))


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


# --- merging


def _merge(items: Items, services: SyncServices) -> SyncResult:
    """Merge the content of these violations as it is when their table's lease is held.

    ``items`` may be old: they only say where the content belongs, and stand for what cannot be merged.
    """
    result = SyncResult()
    # A line under sync-failed/ can name the violation alone.
    items = {**items, **services.contents.current([one for one, item in items.items() if not item.get("agency")])}
    by_agency: dict[str, dict[str, Mapping[str, Any]]] = {}
    for violation_id, agency in _agencies(items, services, result):
        by_agency.setdefault(agency, {})[violation_id] = items[violation_id]
    for agency, of_agency in sorted(by_agency.items()):
        _merge_agency(agency, of_agency, services, result)
    return result


def _agencies(items: Items, services: SyncServices, result: SyncResult) -> Iterator[tuple[str, str]]:
    """Id and agency of each item. The lake says it for items that do not: content of an output whose job did not keep
    which records it took."""
    unknown = [violation_id for violation_id, item in items.items() if not item.get("agency")]
    found: dict[str, list[str]] = {}
    failure: BatchProcessorError | None = None
    try:
        found = services.lake.agencies_of(unknown) if unknown else {}
    except BatchProcessorError as error:
        LOGGER.exception("agencies not found", extra={"violations": len(unknown)})
        failure = error
    for violation_id, item in items.items():
        agencies = found.get(violation_id, [])
        if item.get("agency"):
            yield violation_id, str(item["agency"]).lower()
        elif failure is not None:
            result.failed.append(FailedItem(item, str(failure), Kind.PASSING))
        elif len(agencies) == 1:
            yield violation_id, agencies[0]
        else:
            where = f"the tables {', '.join(agencies)} share its id" if agencies else "no table of the lake has it"
            reason = f"Violation {violation_id} has no agency, and {where}: write the attribute agency into its item."
            result.failed.append(FailedItem(item, reason))


def _merge_agency(agency: str, items: Items, services: SyncServices, result: SyncResult) -> None:
    """Merge one table's items under its lease; what fails goes into the result."""

    def fail(violation_ids: Iterable[str], reason: str, kind: Kind) -> None:
        result.failed += [FailedItem(items[one], reason, kind) for one in violation_ids]

    if agency not in services.lake.agencies:
        fail(items, f"The lake has no agency {agency!r}: correct the item's agency.", Kind.PERMANENT)
        return
    lease = f"sync#{agency}"
    try:
        if not _acquire(lease, services):
            fail(items, f"Another call held the lease {lease} all the time.", Kind.PASSING)
            return
        try:
            _merge_current(agency, items, services, result)
        finally:
            services.leases.release(lease, services.owner)
    except BatchProcessorError as error:
        LOGGER.exception("merge failed", extra={"agency": agency})
        failed = {one.violation_id for one in result.failed}
        fail((one for one in items if one not in failed), str(error), Kind.PASSING)


def _merge_current(agency: str, items: Items, services: SyncServices, result: SyncResult) -> None:
    """Read the items and merge them: the caller holds the table's lease."""
    current = services.contents.current(items)
    result.ignored += len(items) - len(current)
    updates: list[ContentUpdate] = []
    for violation_id, item in current.items():
        try:
            update = content_update({**item, "agency": item.get("agency") or agency})
        except UnusableContentError as error:
            result.failed.append(FailedItem(item, str(error)))
            continue
        if update.agency == agency:
            updates.append(update)
        else:
            reason = f"The agency of violation {violation_id} changed while it was merged."
            result.failed.append(FailedItem(item, reason, Kind.PASSING))
    if not updates:
        return
    merged = services.lake.merge(agency, updates)
    result.updated += merged.updated
    result.unchanged += merged.unchanged
    reasons = {
        **{one: f"Table {agency} has no violation {one}: load it." for one in merged.missing},
        **{one: f"Violation {one} is verified in the lake: {WITHDRAW}" for one in merged.verified},
        **{
            one: f"Table {agency} has several rows with the id {one}: delete or rename all but one."
            for one in merged.repeated
        },
    }
    result.failed += [FailedItem(current[violation_id], reason) for violation_id, reason in reasons.items()]


def _acquire(lease: str, services: SyncServices) -> bool:
    """Wait for the lease while there is time; it lasts as long as this call can."""
    while (remaining := services.deadline.remaining_seconds()) > RESERVE_SECONDS:
        if services.leases.acquire(lease, services.owner, remaining):
            return True
        services.clock.sleep(POLL_SECONDS)
    return False
