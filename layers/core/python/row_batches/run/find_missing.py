"""Finds the rows that no worker finished, and stages them for a second pass."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from row_batches.files.result_file import ResultFile
from row_batches.files.staged_copy import staged_header, staged_lines
from row_batches.rows.store import RowRange, find_gaps
from row_batches.run.batch import Batch
from row_batches.run.duplicates import Originals
from row_batches.run.end_messages import AggregateResponse
from row_batches.run.messages import ObjectVersion
from row_batches.run.ownership import Ownership
from row_batches.run.skipped import SkippedRows
from row_batches.run.spending import brake_of_rows


def find_missing(batch: Batch, ownership: Ownership) -> AggregateResponse:
    """Count the missing rows and stage them. If the brake is pulled, no row gets a second pass.

    Rows that have an owner are not missing, even if the brake is pulled: the owner still writes its rows in flight, so
    the answer says when to call again. The staged input is read only if rows are missing, and only up to the last of
    them. Memory: a part of the upload, for an input of any size.
    """
    if next(_gaps(batch), None) is None:
        return AggregateResponse()
    wait_seconds = ownership.wait_for_rows(batch.plan.execution.name)
    if wait_seconds:
        return AggregateResponse(done=False, come_again_in_seconds=wait_seconds)
    if batch.work.brake() is not None:
        return AggregateResponse()
    # The last owner can have written its rows since the last listing.
    gaps = _gaps(batch)
    first_gap = next(gaps, None)
    if first_gap is None:
        return AggregateResponse()
    if batch.has_brake_of_its_own and (brake := brake_of_rows(batch)) is not None:
        batch.work.pull_brake(brake)
        return AggregateResponse()
    objects, plan = batch.work.objects, batch.plan
    missing = ResultFile.start(objects, batch.work.keys.missing)
    missing.append(staged_header(len(plan.columns)))
    count = 0
    for _, line in staged_lines(objects.read(plan.staged.key, plan.staged.version_id), chain([first_gap], gaps)):
        missing.append(line)
        missing.upload_full_part()
        count += 1
    missing.upload_last_part()
    version = missing.complete()
    staged = ObjectVersion(bucket=objects.bucket, key=batch.work.keys.missing, version_id=version)
    return AggregateResponse(missing=count, missing_input=staged, max_concurrency=_children(batch, ownership))


def _children(batch: Batch, ownership: Ownership) -> int:
    """The number of children at once in the second pass, with one row each, from what the run may use now."""
    planned, concurrency = batch.allowance, batch.plan.concurrency
    run = ownership.notes.refresh(batch.plan.execution.name, None, batch.work.clock.now_ms())
    allowance = planned if run is None else run.live.of(planned)
    if allowance.rows_per_minute is not None or allowance.tokens_per_minute is not None:
        return min(allowance.rows_in_flight, concurrency.children)  # The rate is shared by this many.
    if concurrency.threads > 1:
        return min(allowance.rows_in_flight, planned.rows_in_flight)  # Tool workers cannot exceed the plan.
    return allowance.rows_in_flight


def _gaps(batch: Batch) -> Iterator[RowRange]:
    """The rows that are sent and not finished. Their duplicates are finished after them (``fan_out``)."""
    objects, plan = batch.work.objects, batch.plan
    gaps = SkippedRows(objects, plan).without(find_gaps(batch.rows.finished(), plan.total_rows))
    return Originals(objects, plan).sent(gaps)
