"""Decides where an execution's finished rows are kept, and whether its rows travel in the state machine's payload."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil
from typing import assert_never

from foundation.errors import Problem
from foundation.json_text import render_json
from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Concurrency, Storage, StorageMode, Target
from row_batches.files.staged_copy import staged_items
from row_batches.rows.partitions import batch_ids_of
from row_batches.targets.kind import TargetKind
from row_batches.targets.kinds import kind_of

PATH = "execution_config.storage_mode"
MOST_INLINE_BYTES = 200 * 1024
"""The size of inline rows, out of a state's 256 KiB (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""
INLINE_ROW_BYTES = 300
"""The bytes that the state machine adds to a row besides its cells."""
TRIAL_REFUSAL = "an inline run has no trial"

# Assumptions on items.
ANSWER_BYTES = 500
ITEM_BYTES = 690
"""The bytes of an item besides its cells, which it holds twice, and its answer."""
UNIT_BYTES = 1024
UNITS_A_PARTITION = 700
"""The planned write units a second for a partition, which takes up to 1,000."""

Items = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class StoragePlan:
    """The decision. ``items`` are the rows of an inline run as its worker gets them; otherwise empty."""

    storage: Storage
    concurrency: Concurrency
    items: Items


def item_units(row_bytes: int) -> int:
    """The estimated write units of a row in DynamoDB."""
    return ceil((2 * row_bytes + ANSWER_BYTES + ITEM_BYTES) / UNIT_BYTES)


def plan_storage(
    config: BatchConfig,
    target: Target,
    *,
    execution: str,
    total_rows: int,
    staged_bytes: int,
    read_staged: Callable[[], Iterable[bytes]],
    work_retention_days: int,
) -> StoragePlan | Problem:
    """The storage that the document asks for, or the problem with it. Calls ``read_staged`` if inline is possible."""
    kind, settings = kind_of(target), config.execution_config
    row_bytes = staged_bytes // max(1, total_rows)
    asked, reason = settings.storage_mode, "the configuration asks for it"
    if asked == "inline" or asked == "auto":
        inline = kind.inline_concurrency(config, target, total_rows)
        items = _items(total_rows, staged_bytes, read_staged)
        refusal = TRIAL_REFUSAL if config.trial is not None else ""
        refusal = refusal or _too_much(total_rows, staged_bytes, items)
        refusal = refusal or kind.inline_refusal(config, inline, total_rows)
        if asked == "auto":
            mapped = kind.concurrency(config, target, total_rows, row_bytes)
            refusal = refusal or _too_slow(mapped, inline, total_rows)
        if items is not None and not refusal:
            if asked == "auto":
                reason = f"auto: {total_rows:,} rows fit into the payload of the state machine"
            storage = Storage(mode=StorageMode.INLINE, reason=reason, ttl_days=work_retention_days)
            return StoragePlan(storage, inline, items)
        if asked == "inline":
            return Problem(PATH, "inline", refusal, 'write "s3", "dynamodb" or "auto"')
        asked, reason = "s3", f"auto: {refusal}"
    concurrency = kind.concurrency(config, target, total_rows, row_bytes)
    if asked == "s3":
        default = "storage_mode" not in settings.model_fields_set
        storage = Storage(reason="the default" if default else reason, ttl_days=work_retention_days)
        return StoragePlan(storage, concurrency, [])
    if asked != "dynamodb":
        assert_never(asked)
    partitions = _partitions(config, target, kind, concurrency, row_bytes)
    storage = Storage(
        mode=StorageMode.DYNAMODB,
        reason=reason,
        batch_ids=batch_ids_of(config.batch_name, execution, partitions),
        compress=settings.enable_compression,
        ttl_days=settings.ttl_days or work_retention_days,
    )
    return StoragePlan(storage, concurrency, [])


def _items(total_rows: int, staged_bytes: int, read_staged: Callable[[], Iterable[bytes]]) -> Items | None:
    """The rows, or None if there are clearly too many for an inline run."""
    if (
        staged_bytes + total_rows * INLINE_ROW_BYTES > 2 * MOST_INLINE_BYTES
    ):  # Quotes and backslashes are doubled in the staged copy.
        return None
    return list(staged_items(read_staged())) if total_rows else []


def _too_much(total_rows: int, staged_bytes: int, items: Items | None) -> str:
    """Why the rows do not fit into the state machine's payload, with their size; "" if they fit."""
    size = staged_bytes if items is None else len(render_json(items).encode())
    size += total_rows * INLINE_ROW_BYTES
    if size <= MOST_INLINE_BYTES:
        return ""
    return (
        f"{total_rows:,} rows take {ceil(size / 1024):,} KB in the state machine's payload "
        f"(with {INLINE_ROW_BYTES} bytes added for each row), which has room for {MOST_INLINE_BYTES // 1024}"
    )


def _too_slow(mapped: Concurrency, inline: Concurrency, total_rows: int) -> str:
    wanted, in_flight = min(mapped.children * mapped.threads, total_rows), inline.children * inline.threads
    return f"inline has {in_flight} rows in flight, not {wanted:,}" if in_flight < wanted else ""


def _partitions(config: BatchConfig, target: Target, kind: TargetKind, concurrency: Concurrency, row_bytes: int) -> int:
    """The number of partition keys for the rows, so that no partition gets more writes than it can take."""
    rows_a_second = concurrency.children * concurrency.threads / (target.expected_seconds or kind.row_seconds)
    rate = config.execution_config.rate
    if rate is not None and rate.rows_per_minute is not None:
        rows_a_second = min(rows_a_second, rate.rows_per_minute / 60)
    return max(1, ceil(rows_a_second * item_units(row_bytes) / UNITS_A_PARTITION))
