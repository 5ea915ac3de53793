"""The stored form of jobs and parts. Only this module knows the attributes of their items.

Items of earlier releases stay readable: ``schemaVersion`` says how their records are named (``job.SCHEMA_VERSION``). An
attribute that an item lacks has the value of a new job, except that the processor counts as done. Values are JSON-like
(``foundation.aws.dynamodb_items``); times are ISO 8601 in UTC with milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from bedrock_batches.submit import names
from bedrock_batches.submit.job import (
    Creation,
    FailureGroup,
    Job,
    JobStatus,
    Part,
    PartStatus,
    Stats,
)
from bedrock_batches.submit.pricing import Rate
from foundation.errors import PermanentError

Item = dict[str, Any]
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)

INDEX_KEYS = frozenset({"GSI1PK", "GSI1SK", "GSI2PK"})
HIDDEN = INDEX_KEYS | {"ttl"}
"""Attributes of a job's item that belong to the table, such as keys."""


class UnreadableItemError(PermanentError):
    """Raised if an item of the job table has a value that no release wrote. The message names item and value."""


def item_of_job(job: Job) -> Item:
    """The item, without attributes for unknown values."""
    return {**job.other, **_always(job), **_given(_optional(job))}


def _always(job: Job) -> Item:
    return {
        "PK": names.job_key(job.job_id),
        "SK": names.METADATA,
        "jobId": job.job_id,
        "jobArn": job.job_arn,
        "status": job.status.value,
        "bedrockStatus": job.bedrock_status,
        "creation": job.creation.value,
        "violationCount": job.violation_count,
        "dryRun": job.dry_run,
        "createdAt": names.timestamp(job.created_at),
        "stats": {"processed": job.stats.processed, "errors": job.stats.errors, "total": job.stats.total},
    }


def _optional(job: Job) -> Item:
    return {
        "GSI1PK": None if job.dry_run else names.LISTED,
        "GSI1SK": None if job.dry_run else names.listing_key(job.job_id, job.created_at),
        "GSI2PK": None if job.dry_run else names.status_key(job.status),
        "config": job.config,
        "retryOf": job.retry_of,
        "message": job.message,
        "reason": job.reason,
        "shortfall": job.shortfall,
        "problems": [*job.problems],
        "emptiedBy": job.emptied_by,
        "filters": [*job.filters],
        "leftOut": job.left_out,
        "heldBy": [*job.held_by],
        "unusableIds": [*job.unusable_ids],
        "estimate": job.estimate,
        "price": None if job.price is None else job.price.document(),
        "modelId": job.model_id,
        "promptVersion": job.prompt_version,
        "partCount": job.part_count,
        "onDemand": job.on_demand,
        "expectedCompletion": _text(job.expected_completion),
        "processedAt": _text(job.processed_at),
        "stopRequestedAt": _text(job.stop_requested_at),
        "failures": [document_of_group(group) for group in job.failures],
        "inputTokens": job.input_tokens,
        "outputTokens": job.output_tokens,
        "actualCostUSD": job.actual_cost_usd,
        "outputsTaken": job.outputs_taken,
        "settledAt": _text(job.settled_at),
        "schemaVersion": job.schema_version,
        "ttl": job.ttl,
    }


def job_of_item(item: Mapping[str, Any]) -> Job:
    """The job of an item. Raises UnreadableItemError."""
    job_id = str(item.get("jobId") or names.job_id_of_key(item["PK"]))
    try:
        violation_count = int(item.get("violationCount", 0))
        stats = item.get("stats", {})
        return Job(
            job_id=job_id,
            created_at=names.moment_of(item["createdAt"]),
            status=JobStatus(item["status"]),
            creation=Creation(item.get("creation", Creation.DONE)),
            bedrock_status=item.get("bedrockStatus", ""),
            job_arn=item.get("jobArn", ""),
            config=item.get("config"),
            dry_run=item.get("dryRun", False),
            retry_of=item.get("retryOf", ""),
            message=item.get("message", ""),
            reason=item.get("reason", ""),
            shortfall=item.get("shortfall"),
            problems=tuple(item.get("problems", ())),
            emptied_by=item.get("emptiedBy", ""),
            filters=tuple(item.get("filters", ())),
            left_out=item.get("leftOut", {}),
            held_by=tuple(item.get("heldBy", ())),
            unusable_ids=tuple(item.get("unusableIds", ())),
            violation_count=violation_count,
            estimate=item.get("estimate", {}),
            price=Rate.of_document(item["price"]) if item.get("price") else None,
            model_id=item.get("modelId", ""),
            prompt_version=item.get("promptVersion", ""),
            part_count=item.get("partCount"),
            on_demand=item.get("onDemand"),
            expected_completion=_moment(item.get("expectedCompletion")),
            processed_at=_moment(item.get("processedAt")),
            stop_requested_at=_moment(item.get("stopRequestedAt")),
            stats=Stats(stats.get("processed", 0), stats.get("errors", 0), stats.get("total", violation_count)),
            failures=tuple(_group(group) for group in item.get("failures", ())),
            input_tokens=item.get("inputTokens"),
            output_tokens=item.get("outputTokens"),
            actual_cost_usd=item.get("actualCostUSD"),
            outputs_taken=item.get("outputsTaken"),
            settled_at=_moment(item.get("settledAt")),
            schema_version=item.get("schemaVersion"),
            ttl=item.get("ttl"),
            other={name: value for name, value in item.items() if name not in _JOB_ATTRIBUTES},
        )
    except _UNREADABLE as error:
        said = f"The item of job {job_id} cannot be read: {_said(error)}. Correct or delete it."
        raise UnreadableItemError(said) from None


def item_of_part(part: Part) -> Item:
    """The item, without attributes for unknown values."""
    always = {
        "PK": names.job_key(part.job_id),
        "SK": names.part_sort_key(part.number),
        "jobId": part.job_id,
        "part": part.number,
        "status": part.status.value,
        "recordCount": part.record_count,
    }
    known = {
        "jobName": part.job_name,
        "inputKey": part.input_key,
        "recordsKey": part.records_key,
        "bytes": part.size_bytes,
        "modelId": part.model_id,
        "timeoutHours": part.timeout_hours,
        "jobArn": part.job_arn,
        "bedrockStatus": part.bedrock_status,
        "message": part.message,
        "processedCount": part.processed_count,
        "calls": part.calls,
        "inputTokens": part.input_tokens,
        "outputTokens": part.output_tokens,
        "submittedAt": _text(part.submitted_at),
        "endedAt": _text(part.ended_at),
    }
    return {**always, **_given(known)}


def part_of_item(item: Mapping[str, Any]) -> Part:
    """The part of an item. Raises UnreadableItemError."""
    job_id, number = str(item["jobId"]), int(item["part"])
    try:
        return Part(
            job_id=job_id,
            number=number,
            status=PartStatus(item["status"]),
            job_name=item.get("jobName", ""),
            input_key=item.get("inputKey", ""),
            records_key=item.get("recordsKey", ""),
            record_count=item.get("recordCount", 0),
            size_bytes=item.get("bytes"),
            model_id=item.get("modelId", ""),
            timeout_hours=item.get("timeoutHours"),
            job_arn=item.get("jobArn", ""),
            bedrock_status=item.get("bedrockStatus", ""),
            message=item.get("message", ""),
            processed_count=item.get("processedCount"),
            calls=item.get("calls"),
            input_tokens=item.get("inputTokens"),
            output_tokens=item.get("outputTokens"),
            submitted_at=_moment(item.get("submittedAt")),
            ended_at=_moment(item.get("endedAt")),
        )
    except _UNREADABLE as error:
        said = f"The item of part {number} of job {job_id} cannot be read: {_said(error)}. Correct or delete it."
        raise UnreadableItemError(said) from None


def changes(before: Item, after: Item) -> Item:
    """The attributes of ``after`` that differ from ``before``; None for a removed attribute."""
    gone = dict.fromkeys(before.keys() - after.keys())
    return {**{name: value for name, value in after.items() if before.get(name) != value}, **gone}


NOT_SETTLED: Mapping[str, Any] = MappingProxyType({"settledAt": None, "outputsTaken": False})
"""The changes of a job that is opened again."""


def settled_at(moment: datetime) -> Item:
    """The changes of a job that is settled."""
    return {"settledAt": names.timestamp(moment)}


def expires_at(moment: datetime | None) -> Item:
    """The changes of an item that expires then; None: never."""
    return {"ttl": None if moment is None else int(moment.timestamp())}


def document_of_group(group: FailureGroup) -> Item:
    """A group of failures in the form of items, answers and notifications."""
    return {
        "error": group.error,
        "reason": group.reason,
        "code": group.code,
        "count": group.count,
        "example": group.example,
        "sameInputFails": group.same_input_fails,
    }


def _group(document: Mapping[str, Any]) -> FailureGroup:
    return FailureGroup(
        error=document["error"],
        reason=document["reason"],
        code=document.get("code"),
        count=document["count"],
        example=document["example"],
        same_input_fails=document["sameInputFails"],
    )


def _given(attributes: Item) -> Item:
    """The attributes that have a value. False and 0 are values."""
    return {name: value for name, value in attributes.items() if value is not None and value not in ("", [], {})}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else names.timestamp(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else names.moment_of(text)


def _said(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


_NO_JOB = Job("", datetime(1970, 1, 1, tzinfo=UTC))
_JOB_ATTRIBUTES = frozenset({**_always(_NO_JOB), **_optional(_NO_JOB)})
