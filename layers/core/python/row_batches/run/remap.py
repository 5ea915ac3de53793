"""Writes the output of an execution again with another output mapping, from the stored answers.

No target is called. A row keeps its status, message and times; only the mapped columns differ. A row that no worker
finished is FAILED with the same message as in the first output: the brake's reason, or the error of its child.

Memory: that of ``RowStore.answers``, a block of the staged input, a part of the upload.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from foundation.aws.retry import retried
from foundation.errors import (
    DeploymentError,
    InvalidInputError,
    ObjectNotFoundError,
    Problem,
    RemapError,
    RetryableError,
)
from foundation.ports import Clock, ObjectStore
from foundation.problems import closest
from row_batches.document.batch_config import BatchConfig
from row_batches.document.effective import of_schema, schema_of, without_own_transforms
from row_batches.document.header import problems_against_header
from row_batches.document.input_document import parse_batch_config
from row_batches.document.plan import EXTRACTION, Keys, Plan, Source
from row_batches.files.csv_writer import BOM
from row_batches.files.ports import OutputObjects
from row_batches.files.result_file import ResultFile
from row_batches.files.result_table import ResultTable
from row_batches.files.writer import Progress
from row_batches.rows.records import AnsweredRow, RowRecord, RowStatus
from row_batches.rows.store import RowRange, find_gaps
from row_batches.rows.stores import RowStores
from row_batches.run.aggregate_results import CHILD_DIED, NOT_STARTED, Checkpoint
from row_batches.run.batch import Batch, no_outputs
from row_batches.run.blanks import Blanks
from row_batches.run.child_errors import read_child_errors
from row_batches.run.delivery import MOST_TRIES, Delivered, Delivery, DeliveryState
from row_batches.run.destination import FIELD, own_bucket_problem, read_again_problem, remapped_names
from row_batches.run.duplicates import Originals
from row_batches.run.formats import Written, write_formats, written
from row_batches.run.skipped import SKIPPED, all_rows, finish_skipped
from row_batches.run.totals import CastFailures, ExtractedFields, add_cast_failures
from row_batches.targets.protocol import Outcome

FIRST_ROWS = 5
PROGRESS_ROWS = 1_000
SECTION = "output_mapping"


@dataclass
class Remapped:
    """The new output. ``first_rows`` has the number, status and mapped cells of its first rows, by column."""

    key: str
    columns: list[str]
    counts: Counter[RowStatus] = field(default_factory=Counter)
    unfinished: int = 0
    """Failed rows that no worker finished."""
    cast_failures: dict[str, CastFailures] = field(default_factory=dict)
    blanks: Blanks = field(default_factory=Blanks)
    extraction: ExtractedFields = field(default_factory=ExtractedFields)
    warnings: list[str] = field(default_factory=list)
    """Warnings about columns that matched in fewer than half of the answers."""
    first_rows: list[dict[str, str]] = field(default_factory=list)
    outputs: Written = field(default_factory=Written)
    delivered: Delivered | None = None
    """The copy in the user's folder, if the document or the run asks for one."""

    @property
    def total_rows(self) -> int:
        return self.counts.total()


def remap(
    execution: str,
    document: Mapping[str, Any],
    *,
    objects: ObjectStore,
    clock: Clock,
    stores: RowStores | None = None,
    outputs: Callable[[], OutputObjects] = no_outputs,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Remapped:
    """Write ``results/<execution>/remapped/<UTC time>/output.csv``, with every row once and in order.

    Only ``output_mapping``, ``output_format`` and ``output_s3_uri`` of ``document`` are used. Without an
    ``output_format``, the new output has the formats of the execution's own; without an ``output_s3_uri``, it is copied
    to where that was copied. Raises ``InvalidInputError``, which names every mistake in it, and
    ``RemapError`` if the execution has no output yet or its answers have expired. Then nothing is written.
    ``progress`` is called now and then with the rows done and all rows. ``stores`` is needed for rows in a
    table, ``outputs`` for the copy.
    """
    keys = Keys(execution)
    try:
        plan = _load_plan(objects, keys)
        ended = _load_checkpoint(objects, keys)
        config = remapped_config(plan, document, objects.bucket)
        batch = Batch(plan.model_copy(update={"config": config}), objects, clock, stores, outputs=outputs)
        return _Remapping(batch, ended).write(keys.remapped(_moment(clock)), progress)
    except ObjectNotFoundError as error:
        raise _expired(execution, str(error)) from error


def _moment(clock: Clock) -> str:
    """The time as ``20260131T120000.123Z``, which is also a valid file name on every system."""
    moment = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z"


def _expired(execution: str, found: str) -> RemapError:
    return RemapError(
        f"The answers of {execution} have expired: they are kept for work_retention_days. Run the batch again, with "
        f"the new output_mapping. ({found})"
    )


# --- what the execution left


def _load_plan(objects: ObjectStore, keys: Keys) -> Plan:
    try:
        return Plan.model_validate_json(objects.get(keys.plan))
    except ObjectNotFoundError:
        if objects.exists(keys.summary):
            raise
        raise RemapError(
            f"There is nothing to map in s3://{objects.bucket}/{keys.work}: give the name of an execution of this "
            f"environment that had rows to run."
        ) from None


def _load_checkpoint(objects: ObjectStore, keys: Keys) -> Checkpoint:
    """The checkpoint of the aggregation that wrote the output. A stopped execution can have been redriven since."""
    found = [
        Checkpoint.model_validate_json(objects.get(key))
        for key in (f"{keys.checkpoint}.stopped", keys.checkpoint)
        if objects.exists(key)
    ]
    ended = [checkpoint for checkpoint in found if checkpoint.response is not None]
    if ended:
        return max(ended, key=lambda checkpoint: checkpoint.began_ms)
    raise RemapError(
        f"{keys.results} has no output yet: wait for the end of the execution, or fix it and redrive it. A dry run has "
        f"none."
    )


# --- the new mapping


def remapped_config(plan: Plan, document: Mapping[str, Any], results_bucket: str) -> BatchConfig:
    """The execution's own document with the new mapping, checked like that of a new batch.

    Raises ``InvalidInputError`` with every problem.
    """
    if document.get(SECTION) is None:
        nearest = closest(SECTION, document.keys() - {SECTION})
        fix = f"did you mean {nearest}?" if nearest else "give a batch document that has one"
        raise InvalidInputError([Problem(SECTION, "", "is required", fix)])
    original = plan.config.model_dump(mode="json")
    changed = {SECTION: _completed(plan, original, document[SECTION])}
    for name in ("output_format", FIELD):
        if document.get(name) is not None:
            changed[name] = document[name]
    config = parse_batch_config(original | changed)
    problems = problems_against_header(config, plan.columns)
    if FIELD in changed:
        own = own_bucket_problem(changed, plan.keys, results_bucket)
        read = read_again_problem(original | changed, plan.keys, remapped_names)
        problems += [problem for problem in (own, read) if problem is not None]
    if problems:
        raise InvalidInputError(problems)
    return config


def _completed(plan: Plan, original: Mapping[str, Any], section: Any) -> Any:
    """The new mapping. If it has no extraction methods, it gets those of the deployment or the target's schema."""
    if not isinstance(section, dict) or section.get(EXTRACTION[0]) is not None:
        return section
    if plan.sources.get(f"{SECTION}.{EXTRACTION[0]}") is Source.DEPLOYMENT:
        added = {name: original[SECTION][name] for name in EXTRACTION if name in original[SECTION]}
    else:
        added = of_schema(section, schema_of(plan.target))
    return section | without_own_transforms(added, section)


# --- the rows


class _Remapping:
    def __init__(self, batch: Batch, ended: Checkpoint) -> None:
        self._batch = batch
        self._plan = batch.plan
        self._objects = batch.work.objects
        self._keys = batch.work.keys
        self._ended = ended

    def write(self, key: str, progress: Callable[[int, int], object]) -> Remapped:
        gaps = self._gaps()
        brake = self._batch.work.brake()
        self._ended_early = self._ended.ended_early or (brake.reason if brake else "")
        self._originals = Originals(self._objects, self._plan)
        self._child_errors = read_child_errors(self._objects, self._manifests() if gaps else [], gaps)
        remapped = Remapped(key, self._batch.output_mapper.names)
        output = ResultFile.start(self._objects, key, self._batch.tags)
        mark = BOM if self._plan.config.output_format.bom else b""
        output.append(mark + self._batch.renderer.header_line.encode())
        for row, cells, answered, is_skipped in self._rows():
            output.append(self._line(row, cells, answered, is_skipped, remapped))
            output.upload_full_part()
            if row % PROGRESS_ROWS == 0:
                progress(row, self._plan.total_rows)
        output.upload_last_part()
        output.complete()
        table = ResultTable(self._objects, self._plan, key, self._batch.tags)
        formats: dict[str, Progress] = {}
        write_formats(table, self._plan.config.output_format, formats, save=lambda: None, has_time=lambda _: True)
        remapped.outputs = written(table, formats)
        mapping = self._plan.config.output_mapping
        remapped.warnings = remapped.blanks.warnings(mapping, remapped.counts[RowStatus.SUCCESS])
        delivery = Delivery.of(self._batch, DeliveryState(), table.folder, save=lambda: None)
        if delivery is not None:
            copies = partial(delivery.copy, remapped.outputs.keys(key), has_time=lambda: True)
            retried(copies, on=RetryableError, attempts=MOST_TRIES, sleep=self._batch.work.clock.sleep)
            remapped.delivered = delivery.outcome
            remapped.warnings += remapped.delivered.warnings
        return remapped

    def _gaps(self) -> list[RowRange]:
        """The rows that no worker finished. Raises ``RemapError`` if finished rows of the output have expired."""
        gaps = list(find_gaps(self._batch.rows.finished(), self._plan.total_rows))
        finished = self._plan.total_rows - sum(last - first + 1 for first, last in gaps)
        then = self._ended.totals.attempted
        if finished < then:
            raise _expired(self._plan.execution.name, f"{finished:,} of {then:,} finished rows are left")
        return gaps

    def _manifests(self) -> list[str]:
        listing = self._objects.list_objects(f"{self._keys.map}/")
        return [stored.key for stored in listing if stored.key.endswith("/manifest.json")]

    def _rows(self) -> Iterator[tuple[int, list[str], AnsweredRow | None, bool]]:
        """Every row with its original cells, its stored answer, or None if no worker finished it, and whether it is
        skipped."""
        answers = self._batch.rows.answers()
        originals = all_rows(self._objects, self._plan)
        try:
            answered = next(answers, None)
            for expected in range(1, self._plan.total_rows + 1):
                row, cells, is_skipped = next(originals, (0, [], False))
                if row != expected:
                    raise DeploymentError(
                        f"row {expected:,} is not in {self._plan.staged.key}: was that object replaced?"
                    )
                if answered is not None and answered.row == row:
                    yield row, cells, answered, False
                    answered = next(answers, None)
                else:
                    yield row, cells, None, is_skipped
        finally:
            answers.close()

    def _line(
        self, row: int, cells: list[str], answered: AnsweredRow | None, is_skipped: bool, remapped: Remapped
    ) -> bytes:
        if is_skipped:
            record = finish_skipped(self._batch, row, cells).record
            return self._counted(row, record, SKIPPED, remapped)
        outcome = self._unfinished(row) if answered is None else self._batch.outcome_of(answered)
        began_ms = self._ended.began_ms
        finished = self._batch.finish(
            row,
            cells,
            outcome,
            row_hash="",
            attempts=answered.attempts if answered else 0,
            started_ms=answered.started_ms if answered else began_ms,
            ended_ms=answered.ended_ms if answered else began_ms,
            usage=answered.usage if answered else None,
        )
        remapped.unfinished += answered is None
        return self._counted(row, finished.record, outcome, remapped)

    def _counted(self, row: int, record: RowRecord, outcome: Outcome, remapped: Remapped) -> bytes:
        """The row's line of the output."""
        remapped.counts[record["status"]] += 1
        add_cast_failures(remapped.cast_failures, record["cast_failures"])
        remapped.extraction.add([record.get("extraction", "")])
        if "missing" in record:
            remapped.blanks.add(record["missing"], record["answer_keys"], record["status"])
        if row <= FIRST_ROWS:
            remapped.first_rows.append(self._shown(row, outcome, record["status"]))
        return record["csv"].encode()

    def _unfinished(self, row: int) -> Outcome:
        died = self._child_errors.get(self._originals.of(row))
        if died is None:
            died = f"{NOT_STARTED}: {self._ended_early}" if self._ended_early else CHILD_DIED
        return Outcome(RowStatus.FAILED, error_message=died)

    def _shown(self, row: int, outcome: Outcome, status: RowStatus) -> dict[str, str]:
        mapper = self._batch.output_mapper
        succeeded = status is RowStatus.SUCCESS
        values = mapper.map(outcome.answer, outcome.payload).values if succeeded else mapper.defaults()
        mapped = dict(zip(mapper.names, values, strict=True))
        return {"_row_id": str(row), "_status": status.value} | mapped
