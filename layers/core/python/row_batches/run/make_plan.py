"""Makes the plan of an execution whose document, target and input have no problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from foundation.errors import Problem
from row_batches.document.batch_config import BatchConfig
from row_batches.document.effective import Completed, schema_version
from row_batches.document.header import replaced_columns
from row_batches.document.plan import CostEstimate, DistinctInput, Execution, Keys, Plan, StagedInput, Target
from row_batches.files.csv_writer import output_header
from row_batches.files.hashed_inputs import Reads
from row_batches.files.ports import WorkObjects
from row_batches.files.prefix import FoundInput
from row_batches.files.table import InputStaging
from row_batches.mapping.mapping_in import compile_input_mapping
from row_batches.run.cost import estimate
from row_batches.run.duplicates import stage_distinct
from row_batches.run.plan_warnings import plan_warnings
from row_batches.run.returned_rows import find_returned
from row_batches.run.staging import Finished
from row_batches.run.storage import Items, StoragePlan, plan_storage
from row_batches.targets.kinds import kind_of
from row_batches.targets.ports import FunctionSettings

if TYPE_CHECKING:
    from row_batches.run.earlier_execution import Earlier


@dataclass(frozen=True, slots=True)
class CheckedInput:
    """What a plan is made of. ``earlier`` is given if the document resumes an execution."""

    execution: Execution
    completed: Completed
    config: BatchConfig
    target: Target
    found: FoundInput
    staging: InputStaging
    staged: Finished
    earlier: Earlier | None

    @property
    def rows_with_content(self) -> int:
        return self.staged.total_rows - self.staged.rows_skipped


def make_plan(
    checked: CheckedInput, work: WorkObjects, reads: Reads, functions: FunctionSettings, work_retention_days: int
) -> tuple[Plan, Items] | Problem:
    """The plan and the rows of an inline run, or the problem with the storage that the document asks for.

    Stores the distinct rows with ``execution_config.deduplicate``, but not the plan.
    """
    config, columns = checked.config, checked.staging.columns
    keys = Keys(checked.execution.name)
    returned = find_returned(work, keys.staged, checked.staged.version_id, columns)
    marked = returned.marked_columns if returned else []
    changes = returned.warnings(replaced_columns(config, columns)) if returned else []
    distinct = _stage_distinct(checked, work, marked)
    stored = plan_storage(
        config,
        checked.target,
        execution=checked.execution.name,
        total_rows=checked.rows_with_content if distinct is None else distinct.rows,
        staged_bytes=checked.staged.size_bytes if distinct is None else distinct.size_bytes,
        read_staged=lambda: [work.get(keys.staged if distinct is None else keys.distinct)],
        work_retention_days=work_retention_days,
    )
    if isinstance(stored, Problem):
        return stored
    plan = _plan(checked, work, reads, functions, distinct, stored, work_retention_days)
    completed = checked.completed
    schema = None if completed.schema is None else schema_version(checked.target, completed.schema)
    added = {
        "sources": dict(completed.sources),
        "output_schema": schema,
        "marked_columns": marked,
        "warnings": [*plan.warnings, *changes],
    }
    return plan.model_copy(update=added), stored.items


def _stage_distinct(checked: CheckedInput, work: WorkObjects, marked: list[str]) -> DistinctInput | None:
    config, columns, staged = checked.config, checked.staging.columns, checked.staged
    if not config.execution_config.deduplicate:
        return None
    mapper = compile_input_mapping(config.input_mapping, columns, replaced_columns(config, columns), marked)
    keys = Keys(checked.execution.name)
    return stage_distinct(work, keys, staged.version_id, len(columns), mapper, staged.total_rows, staged.rows_skipped)


class _Kept(NamedTuple):
    """How many rows keep what an earlier execution left."""

    taken_over: int = 0
    """Rows that will probably take over an answer."""
    repeated: int = 0
    """Rows that surely take over an answer."""
    left: int = 0
    """Rows that keep their failure (``execution_config.only_causes``)."""


def _kept(checked: CheckedInput, work: WorkObjects) -> _Kept:
    earlier, config, columns = checked.earlier, checked.config, checked.staging.columns
    if earlier is None:
        return _Kept()
    taken_over = min(checked.rows_with_content, earlier.taken_over(config, columns, checked.staged.total_rows))
    repeated = earlier.repeated(config, columns, work.bucket, checked.execution.started_at)
    return _Kept(taken_over, min(taken_over, repeated), earlier.left(config))


def _costs(checked: CheckedInput, distinct: DistinctInput | None, stored: StoragePlan, kept: _Kept) -> CostEstimate:
    staged = checked.staged
    costs = estimate(
        checked.config,
        checked.target,
        stored.concurrency,
        stored.storage,
        total_rows=checked.rows_with_content,
        staged_bytes=staged.size_bytes,
        distinct=distinct,
        groups_skipped=0 if staged.skipped is None else staged.skipped.groups,
        idle_at_best=kept.taken_over + kept.left,
        idle_at_worst=kept.repeated + kept.left,
    )
    if checked.earlier is None:
        return costs
    assumption = checked.earlier.assumption(kept.taken_over, kept.repeated)
    return costs.model_copy(update={"assumptions": [*costs.assumptions, assumption]})


def _plan(
    checked: CheckedInput,
    work: WorkObjects,
    reads: Reads,
    functions: FunctionSettings,
    distinct: DistinctInput | None,
    stored: StoragePlan,
    work_retention_days: int,
) -> Plan:
    config, target, staging, staged = checked.config, checked.target, checked.staging, checked.staged
    earlier, columns = checked.earlier, checked.staging.columns
    kept = _kept(checked, work)
    rows_sent = checked.rows_with_content if distinct is None else distinct.rows
    warnings = plan_warnings(
        config, target, functions, columns, staged, rows_sent, stored.concurrency, work_retention_days
    )
    if earlier is not None:
        warnings += earlier.warnings(target, config, columns, staged.total_rows)
    return Plan(
        execution=checked.execution,
        config=config,
        target=target,
        columns=columns,
        header=staging.header if staging.header != columns else [],
        output_header=output_header(config, columns, staging.header),
        typed_input=staging.typed,
        total_rows=staged.total_rows,
        staged=StagedInput(
            bucket=work.bucket,
            key=Keys(checked.execution.name).staged,
            version_id=staged.version_id,
            size_bytes=staged.size_bytes,
            source_etag=checked.found.etag,
        ),
        skipped=staged.skipped,
        # Rows that an earlier execution staged are those of the file that it read.
        read=reads.of(checked.found.objects) or (earlier.plan.read if earlier else []),
        distinct=distinct,
        concurrency=stored.concurrency,
        storage=stored.storage,
        estimate=_costs(checked, distinct, stored, kept),
        warnings=warnings,
        call_seconds=kind_of(target).call_seconds(config, target, functions),
        resume_from=earlier.executions(staged.total_rows) if earlier else [],
        taken_over=kept.taken_over + kept.left,
    )
