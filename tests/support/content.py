"""Content of violations, as the stream of VentureOS-Violations brings it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bedrock_batches.sync.lake_content import ContentUpdate

MORNING = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)


def update(violation_id: str = "OSHA-000001", hours: float = 0, **values: Any) -> ContentUpdate:
    """Unverified content of osha, generated so many hours after MORNING."""
    texts: dict[str, Any] = {
        "title": f"Title of {violation_id}",
        "description": 'It\'s a "description"; -- with marks',
        "tags": ("safety", "o'brien"),
    }
    given: dict[str, Any] = {
        "agency": "osha",
        "content": {name: values.pop(name, text) for name, text in texts.items()},
        "generated_at": MORNING + timedelta(hours=hours),
        "is_verified": False,
        "verified_at": None,
    }
    return ContentUpdate(violation_id=violation_id, **{**given, **values})


def image(content: ContentUpdate) -> dict[str, Any]:
    """The item as a stream's NewImage holds it."""
    item: dict[str, Any] = {
        "PK": {"S": f"VIOLATION#{content.violation_id}"},
        "SK": {"S": "BEDROCK_CONTENT"},
        "agency": {"S": content.agency},
        "title_bedrock": {"S": content.content["title"]},
        "description_bedrock": {"S": content.content["description"]},
        "tags": {"L": [{"S": tag} for tag in content.content["tags"]]},
        "generated_at": {"S": content.generated_at.isoformat().replace("+00:00", "Z")},
        "is_verified": {"BOOL": content.is_verified},
        "input_tokens": {"N": "120"},
    }
    if content.verified_at is not None:
        item["verified_at"] = {"S": content.verified_at.isoformat()}
    return item


def stream_record(content: ContentUpdate, sequence: int, event: str = "MODIFY", **changes: Any) -> dict[str, Any]:
    """One record of the stream; ``changes`` replace attributes, None removes one."""
    new_image = {name: value for name, value in {**image(content), **changes}.items() if value is not None}
    body: dict[str, Any] = {"Keys": {}, "SequenceNumber": str(sequence)}
    if event != "REMOVE":
        body["NewImage"] = new_image
    return {"eventID": str(sequence), "eventName": event, "eventSource": "aws:dynamodb", "dynamodb": body}
