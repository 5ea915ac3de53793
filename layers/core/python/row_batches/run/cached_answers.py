"""Takes answers of earlier batches to the same input (``execution_config.cache_days``), and keeps them for later ones.

An answer is found by target, version of the target and hash of the mapped input. Only answers of rows that were called
and ended as SUCCESS are kept. Batches with ``cache_days`` or ``deduplicate`` keep them, because both say that equal
inputs have equal answers. An error here only costs more calls. It never fails a row.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence

from foundation.errors import BatchProcessorError, MappingError
from foundation.json_text import parse_json, render_json
from row_batches.document.plan import Plan
from row_batches.rows.records import FinishedRow, RowOrigin, RowStatus
from row_batches.run.answer_cache import CachedAnswer
from row_batches.run.batch import Batch, input_hash

LOGGER = logging.getLogger("batch_processor.cached_answers")
MS_A_DAY = 86_400_000


def keeps_answers(plan: Plan) -> bool:
    """Whether this execution keeps its answers for later ones. Only then can it take answers of earlier ones.

    Without a version of the target's code, answers of older code look the same as answers of this code.
    """
    return bool(plan.target.code_version) and plan.config.execution_config.keeps_answers


def answer_id(plan: Plan, row_hash: str) -> str:
    """The id of the answer to an input, given by its hash. Another target, or another version of it, has other ids."""
    target = plan.target
    parts = [target.name, target.arn, target.invocation, str(target.answering_version), row_hash]
    return hashlib.sha256(render_json(parts).encode()).hexdigest()


def take_cached(batch: Batch, items: Mapping[int, Mapping[str, str]]) -> Iterator[FinishedRow]:
    """The staged rows ``items``, by number, that an earlier batch answered. The target is not called for them."""
    days = batch.plan.config.execution_config.cache_days
    if days is None or batch.cache is None or not keeps_answers(batch.plan):
        return
    rows: dict[str, list[tuple[int, str]]] = {}
    for row, item in items.items():
        try:
            row_hash = input_hash(batch.input_mapper.map(batch.cells(item)))
        except MappingError:
            continue
        rows.setdefault(answer_id(batch.plan, row_hash), []).append((row, row_hash))
    try:
        for found, answer in batch.cache.get(rows.keys(), batch.work.clock.now_ms() - days * MS_A_DAY):
            for row, row_hash in rows[found]:
                outcome = batch.read_kept(parse_json(answer.decode()))
                if outcome.status is RowStatus.SUCCESS:
                    cells = batch.cells(items[row])
                    yield batch.finish_uncalled(row, cells, outcome, row_hash=row_hash, origin=RowOrigin.CACHED)
    except BatchProcessorError as error:
        LOGGER.warning("answers of earlier batches not read", extra={"reason": str(error)})


def keep_answers(batch: Batch, finished: Sequence[FinishedRow]) -> None:
    """Keep the answers of rows that were called, for later batches."""
    plan = batch.plan
    if batch.cache is None or not keeps_answers(plan):
        return
    version = str(plan.target.answering_version)
    answers = [
        CachedAnswer(answer_id(plan, row.record["hash"]), plan.target.name, version, row.answer)
        for row in finished
        if not row.has_failed and row.record["attempts"] and row.record["target_version"] == version
    ]
    days = plan.config.execution_config.cache_days or plan.storage.ttl_days
    try:
        batch.cache.keep(answers, batch.work.clock.now_ms(), days)
    except BatchProcessorError as error:
        LOGGER.warning("answers not kept for later batches", extra={"reason": str(error)})
