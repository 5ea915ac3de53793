"""The end of a job: lists the records without an answer, and builds the notification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bedrock_batches.results.model_output import FailureKind, RecordFailure
from bedrock_batches.results.part_progress import ending_of
from bedrock_batches.results.ports import Claim, newest_versions
from bedrock_batches.results.record_index import Answered, RecordIndex
from bedrock_batches.results.record_outcomes import failed_line
from bedrock_batches.results.result_keys import unanswered_key
from bedrock_batches.submit.job import Job, Part, PartStatus, begins_of
from bedrock_batches.submit.job_items import document_of_group, item_of_job
from bedrock_batches.submit.names import records_key
from foundation.errors import ObjectNotFoundError
from foundation.ports import ObjectStore


def write_unanswered(job_id: str, parts: Sequence[Part], claims: Sequence[Claim], objects: ObjectStore) -> None:
    """Write the records that Bedrock ran but did not answer to the place where a retry looks for them."""
    begins = begins_of(parts)
    for part in parts:
        key = unanswered_key(job_id, part.number)
        ran = part.status is PartStatus.ENDED
        lines = list(_unanswered(job_id, part, begins[part.number], claims, objects)) if ran else []
        if lines:
            objects.put(key, b"".join(lines))
        else:
            objects.delete(key)


def _unanswered(job_id: str, part: Part, begin: int, claims: Sequence[Claim], objects: ObjectStore) -> Iterator[bytes]:
    """``begin`` is the place of the part's first record in an object of the older layout, which has all parts."""
    try:
        index = RecordIndex([objects.get(records_key(job_id, part.number))])
    except ObjectNotFoundError:
        return
    newest = newest_versions(claims)
    own = [Answered(claim.answered) for claim in newest if claim.part == part.number]
    whole = [Answered(claim.answered) for claim in newest if claim.part is None]
    failure = RecordFailure(FailureKind.NOT_ANSWERED, f"the part ended {ending_of(part)}")
    for record in index:
        place = record.place
        if not any(place in seen for seen in own) and not any(begin + place in seen for seen in whole):
            yield failed_line(record.violation_id, record.agency, failure)


def announcement(ended: Job) -> tuple[str, dict[str, Any], dict[str, str | int]]:
    """Subject, body and attributes of the message about a job's end."""
    item = item_of_job(ended)
    body = {
        **{name: item[name] for name in _ALWAYS_TOLD},
        "message": ended.message,
        "actualCostUSD": ended.actual_cost_usd,
        "failures": [document_of_group(group) for group in ended.failures],
        "estimate": dict(ended.estimate),
    }
    attributes: dict[str, str | int] = {
        "job_id": ended.job_id,
        "status": ended.status.value,
        "bedrock_status": str(ended.bedrock_status),
        "processed": ended.stats.processed,
        "errors": ended.stats.errors,
    }
    return f"Bedrock batch {ended.job_id}: {ended.status}", body, attributes


_ALWAYS_TOLD = (
    "jobId",
    "jobArn",
    "status",
    "bedrockStatus",
    "violationCount",
    "stats",
    "inputTokens",
    "outputTokens",
    "createdAt",
    "processedAt",
)
"""Attributes of the item that the notification repeats."""
