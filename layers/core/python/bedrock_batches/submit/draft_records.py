"""Fills the draft of a job with the records that the lake selects, or with those that a retried job left without
content.

Both functions return the job with the facts of the selection. Nothing is stored here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import orjson

from bedrock_batches.request.job_config import JobConfig
from bedrock_batches.request.models import Models
from bedrock_batches.select.selection import Criteria, Selection
from bedrock_batches.submit import names
from bedrock_batches.submit.draft import Draft
from bedrock_batches.submit.job import Job, JobStatus
from bedrock_batches.submit.ports import Contents, JobsTable, ViolationsLake
from bedrock_batches.submit.prompt import Inference, line_of, request_for, tokens_of_body, with_answer_format
from bedrock_batches.submit.records_in_flight import ids_without_content, lines_of
from bedrock_batches.sync.failed_items import FAILED_PREFIX, FailedItem, Kind
from bedrock_batches.violations import CONTENT_SORT_KEY, KEY_PREFIX, PROMPT_VERSION
from foundation.errors import ObjectNotFoundError, PermanentError
from foundation.ports import Clock, ObjectStore

LOGGER = logging.getLogger("batch_processor.draft_records")


class Services(Protocol):
    @property
    def lake(self) -> ViolationsLake: ...
    @property
    def jobs(self) -> JobsTable: ...
    @property
    def objects(self) -> ObjectStore: ...
    @property
    def contents(self) -> Contents: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def models(self) -> Models: ...


def draft_records(job: Job, config: JobConfig, in_flight: list[Path], draft: Draft, services: Services) -> Job:
    """Fill the draft with the records that the job takes, without those ``in_flight``."""
    if job.retry_of:
        return _draft_retry(job, job.retry_of, config, in_flight, draft, services)
    return _draft_selection(job, config, in_flight, draft, services)


def leave_to_sync(violation_ids: set[str], job: Job, path: Path, services: Services) -> Path:
    """Keep these for ``bedrock_sync``, which merges objects under ``sync-failed/``. Returns a file of them."""
    LOGGER.warning("content is not in the lake yet", extra={"job_id": job.job_id, "records": len(violation_ids)})
    items = ({"PK": f"{KEY_PREFIX}{one}", "SK": CONTENT_SORT_KEY} for one in sorted(violation_ids))
    reason = "The lake lacks the content that is in VentureOS-Violations."
    lines = (FailedItem(item, reason, Kind.PASSING).line() for item in items)
    key = f"{FAILED_PREFIX}{names.timestamp(job.created_at)[:10]}/{job.job_id}-{path.stem}.jsonl"
    services.objects.put(key, b"".join(lines))
    path.write_bytes(b"".join(names.records_line(one, key) for one in sorted(violation_ids)))
    return path


def _draft_selection(job: Job, config: JobConfig, in_flight: list[Path], draft: Draft, services: Services) -> Job:
    today = names.moment_at(services.clock.now_ms()).date()
    limits = config.limits
    criteria = Criteria(config.filters.given(), today, limits.priority, limits.max_violations, limits.max_percent)
    inference = Inference(
        config.batch.max_tokens,
        config.batch.temperature,
        config.batch.top_p,
        structured_output=_takes_schema(config, services),
    )
    with services.lake.select(criteria, in_flight, count_filters=job.dry_run) as selection:
        for place, record in selection.records:
            request = request_for(record, inference)
            draft.add(
                place,
                request.line(),
                names.records_line(record.violation_id, record.agency),
                request.input_tokens,
            )
        return _selected(replace(job, prompt_version=PROMPT_VERSION), selection)


def _takes_schema(config: JobConfig, services: Services) -> bool:
    model = services.models.get(str(config.batch.model_id))
    return model is not None and bool(model.structured_output)


def _selected(job: Job, selection: Selection) -> Job:
    counts = selection.counts
    job = replace(
        job,
        left_out={"inFlight": counts.in_flight, "unusableIds": counts.unusable_ids},
        unusable_ids=list(selection.unusable_ids),
        held_by=[{"holder": one.name, "records": one.records, "example": one.example} for one in selection.held_by],
        filters=[{"name": step.name, "remaining": step.remaining} for step in selection.filters],
    )
    return job if selection.count else replace(job, emptied_by=selection.emptied_by or "limits")


def _draft_retry(
    job: Job, retried_id: str, config: JobConfig, in_flight: list[Path], draft: Draft, services: Services
) -> Job:
    """Fill the draft with the records of an ended job that still have no content.

    They are asked with the same request as then, except for ``maxTokens`` and the answer's format, which depends on the
    model. If that job failed before its records were written, they are selected again by ``config``. If it was a retry
    itself, the records of the job that it retried are used.

    Some of the records can have content by now, from another retry or another job. The table that holds the content
    knows it first. The lake also knows content that somebody wrote there, or that is gone from the table.
    """
    retried = services.jobs.get(retried_id)
    if retried is None or retried.is_in_progress:
        raise PermanentError(f"Job {retried_id} has not ended, or is gone: only a job that has ended can be retried.")
    if retried.status is JobStatus.FAILED and not services.jobs.parts(retried_id):
        if retried.retry_of:
            return _draft_retry(job, retried.retry_of, config, in_flight, draft, services)
        return _draft_selection(job, config, in_flight, draft, services)
    failed = ids_without_content(retried_id, services)
    wanted = failed - services.contents.with_content(failed)
    wanted -= {one for one, has_content in services.lake.have_content(wanted).items() if has_content}
    busy = _ids_among(wanted, in_flight)
    structured_output = _takes_schema(config, services)
    for violation_id, agency, line in _earlier_lines(retried_id, services):
        if violation_id not in wanted or violation_id in busy:
            continue
        body = with_answer_format(orjson.loads(line)["modelInput"], structured_output=structured_output)
        body["inferenceConfig"]["maxTokens"] = config.batch.max_tokens
        draft.add(len(draft), line_of(body), names.records_line(violation_id, agency), tokens_of_body(body))
    emptied_by = "failed" if not failed else "notInFlight" if wanted else "withoutGeneratedContent"
    return replace(
        job,
        prompt_version=retried.prompt_version or PROMPT_VERSION,
        left_out={"inFlight": len(busy), "unusableIds": 0},
        emptied_by="" if len(draft) else emptied_by,
    )


def _earlier_lines(job_id: str, services: Services) -> Iterator[tuple[str, str, bytes]]:
    """Violation id, agency and input line of each record. Raises PermanentError if they have expired."""
    try:
        for part in services.jobs.parts(job_id):
            lines = lines_of(services.objects.read(part.input_key))
            records = lines_of(services.objects.read(part.records_key))
            for line, record in zip(lines, records, strict=True):
                violation_id, agency = names.split_records_line(record.decode())
                yield violation_id, agency, line
    except ObjectNotFoundError:
        raise PermanentError(f"The input of job {job_id} is gone, since inputs expire: create the job again.") from None


def _ids_among(wanted: set[str], files: list[Path]) -> set[str]:
    found: set[str] = set()
    for file in files:
        with file.open(encoding="utf-8", newline="\n") as lines:
            found.update(wanted.intersection(names.split_records_line(line)[0] for line in lines))
    return found
