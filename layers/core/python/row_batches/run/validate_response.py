"""Makes the answers of ``validate_input`` to the state machine, among them the output document of a dry run."""

from __future__ import annotations

from typing import Any

from row_batches.document.batch_config import MAX_AGENT_TIMEOUT_SECONDS
from row_batches.document.plan import Keys, Plan, StorageMode
from row_batches.run.destination import tried_destination
from row_batches.run.input_messages import MapSettings, ValidateResponse
from row_batches.run.messages import BatchReference, ChildInput, ObjectVersion
from row_batches.run.storage import Items
from row_batches.targets.kind import Processor
from row_batches.targets.kinds import kind_of

SECONDS_A_DAY = 86_400
NAMES_LISTED_BYTES = 20_000
"""The size of the column names in a dry run's output. An execution's output can be up to 256 KiB."""


def not_staged_yet(execution: str, keys: Keys, bucket: str) -> ValidateResponse:
    """The answer of a call whose time ended before the input was staged: call again."""
    return ValidateResponse(
        done=False,
        execution_id=execution,
        plan_key=keys.plan,
        processor=Processor.NONE,
        dry_run=False,
        total_rows=0,
        staged=ObjectVersion(bucket=bucket, key=keys.staged, version_id=""),
        map=MapSettings(max_concurrency=1, batch_size=1),
        map_prefix=keys.map,
    )


def planned(plan: Plan, items: Items, work_retention_days: int) -> ValidateResponse:
    """The answer for a plan. ``items`` are the rows of an inline run, otherwise empty."""
    read = plan.distinct or plan.staged
    processor = kind_of(plan.target).processor if plan.rows_sent else Processor.NONE
    return ValidateResponse(
        execution_id=plan.execution.name,
        plan_key=plan.keys.plan,
        processor=processor,
        dry_run=plan.config.dry_run,
        total_rows=plan.total_rows,
        staged=ObjectVersion(bucket=plan.staged.bucket, key=read.key, version_id=read.version_id),
        map=MapSettings(max_concurrency=plan.concurrency.children, batch_size=plan.concurrency.batch_size),
        map_prefix=plan.keys.map,
        inline=plan.storage.mode is StorageMode.INLINE,
        children=[] if plan.config.dry_run else _children(plan, items),
        document=_dry_run_document(plan) if plan.config.dry_run else None,
        trial=plan.has_trial,
        approval_seconds=_approval_seconds(plan, work_retention_days) if plan.has_trial else 0,
    )


def _children(plan: Plan, items: Items) -> list[ChildInput]:
    """The rows of an inline run, as the children of a map would get them."""
    size = plan.concurrency.batch_size
    reference = BatchReference(plan_key=plan.keys.plan)
    return [ChildInput(BatchInput=reference, Items=items[at : at + size]) for at in range(0, len(items), size)]


def _approval_seconds(plan: Plan, work_retention_days: int) -> int:
    """How long the run waits for an approval: as long as its rows are kept, from its start, and at most a year."""
    kept_days = min(plan.storage.ttl_days, work_retention_days)
    return min(kept_days * SECONDS_A_DAY, MAX_AGENT_TIMEOUT_SECONDS)


def _dry_run_document(plan: Plan) -> dict[str, Any]:
    """The output of a dry run: the planned work and its cost. It names only the first of very many columns."""
    return {
        "status": "DRY_RUN",
        "total_rows": plan.total_rows,
        "distinct_rows": plan.rows_sent if plan.config.execution_config.deduplicate else None,
        "skipped": plan.rows_skipped,
        "rows_to_run": plan.rows_to_run,
        "column_count": len(plan.columns),
        "columns": _first_names(plan.columns),
        "output_column_count": len(plan.output_header),
        "output_columns": _first_names(plan.output_header),
        "concurrency": plan.concurrency.model_dump(),
        "storage": plan.storage.model_dump(mode="json"),
        "delivery": tried_destination(plan),
        "estimate": plan.estimate.model_dump(),
        "effective_config": plan.effective_config,
        "output_schema": None if plan.output_schema is None else plan.output_schema.model_dump(),
        "warnings": plan.warnings,
    }


def _first_names(names: list[str]) -> list[str]:
    listed = []
    room = NAMES_LISTED_BYTES
    for name in names:
        room -= len(name.encode())
        if room < 0:
            break
        listed.append(name)
    return listed
