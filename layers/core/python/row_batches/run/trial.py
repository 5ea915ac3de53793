"""Runs the trial of an execution: stages its rows, reports on them, and asks whether the others may run.

The trial's rows are ordinary finished rows of the run. The workers of the whole run find them finished and do not call
the target for them again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import orjson

from foundation.errors import BatchProcessorError, DeploymentError, MappingError, ObjectNotFoundError
from foundation.json_text import render_json
from foundation.ports import Notifier, ObjectStore
from row_batches.document.plan import Keys
from row_batches.files.result_file import ResultFile
from row_batches.files.staged_copy import parse_staged, picked_lines, staged_header
from row_batches.rows.store import RowRange
from row_batches.rows.work import TRIAL_FAILED_BRAKE, not_approved_brake
from row_batches.run.batch import Batch
from row_batches.run.duplicates import Originals
from row_batches.run.end_messages import AggregateAction, AggregateRequest, TrialResponse
from row_batches.run.messages import ObjectVersion
from row_batches.run.notify import announce_question
from row_batches.run.runs import Approval, Run, Runs
from row_batches.run.skipped import SkippedRows
from row_batches.run.trial_report import TrialReport, report_of
from row_batches.run.trial_rows import Candidate, candidate_places, choose_rows

LOGGER = logging.getLogger("batch_processor.trial")


def trial_step(request: AggregateRequest, batch: Batch, runs: Runs, notifier: Notifier) -> TrialResponse:
    """Do one step of a trial. Each can be repeated. Raises what the ports raise.

    When the run begins to wait for an approval, ``notifier`` says so. A repeated step says it again.
    """
    batch.work.release_finishing_brake()  # An ending before a redrive pulled it. The execution runs again.
    runs.reopen(batch.plan.execution.name)
    match request.action:
        case AggregateAction.STAGE_TRIAL:
            return _stage(batch)
        case AggregateAction.REPORT_TRIAL:
            return _report(batch)
        case AggregateAction.ASK_APPROVAL:
            return _ask(batch, runs, notifier, request.token, request.seconds)
        case _:
            return _take_answer(batch, runs, request.approved)


def _stage(batch: Batch) -> TrialResponse:
    """Choose the rows of the trial and stage them. Reads the staged input up to the last candidate, unparsed."""
    plan, objects = batch.plan, batch.work.objects
    trial, source = plan.config.trial, plan.staged
    assert trial is not None
    places = dict(candidate_places(plan.rows_sent, trial.rows, trial.seed))
    parts = dict(zip(_rows_at(batch, list(places)), places.values(), strict=True))
    candidates, begins = [], {}
    for row, begin, line in picked_lines(objects.read(source.key, source.version_id), parts):
        candidates.append(Candidate(row, parts[row], _size(batch, line)))
        begins[row] = begin
    if len(candidates) < len(parts):
        raise DeploymentError(f"{source.key} ends before row {max(parts):,}: was that object replaced?")
    chosen = choose_rows(candidates, trial.rows, trial.seed)
    staged = ResultFile.start(objects, batch.work.keys.trial)
    staged.append(staged_header(len(plan.columns)))
    for row in chosen:
        _, _, line = next(picked_lines(objects.read(source.key, source.version_id, begins[row] - 1), [row]))
        staged.append(line)
        staged.upload_full_part()
    staged.upload_last_part()
    version = staged.complete()
    LOGGER.info("trial staged", extra={"rows": len(chosen)})
    batch_size = -(-len(chosen) // plan.concurrency.children)
    return TrialResponse(
        source=ObjectVersion(bucket=objects.bucket, key=batch.work.keys.trial, version_id=version),
        batch_size=max(1, min(batch_size, plan.concurrency.batch_size)),
    )


def _rows_at(batch: Batch, places: Sequence[int]) -> Iterator[int]:
    """The numbers of the rows at ascending ``places`` among the rows that are sent. The first place is 0."""
    objects, plan = batch.work.objects, batch.plan
    with_content = SkippedRows(objects, plan).without([RowRange(1, plan.total_rows)])
    before, wanted = 0, iter(places)
    place = next(wanted, None)
    for first, last in Originals(objects, plan).sent(with_content):
        while place is not None and place < before + last - first + 1:
            yield first + place - before
            place = next(wanted, None)
        before += last - first + 1


def _size(batch: Batch, line: bytes) -> int:
    """The size of the row's mapped input in bytes; 0 if it cannot be mapped."""
    try:
        return len(render_json(batch.input_mapper.map(parse_staged(line))).encode())
    except MappingError:
        return 0


def _report(batch: Batch) -> TrialResponse:
    """Write the report. Without an approval, the run ends if no row of the trial was successful."""
    report, keys = report_of(batch), batch.work.keys
    body = orjson.dumps(report.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
    batch.work.objects.put(keys.trial_report, body, batch.tags)
    LOGGER.info("trial ended", extra={"succeeded": report.succeeded, "finished": report.finished})
    trial = batch.plan.config.trial
    assert trial is not None
    if batch.work.brake(fresh=True) is not None:
        return TrialResponse()
    if trial.approval == "required":
        return TrialResponse(asks=True)
    if not report.succeeded:
        batch.work.pull_brake(TRIAL_FAILED_BRAKE)
        return TrialResponse()
    return TrialResponse(goes_on=True)


def _ask(batch: Batch, runs: Runs, notifier: Notifier, token: str, seconds: int) -> TrialResponse:
    """Note in the table of runs that the run waits, with the token for the answer, and announce it."""
    now = datetime.fromtimestamp(batch.work.clock.now_ms() / 1000, UTC)
    runs.start(Run.of_plan(batch.plan))  # Does nothing if the run is there.
    approval = Approval(token=token, asked_at=now, until=now + timedelta(seconds=seconds))
    runs.ask(batch.plan.execution.name, approval)
    try:
        announce_question(batch, read_report(batch.work.objects, batch.plan.execution.name), approval, notifier)
    except BatchProcessorError:
        LOGGER.warning("notification not sent", exc_info=True)  # Lists and progress show that the run waits.
    return TrialResponse(asks=True)


def _take_answer(batch: Batch, runs: Runs, approved: bool | None) -> TrialResponse:
    """Note that the run no longer waits. If it was not approved, no further row starts."""
    if not approved:
        batch.work.pull_brake(not_approved_brake(approved))
    runs.answered(batch.plan.execution.name)
    return TrialResponse(goes_on=batch.work.brake(fresh=True) is None)


def read_report(objects: ObjectStore, execution: str) -> TrialReport | None:
    """The report of the execution's trial; None if it has none."""
    try:
        return TrialReport.model_validate_json(objects.get(Keys(execution).trial_report))
    except ObjectNotFoundError:
        return None
