"""Changes generated content by hand: its text, and whether a person has verified it.

The newer of two versions has the later ``generated_at``, then the later ``verified_at``
(``bedrock_batches.sync.lake_content``). So a change keeps the first and sets the second, also when it withdraws a
verification, and the stream brings it into the lake.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError as RefusedByAwsError
from pydantic import BaseModel, ConfigDict, ValidationError

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from bedrock_batches.violations import CONTENT, CONTENT_SORT_KEY, KEY_PREFIX, GeneratedContent
from foundation.aws.dynamodb_items import from_item, to_item

CHANGED = "ConditionalCheckFailedException"
ATTRIBUTE = {field.name: field.attribute for field in CONTENT}


class StoredContent(BaseModel):
    """The content of a record. Times are ISO 8601; ``verified_at`` is "" for one that no person has changed."""

    model_config = ConfigDict(frozen=True)

    record_id: str
    title: str
    description: str
    tags: list[str]
    is_verified: bool
    generated_at: str
    verified_at: str = ""
    job_id: str = ""

    @property
    def version(self) -> str:
        """A version string that changes with every edit."""
        return f"{self.generated_at}/{self.verified_at}"


def read_content(deployment: Deployment, record_id: str) -> StoredContent:
    """The content of a record as it is now. Raises ClientError if it has none."""
    answer = deployment.client("dynamodb").get_item(
        TableName=deployment.bedrock(deployment.violations_table), Key=_key(record_id), ConsistentRead=True
    )
    if "Item" not in answer:
        raise ClientError(f"The record {record_id} has no generated content.")
    return stored_content(record_id, from_item(answer["Item"]))


def stored_content(record_id: str, item: dict[str, Any]) -> StoredContent:
    """The content in an item of the table."""
    return StoredContent(
        record_id=record_id,
        title=str(item.get(ATTRIBUTE["title"], "")),
        description=str(item.get(ATTRIBUTE["description"], "")),
        tags=[str(tag) for tag in item.get(ATTRIBUTE["tags"]) or ()],
        is_verified=item.get("is_verified") is True,
        generated_at=str(item.get("generated_at", "")),
        verified_at=str(item.get("verified_at") or ""),
        job_id=str(item.get("job_id", "")),
    )


def edit_content(
    deployment: Deployment,
    record_id: str,
    *,
    title: str | None = None,
    description: str | None = None,
    tags: list[str] | None = None,
    verified: bool | None = None,
    version: str | None = None,
    now: datetime | None = None,
) -> StoredContent:
    """Change the given fields, and keep the others. Returns the new content; the stream brings it into the lake.

    ``verified``: a person has verified it, so no job overwrites it. ``version``: change nothing if the content is no
    longer the version that the person saw. Raises ClientError.
    """
    before = read_content(deployment, record_id)
    if version is not None and version != before.version:
        raise ClientError(_changed(record_id))
    given = {"title": title, "description": description, "tags": tags}
    texts = {name: getattr(before, name) if value is None else value for name, value in given.items()}
    try:
        content = GeneratedContent.model_validate(texts)
    except ValidationError as invalid:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in invalid.errors()]
        raise ClientError("The content is not valid. " + "; ".join(faults) + ".") from None
    moment = (now or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    after = {
        **{ATTRIBUTE[name]: value for name, value in content.model_dump().items()},
        "is_verified": before.is_verified if verified is None else verified,
        "verified_at": moment,
    }
    _write(deployment, before, after)
    return stored_content(record_id, {**after, "generated_at": before.generated_at, "job_id": before.job_id})


def _write(deployment: Deployment, before: StoredContent, after: dict[str, Any]) -> None:
    """Write the attributes, unless somebody changed the item since it was read."""
    unchanged = "(attribute_not_exists(verified_at) OR verified_at = :null)"
    same = "generated_at = :generated AND " + ("verified_at = :before" if before.verified_at else unchanged)
    values = {f":{name}": value for name, value in after.items()} | {":generated": before.generated_at}
    values |= {":before": before.verified_at} if before.verified_at else {":null": None}
    try:
        deployment.client("dynamodb").update_item(
            TableName=deployment.bedrock(deployment.violations_table),
            Key=_key(before.record_id),
            UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in after),
            ConditionExpression=same,
            ExpressionAttributeValues=to_item(values),
        )
    except RefusedByAwsError as refused:
        if refused.response["Error"]["Code"] != CHANGED:
            raise
        raise ClientError(_changed(before.record_id)) from None


def _changed(record_id: str) -> str:
    return f"The content of {record_id} was changed meanwhile: look at it as it is now, then change it again."


def _key(record_id: str) -> dict[str, Any]:
    return to_item({"PK": f"{KEY_PREFIX}{record_id}", "SK": CONTENT_SORT_KEY})
