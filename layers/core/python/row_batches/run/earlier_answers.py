"""Takes over rows that an earlier execution finished (``execution_config.resume_from``).

A row is taken over if the earlier execution has it under the same number, as SUCCESS, with the same mapped input. This
batch's own output mapping maps the answer. The row has no attempt and no duration, because the target is not called.

With ``execution_config.only_causes``, rows that failed there for another cause keep that failure: they do not run.

Memory: that of ``RowStore.kept``, and one parsed answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from foundation.errors import MappingError
from foundation.json_text import parse_json
from row_batches.rows.records import FinishedRow, KeptAnswer, KeptFailure, RowOrigin, RowStatus
from row_batches.run.batch import Batch, input_hash
from row_batches.run.causes import Cause
from row_batches.targets.protocol import Outcome


def take_over(
    batch: Batch, items: Mapping[int, Mapping[str, str]], may_continue: Callable[[], bool] = lambda: True
) -> Iterator[FinishedRow]:
    """The staged rows ``items``, by number, that need no call. Ends early when ``may_continue`` returns False.

    Rows whose answers have expired, or expire meanwhile, are left out, so they run.
    """
    left = dict(items)
    for earlier in batch.plan.resume_from:
        for kept in batch.rows_of(earlier).kept(left.keys()):
            if not may_continue():
                return
            if kept.row in left:
                finished = _finish(batch, left[kept.row], kept, earlier.target_version)
                if finished is not None:
                    del left[kept.row]
                    yield finished
    chosen = batch.plan.config.execution_config.only_causes
    if not chosen:
        return
    resumed = batch.plan.resume_from[0]
    for failure in batch.rows_of(resumed).failures(left.keys()):
        if not may_continue():
            return
        cause = Cause.of(failure.error_name, failure.error, failure.status)
        if failure.row in left and not cause.is_one_of(chosen):
            yield _leave(batch, left.pop(failure.row), failure)


def _leave(batch: Batch, item: Mapping[str, str], failure: KeptFailure) -> FinishedRow:
    outcome = Outcome(failure.status, error_name=failure.error_name, error_message=failure.error)
    return batch.finish_uncalled(failure.row, batch.cells(item), outcome, origin=RowOrigin.LEFT)


def _finish(batch: Batch, item: Mapping[str, str], kept: KeptAnswer, target_version: str) -> FinishedRow | None:
    """The finished row, if the answer belongs to its input.

    ``target_version`` is used if the answer names no version.
    """
    cells = batch.cells(item)
    try:
        row_input = batch.input_mapper.map(cells)
    except MappingError:
        return None
    row_hash = input_hash(row_input)
    if kept.hash != row_hash and kept.hash != input_hash(row_input, sort_keys=False):
        return None
    outcome = batch.read_kept(parse_json(kept.answer.decode()))
    if outcome.status is not RowStatus.SUCCESS:
        return None
    version = kept.target_version or target_version
    return batch.finish_uncalled(kept.row, cells, outcome, row_hash=row_hash, target_version=version)
