"""Merges content items into the tables of the lake: one MERGE for each agency, under a lease that makes this call the
table's only writer.

The items are read after the lease is taken, so a call that waited for it never writes old content. Errors do not leave
this module: the result has everything that could not be merged, with its reason.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bedrock_batches.sync.failed_items import FailedItem, Kind
from bedrock_batches.sync.lake_content import ContentUpdate, UnusableContentError, content_update
from foundation.errors import BatchProcessorError
from foundation.ports import Clock, Deadline, Leases, Metrics, ObjectStore

LOGGER = logging.getLogger("batch_processor.merge")

RESERVE_SECONDS = 30.0
"""Seconds of the call that are reserved for noting what could not be merged."""
POLL_SECONDS = 1.0
WITHDRAW = "to take that back, set is_verified to false and verified_at to now."


class MergedRows(Protocol):
    """The outcome of a merge. Each update is in exactly one of the five."""

    @property
    def updated(self) -> int: ...
    @property
    def unchanged(self) -> int:
        """Rows that had this content or newer content already."""

    @property
    def missing(self) -> Sequence[str]:
        """Ids that the table does not have."""

    @property
    def verified(self) -> Sequence[str]:
        """Ids of verified rows whose update is not verified and has no time for that."""

    @property
    def repeated(self) -> Sequence[str]:
        """Ids that several rows share: nobody can say which of them the content belongs to."""


class ContentLake(Protocol):
    @property
    def agencies(self) -> Sequence[str]: ...

    def agencies_of(self, violation_ids: Collection[str]) -> dict[str, list[str]]:
        """The agencies whose tables have each violation. Raises the errors of ``merge``."""

    def merge(self, agency: str, updates: Sequence[ContentUpdate]) -> MergedRows:
        """Write content into an agency's table. ``updates`` have each violation once.

        Never writes older content over newer, unverified over verified, or into a row whose id another row shares.
        Raises CommitConflictError, DeploymentError or ServiceUnavailableError; then nothing is written.
        """


class ContentItems(Protocol):
    """Items of ``VentureOS-Violations`` in the form of ``plain_item``; read consistently."""

    def current(self, violation_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """The content items of those violations that have one, by id."""

    def with_content(self, violation_ids: Collection[str]) -> set[str]:
        """The violations that have content."""

    def page(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        """Some thousand content items, and the cursor of the next page. "" is the first cursor and the end."""


@dataclass(frozen=True)
class SyncServices:
    """The ports of a sync; ``owner`` identifies this call."""

    lake: ContentLake
    contents: ContentItems
    leases: Leases
    objects: ObjectStore
    metrics: Metrics
    clock: Clock
    deadline: Deadline
    owner: str


@dataclass
class SyncResult:
    """The counts of one call: rows written, rows that needed nothing, failures, and records that are not content.

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


def merge(items: Items, services: SyncServices) -> SyncResult:
    """Merge the content that these violations have when their table's lease is held. ``items`` can be old: they only
    say where the content belongs, and are kept if it cannot be merged."""
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
    """Id and agency of each item. The lake knows the agency of items without one, which come from jobs that did not
    keep their records."""
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
    """Merge one table's items under its lease. Failures go into the result."""

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
    """Read the items and merge them. The caller holds the table's lease."""
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
    """Wait for the lease while there is time. It lasts as long as this call can."""
    while (remaining := services.deadline.remaining_seconds()) > RESERVE_SECONDS:
        if services.leases.acquire(lease, services.owner, remaining):
            return True
        services.clock.sleep(POLL_SECONDS)
    return False
