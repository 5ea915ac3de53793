"""Decides whether an ended run still needs its output, and waits until its workers are done.

A run whose own execution wrote the output needs nothing. If the execution was aborted, timed out or failed before that,
the brake stops the workers. Then the finishing waits until the rows in flight are written or their leases end.
"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from foundation.errors import ObjectNotFoundError
from foundation.ports import Clock
from row_batches.document.batch_config import MAX_TOOL_TIMEOUT_SECONDS
from row_batches.document.plan import Keys
from row_batches.rows.work import FINISHING_BRAKE
from row_batches.run.batch import Batch, Batches
from row_batches.run.end_messages import AggregateResponse, EndedRun, ExecutionStatus
from row_batches.run.ownership import MOST_WAIT_SECONDS, Ownership
from row_batches.run.runs import Counts, Run, RunEnding, RunState

WRITE_SECONDS = 30


def output_is_final(ended: EndedRun, batches: Batches, machine_is_done: bool) -> bool:
    """Whether the output needs no more work.

    ``machine_is_done`` says whether the execution's own aggregation ended. A run has no plan if its input was refused
    or its objects have expired.
    """
    if not batches.objects.exists(ended.plan_key):
        return True
    if ended.status is ExecutionStatus.SUCCEEDED or batches.open(ended.plan_key).plan.config.dry_run:
        return True
    return ended.status is ExecutionStatus.FAILED and machine_is_done


def keep_ending(ended: EndedRun, batches: Batches, ownership: Ownership, clock: Clock) -> None:
    """End the run in the table of runs if its own aggregation could not do so."""
    run = ownership.runs.get(ended.execution)
    if run is not None and run.ended_at is None:
        ownership.runs.end(ended.execution, _ending(ended, run, batches, clock))


def _ending(ended: EndedRun, run: Run, batches: Batches, clock: Clock) -> RunEnding:
    keys = Keys(ended.execution)
    try:
        summary = orjson.loads(batches.objects.get(keys.summary))
    except ObjectNotFoundError:
        return RunEnding(
            state=RunState.STOPPED if ended.status.stopped else RunState.FAILED,
            counts=run.counts,
            ended_at=datetime.fromtimestamp(clock.now_ms() / 1000, UTC),
            error=ended.error,
        )
    return RunEnding(
        state=RunState(summary["status"]),
        counts=Counts.model_validate(
            {name: summary.get(name, summary.get("usage", {}).get(name, 0)) for name in Counts.model_fields}
            | {"model_usd": summary.get("usage", {}).get("cost_usd", 0)}
        ),
        ended_at=summary["finished_at"],
        cost_usd=summary["cost"]["total_usd"],
        summary_key=keys.summary,
        warnings=summary["warnings"],
        error=summary["error"],
    )


def wait_until_quiet(ended: EndedRun, batch: Batch, ownership: Ownership, clock: Clock) -> AggregateResponse | None:
    """Says when to call again while rows of an ended run are in flight; None if none is.

    Pulls the brake of a run that was stopped from outside.
    """
    ownership.notes.start(Run.of_plan(batch.plan))  # The table lacks runs that the release before started.
    if ended.status.stopped:
        batch.work.pull_brake(FINISHING_BRAKE)
    seconds = ownership.wait_for_rows(ended.execution) or _marked_seconds(ended, batch, clock)
    return AggregateResponse(done=False, come_again_in_seconds=seconds) if seconds else None


def _marked_seconds(ended: EndedRun, batch: Batch, clock: Clock) -> int:
    """Seconds to wait for workers of the release before, which mark their batches with objects.

    The mark of a killed worker stays, so the wait also ends when no row can be in flight any more.
    """
    if batch.plan.schema_version > 1 or not batch.work.is_active():
        return 0
    row_seconds = min(batch.plan.config.execution_config.timeout_seconds, MAX_TOOL_TIMEOUT_SECONDS)
    left_ms = ended.ended_ms + (row_seconds + WRITE_SECONDS) * 1000 - clock.now_ms()
    return max(0, min(MOST_WAIT_SECONDS, -(-left_ms // 1000)))
