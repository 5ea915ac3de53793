"""Writes the output, the failed rows and the summary of an execution from its finished rows.

Every row appears exactly once and in order, whatever the workers left: a row that was written twice is taken once, and
a row that was never written is FAILED with the reason that is known. A call can end anywhere, by time or by a kill. A
checkpoint is written after each part of the upload, and the next call continues there. Neither file is visible before
both are complete. Then the other formats are made from ``output.csv`` (``formats``), and all files are copied to where
the document wants them (``delivery``).

Memory: that of ``RowStore.read``, a part of each upload, ``MOST_LETTER_BYTES`` of dead letters.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Any

import orjson
from pydantic import Field

from foundation.errors import BatchProcessorError, DeploymentError, ObjectNotFoundError
from foundation.lazy_model import LazyModel
from foundation.ports import Clock, Deadline, Metrics, ObjectStore
from row_batches.document.plan import Keys
from row_batches.files.csv_writer import BOM, identified
from row_batches.files.result_file import FileState, ResultFile
from row_batches.files.result_table import ResultTable
from row_batches.files.staged_copy import read_staged
from row_batches.files.writer import Progress
from row_batches.rows.records import RowStatus
from row_batches.rows.store import FinishedRows, find_gaps
from row_batches.rows.work import FINISHING_BRAKE, Work
from row_batches.run.batch import Batch, Batches
from row_batches.run.child_errors import read_child_errors
from row_batches.run.conclusion import Conclusion
from row_batches.run.delivery import Delivery, DeliveryState
from row_batches.run.duplicates import Originals
from row_batches.run.end_messages import AggregateAction, AggregateRequest, AggregateResponse, EndedRun
from row_batches.run.find_missing import find_missing
from row_batches.run.finish import keep_ending, output_is_final, wait_until_quiet
from row_batches.run.formats import Written, write_formats, written
from row_batches.run.letters import UnsentLetters
from row_batches.run.ownership import Ownership
from row_batches.run.ports import DeadLetters
from row_batches.run.proof import proof_of_run
from row_batches.run.redrive import Redrives, redriven_since, reopen_run
from row_batches.run.runs import AGGREGATION_PART, BestEffort
from row_batches.run.skipped import SkippedRows, finish_skipped
from row_batches.run.totals import Totals
from row_batches.targets.protocol import Outcome

LOGGER = logging.getLogger("batch_processor.aggregate_results")

RESERVE_SECONDS = 180.0
"""A call stops when less time than this is left of its 15 minutes, so it can still upload the current part."""
COMPLETE_SECONDS = 60.0
"""Putting small files and a checkpoint takes a few seconds, and S3 can be slow."""
GAP_ROWS_AT_ONCE = 1000
CHILD_DIED = "the child workflow that held this row ended without a result; look into its execution"
NOT_STARTED = "not started"
"""The error of a row that never ran, before the reason why: it is FAILED only in ``_status``."""


class Phase(StrEnum):
    """How far an aggregation is: it writes the rows, then the other files."""

    ROWS = "ROWS"
    FILES = "FILES"
    DONE = "DONE"


class Checkpoint(LazyModel):
    """The progress of an aggregation. The store continues to read at ``position``, and ``next_row`` is written next."""

    schema_version: int = 1
    phase: Phase = Phase.ROWS
    ended_ms: int = 0
    """When the execution ended. Set only if the finishing machine aggregates."""
    ended_early: str = ""
    """Why some rows were not started; "" if all were."""
    began_ms: int
    next_row: int = 1
    position: str = ""
    output: FileState
    failed_rows: FileState
    proof_rows: FileState | None = None
    """None in a checkpoint of an earlier release, whose run has no proof."""
    formats: dict[str, Progress] = {}
    delivery: DeliveryState = Field(default_factory=DeliveryState)
    totals: Totals = Field(default_factory=Totals)
    response: AggregateResponse | None = None


def aggregate_results(
    request: AggregateRequest,
    *,
    batches: Batches,
    dead_letters: DeadLetters,
    metrics: Metrics,
    ownership: Ownership,
    redrives: Redrives,
    clock: Clock,
    deadline: Deadline,
) -> AggregateResponse:
    """Do one step of the aggregation. Call again after ``come_again_in_seconds``, until ``done``.

    One call at a time owns the aggregation. Without ``ended``, the run's own execution calls. With ``ended``, the
    finishing machine calls: it does nothing if the output is complete, if the run was redriven since, or if there is
    no plan. Raises ``DeploymentError`` when an object of the run is gone.
    """
    ended = request.ended
    if ended is not None and (redrive := redriven_since(ended, redrives)) is not None:
        if redrive.is_running:
            reopen_run(ended.execution, ownership.runs, Work(batches.objects, Keys(ended.execution), clock))
        return AggregateResponse(redriven=True)
    if ended is not None and output_is_final(ended, batches, _machine_is_done(ended, batches)):
        keep_ending(ended, batches, ownership, clock)
        return AggregateResponse()
    batch = batches.open(request.plan_key)
    if ended is None:
        batch.work.release_finishing_brake()  # An ending before the redrive pulled it. The execution runs again.
    if request.action is not AggregateAction.AGGREGATE:
        ownership.notes.reopen(batch.plan.execution.name)
        found = find_missing(batch, ownership)
        if request.action is AggregateAction.FIND_MISSING or found.missing or not found.done:
            return found
    if ended is not None and (waiting := wait_until_quiet(ended, batch, ownership, clock)) is not None:
        return waiting
    with ownership.of(batch.plan.execution.name, AGGREGATION_PART, deadline) as wait_seconds:
        if wait_seconds:
            return AggregateResponse(done=False, come_again_in_seconds=wait_seconds)
        if not _duplicates_are_finished(batch, deadline):
            return AggregateResponse(done=False)
        aggregation = _Aggregation(
            batch, request.manifests, ended, dead_letters, metrics, ownership.notes, clock, deadline
        )
        response = aggregation.run()
        if ended is not None and response.done:
            batch.work.release_finishing_brake()  # the execution can be redriven
        return response


def _duplicates_are_finished(batch: Batch, deadline: Deadline) -> bool:
    """Finish the duplicates of finished rows. False if the time ended before that."""
    if batch.plan.distinct is None:
        return True
    from row_batches.run.fan_out import fan_out  # noqa: PLC0415 (few runs look for duplicates)

    return fan_out(batch, deadline)


def _machine_is_done(ended: EndedRun, batches: Batches) -> bool:
    checkpoint = _load_checkpoint(batches.objects, Keys(ended.execution).checkpoint)
    return checkpoint is not None and checkpoint.phase is Phase.DONE


def _load_checkpoint(objects: ObjectStore, key: str) -> Checkpoint | None:
    try:
        return Checkpoint.model_validate_json(objects.get(key))
    except ObjectNotFoundError:
        return None


def _trial_of(batch: Batch) -> dict[str, Any] | None:
    """The report of the run's trial for the summary; None if it has none."""
    if batch.plan.config.trial is None:
        return None
    from row_batches.run.trial import read_report  # noqa: PLC0415 (few runs have a trial)

    report = read_report(batch.work.objects, batch.plan.execution.name)
    return None if report is None else report.for_the_summary


def _as_json(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


class _Aggregation:
    def __init__(
        self,
        batch: Batch,
        manifests: list[str],
        ended: EndedRun | None,
        dead_letters: DeadLetters,
        metrics: Metrics,
        notes: BestEffort,
        clock: Clock,
        deadline: Deadline,
    ) -> None:
        self._notes = notes
        self._batch = batch
        self._plan = batch.plan
        self._objects = batch.work.objects
        self._keys = batch.work.keys
        self._manifests = manifests
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._clock = clock
        self._deadline = deadline
        self._ended = ended
        # A redriven execution goes on with its own uploads, whatever the finishing machine did before.
        self._checkpoint_key = self._keys.checkpoint if ended is None else f"{self._keys.checkpoint}.stopped"
        self._brake = batch.work.brake()
        self._gaps: deque[tuple[int, int]] = deque()
        self._staged: Iterator[tuple[int, list[str]]] | None = None
        self._died: dict[int, str] | None = None
        self._originals = Originals(self._objects, self._plan)
        self._skipped = SkippedRows(self._objects, self._plan)

    def run(self) -> AggregateResponse:
        checkpoint = self._load() or self._begin()
        if checkpoint.response is not None:
            return checkpoint.response
        self._began_ms = checkpoint.began_ms
        self._next_row = checkpoint.next_row
        self._position = checkpoint.position
        self._totals = checkpoint.totals
        self._letters = UnsentLetters(self._batch, self._dead_letters, self._clock, self._totals)
        self._output = ResultFile(self._objects, checkpoint.output)
        self._failed_rows = ResultFile(self._objects, checkpoint.failed_rows)
        self._proof_rows = None if checkpoint.proof_rows is None else ResultFile(self._objects, checkpoint.proof_rows)
        self._formats = checkpoint.formats
        self._delivery = Delivery.of(
            self._batch, checkpoint.delivery, self._keys.results, lambda: self._save(Phase.FILES)
        )
        if checkpoint.phase is Phase.ROWS:
            if not self._write_rows():
                self._save(Phase.ROWS)
                return AggregateResponse(done=False)
            if self._can_take_another_call:
                self._start_parts()
            for file in self._files:
                file.upload_last_part()
            self._save(Phase.FILES)
        for file in self._files:
            file.complete()
        table = ResultTable(
            self._objects,
            self._plan,
            self._keys.output,
            self._batch.tags,
            self._keys.failed_rows,
            summary=lambda: self._conclusion(Written()).summary,
        )
        formats = self._plan.config.output_format
        if not write_formats(
            table,
            formats,
            self._formats,
            lambda: self._save(Phase.FILES),
            self._has_time,
            fresh=checkpoint.phase is Phase.FILES,
        ):
            return AggregateResponse(done=False)
        outputs = written(table, self._formats)
        if self._delivery is not None and not self._deliver(self._delivery, outputs):
            return AggregateResponse(done=False)
        response = self._conclude(outputs)
        self._save(Phase.DONE, response)
        return response

    # --- the checkpoint

    def _load(self) -> Checkpoint | None:
        """The checkpoint of this aggregation; None at its start. A checkpoint of an earlier ending does not count."""
        checkpoint = _load_checkpoint(self._objects, self._checkpoint_key)
        return checkpoint if checkpoint is not None and checkpoint.ended_ms == self._ended_ms else None

    @property
    def _ended_ms(self) -> int:
        return self._ended.ended_ms if self._ended else 0

    def _begin(self) -> Checkpoint:
        # Each line of the output is hashed in proof_rows.b64.
        output = ResultFile.start(self._objects, self._keys.output, self._batch.tags, hashed=False)
        failed_rows = ResultFile.start(self._objects, self._keys.failed_rows, self._batch.tags)
        proof_rows = ResultFile.start(self._objects, self._keys.proof_rows, self._batch.tags)
        mark = BOM if self._plan.config.output_format.bom else b""
        output.append(self._first_line)
        failed_rows.append(mark + self._batch.renderer.failed_header_line.encode())
        checkpoint = Checkpoint(
            ended_ms=self._ended_ms,
            ended_early=self._ended_early,
            began_ms=self._clock.now_ms(),
            output=output.state,
            failed_rows=failed_rows.state,
            proof_rows=proof_rows.state,
        )
        self._put(checkpoint)
        return checkpoint

    def _put(self, checkpoint: Checkpoint) -> None:
        # Not model_dump_json, which takes five times as long for the megabytes of text that are not uploaded yet.
        body = orjson.dumps(checkpoint.model_dump(mode="json"), option=orjson.OPT_NON_STR_KEYS)
        self._objects.put(self._checkpoint_key, body)

    def _save(self, phase: Phase, response: AggregateResponse | None = None) -> None:
        self._letters.send()  # no later call comes back to the rows before next_row
        if phase is Phase.ROWS:
            self._start_parts()
        checkpoint = Checkpoint(
            phase=phase,
            ended_ms=self._ended_ms,
            ended_early=self._ended_early,
            began_ms=self._began_ms,
            next_row=self._next_row,
            position=self._position,
            output=self._output.state,
            failed_rows=self._failed_rows.state,
            proof_rows=None if self._proof_rows is None else self._proof_rows.state,
            formats=self._formats,
            delivery=DeliveryState() if self._delivery is None else self._delivery.state,
            totals=self._totals,
            response=response,
        )
        self._put(checkpoint)

    @property
    def _files(self) -> list[ResultFile]:
        files = [self._output, self._failed_rows]
        return files if self._proof_rows is None else [*files, self._proof_rows]

    def _start_parts(self) -> None:
        """Start the uploads of all files, because the release before continues only from uploads that are started."""
        for file in self._files:
            file.start_parts()

    @property
    def _can_take_another_call(self) -> bool:
        """Whether this call can end between completing the files and the end of the aggregation."""
        formats = self._plan.config.output_format.types
        return len(formats) > 1 or self._delivery is not None or not self._has_time(RESERVE_SECONDS + COMPLETE_SECONDS)

    @property
    def _first_line(self) -> bytes:
        mark = BOM if self._plan.config.output_format.bom else b""
        return mark + self._batch.renderer.header_line.encode()

    # --- the rows

    def _write_rows(self) -> bool:
        """Write rows until the last one or until the time is over. Returns whether the last one is written."""
        reader = self._batch.rows.read(self._next_row, self._position)
        try:
            for rows in reader:
                if not self._write_gap(rows.first) or not self._has_time():
                    return False
                self._write_finished(rows)
                self._position = rows.position
                self._upload()
        finally:
            reader.close()
        return self._write_gap(self._plan.total_rows + 1)

    def _has_time(self, seconds: float = RESERVE_SECONDS) -> bool:
        return self._deadline.remaining_seconds() > max(RESERVE_SECONDS, seconds)

    def _upload(self) -> None:
        if self._proof_rows is not None:
            # Without a checkpoint: what the next call repeats, it uploads again as the same part.
            self._proof_rows.upload_full_part()
        uploads = [self._output.upload_full_part(), self._failed_rows.upload_full_part()]
        if any(uploads):
            self._save(Phase.ROWS)

    def _write_finished(self, rows: FinishedRows) -> None:
        columns = rows.columns_from(self._next_row)
        self._append("".join(columns["csv"]), columns["proof"])
        for failure in columns["failures"]:
            row, status, error = failure["row"], failure["status"], failure["error"]
            self._append_failed(failure["csv"], row)
            self._totals.add_failure(row, status, error)
            if not failure["letter_sent"]:
                ((_, cells),) = self._staged_rows(row, row)
                self._letters.add(row, cells, status, error, columns["attempts"][row - self._next_row])
        self._totals.add(columns)
        self._totals.rows_objects += rows.writes
        self._totals.write_units += rows.write_units
        self._next_row = rows.last + 1

    def _append(self, lines: str, proof: str) -> None:
        self._output.append(lines.encode())
        if self._proof_rows is not None:
            self._proof_rows.append(proof.encode())

    def _write_gap(self, end: int) -> bool:
        """Write the rows before ``end`` that no worker finished. Returns whether there was time for all of them."""
        while self._next_row < end:
            if not self._has_time():
                return False
            last = min(self._next_row + GAP_ROWS_AT_ONCE, end) - 1
            for row, cells, is_skipped in self._unfinished_rows(self._next_row, last):
                if is_skipped:
                    record = finish_skipped(self._batch, row, cells).record
                    self._append(record["csv"], record["proof"])
                    self._totals.skipped += 1
                    self._next_row = row + 1
                    self._upload()
                    continue
                original = self._originals.of(row)
                died = self._child_errors().get(original) or (None if self._ended_early else CHILD_DIED)
                message = died or f"{NOT_STARTED}: {self._ended_early}"
                self._write_unfinished(row, cells, message)
                if died:
                    self._totals.add_died(row, died)
                    self._totals.failed_duplicates += original != row
                    self._letters.add(row, cells, RowStatus.FAILED, message, attempts=0)
                else:
                    self._totals.not_attempted += 1
                self._next_row = row + 1
                self._upload()
        return True

    def _write_unfinished(self, row: int, cells: list[str], message: str) -> None:
        # The time when the aggregation began, so that a repeated call writes the same bytes.
        outcome = Outcome(RowStatus.FAILED, error_message=message)
        finished = self._batch.finish_uncalled(row, cells, outcome, at_ms=self._began_ms)
        self._append(finished.record["csv"], finished.record["proof"])
        self._append_failed(finished.record["failed_csv"], row)

    def _append_failed(self, line: str, row: int) -> None:
        self._failed_rows.append(identified(line, self._plan.execution.name, row).encode())

    def _unfinished_rows(self, first: int, last: int) -> Iterator[tuple[int, list[str], bool]]:
        """The rows of a gap with their cells, and whether they are skipped."""
        for row, cells in self._skipped.between(first, last):
            for of_staged in self._staged_rows(first, row - 1):
                yield *of_staged, False
            yield row, cells, True
            first = row + 1
        for of_staged in self._staged_rows(first, last):
            yield *of_staged, False

    @property
    def _ended_early(self) -> str:
        """Why some rows were not started; "" if all were."""
        if self._brake is not None:
            return self._brake.reason
        if self._ended is not None and self._ended.status.stopped:
            return FINISHING_BRAKE.reason
        return f"the execution failed: {self._ended.error}" if self._ended else ""

    def _staged_rows(self, first: int, last: int) -> Iterator[tuple[int, list[str]]]:
        """The rows of a gap with their cells. Gaps ascend, so the staged copy is read through once."""
        if first > last:
            return
        if self._staged is None:
            chunks = self._objects.read(self._plan.staged.key, self._plan.staged.version_id)
            self._staged = read_staged(chunks, iter(self._gaps.popleft, None))
        self._gaps.append((first, last))
        for expected in range(first, last + 1):
            row, cells = next(self._staged, (0, []))
            if row != expected:
                raise DeploymentError(f"row {expected:,} is not in {self._plan.staged.key}: was that object replaced?")
            yield row, cells

    def _child_errors(self) -> dict[int, str]:
        """Why children died, by missing row. Read for all missing rows when the first of them is reached."""
        if self._died is None:
            gaps = find_gaps(self._batch.rows.finished(), self._plan.total_rows)
            self._died = read_child_errors(self._objects, self._manifests, gaps)
        return self._died

    # --- the end

    def _conclusion(self, outputs: Written) -> Conclusion:
        name, traced = self._plan.execution.name, self._plan.config.execution_config.enable_xray
        run = self._notes.get(name) if traced else None
        traces = run.traces if run else None
        now_ms, trial = self._clock.now_ms(), _trial_of(self._batch)
        return Conclusion(self._batch, self._totals, self._brake, self._ended, now_ms, outputs, traces, trial)

    def _deliver(self, delivery: Delivery, outputs: Written) -> bool:
        """Copy the files of the result. Returns whether there was time for all of them."""
        keys = [*outputs.keys(self._keys.output), self._keys.failed_rows]
        if self._proof_rows is not None:
            keys.append(self._keys.proof_rows)
        return delivery.copy(keys, self._has_time)

    def _prove(self, conclusion: Conclusion) -> dict[str, str] | None:
        """Write ``proof.json``. Returns its address and hash; None if an earlier release began the aggregation."""
        if self._proof_rows is None:
            return None
        proof = proof_of_run(
            self._batch,
            self._totals,
            conclusion.cost,
            plan_body=self._objects.get(self._keys.plan),
            first_line=self._first_line,
            rows=self._proof_rows.proof,
            files=[self._failed_rows.proof, *conclusion.outputs.proofs],
            now_ms=conclusion.now_ms,
        )
        body = _as_json(proof)
        self._objects.put(self._keys.proof, body, self._batch.tags)
        if self._delivery is not None:
            self._delivery.put(self._keys.proof, body)
        return {
            "s3_uri": f"s3://{self._objects.bucket}/{self._keys.proof}",
            "sha256": hashlib.sha256(body).hexdigest(),
        }

    def _conclude(self, outputs: Written) -> AggregateResponse:
        conclusion = self._conclusion(outputs)
        conclusion = replace(conclusion, proof=self._prove(conclusion))
        if self._delivery is not None:
            conclusion = replace(conclusion, delivered=self._delivery.outcome)
            self._delivery.put(self._keys.summary, _as_json(conclusion.summary))
            conclusion = replace(conclusion, delivered=self._delivery.outcome)
        self._objects.put(self._keys.summary, _as_json(conclusion.summary), self._batch.tags)
        self._notes.end(self._plan.execution.name, conclusion.run_ending)
        try:
            self._metrics.put(self._plan.target.name, conclusion.metrics)
        except BatchProcessorError:
            LOGGER.warning("metrics not published", exc_info=True)
        details = {
            "status": conclusion.status,
            "succeeded": self._totals.succeeded,
            "failed": self._totals.all_failed,
        }
        LOGGER.info("aggregation done", extra=details)
        return AggregateResponse(document=conclusion.document, error=conclusion.error)
