"""The stored form of a record's result: an item of content, or a line under ``bedrock-batches/errors/``."""

from __future__ import annotations

from collections.abc import Collection

import orjson

from bedrock_batches.results.model_output import RecordFailure, RecordResult
from bedrock_batches.results.ports import ContentItem
from bedrock_batches.submit.job import Job
from foundation.ports import ObjectStore


def content_item(violation_id: str, agency: str, result: RecordResult, generated_at: str, job: Job) -> ContentItem:
    """The item of a result that has content."""
    content, answer = result.content, result.answer
    assert content is not None
    return ContentItem(
        violation_id=violation_id,
        agency=agency,
        content=content,
        generated_at=generated_at,
        job_id=job.job_id,
        model_id=job.model_id,
        prompt_version=job.prompt_version,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        stop_reason=answer.stop_reason,
    )


def failed_line(record_id: str, agency: str, failure: RecordFailure, result: RecordResult | None = None) -> bytes:
    """A line of an object under ``bedrock-batches/errors/``.

    ``{"recordId", "agency", "error", "reason", "code", "rawText", "stopReason", "inputTokens", "outputTokens"}``
    """
    line = {
        "recordId": record_id,
        "agency": agency,
        "error": failure.kind.value,
        "reason": failure.reason,
        "code": failure.code,
        "rawText": failure.raw_text,
        "stopReason": result.answer.stop_reason if result else "",
        "inputTokens": result.answer.input_tokens if result else 0,
        "outputTokens": result.answer.output_tokens if result else 0,
    }
    return orjson.dumps(line) + b"\n"


def forget_failed(record_ids: Collection[str], prefix: str, objects: ObjectStore) -> None:
    """Remove the lines of records that now have content from the objects of failed records under ``prefix``."""
    for found in list(objects.list_objects(prefix)):
        lines = objects.get(found.key).splitlines(keepends=True)
        left = [line for line in lines if orjson.loads(line)["recordId"] not in record_ids]
        if not left:
            objects.delete(found.key)
        elif len(left) < len(lines):
            objects.put(found.key, b"".join(left))
