"""Generated content on its way from ``VentureOS-Violations`` into the lake.

An item is content if its key is ``VIOLATION#<id>`` / ``BEDROCK_CONTENT``. The newer of two versions has the later
``generated_at``, then the later ``verified_at`` (none is the oldest). So a change by hand must keep ``generated_at``
and set ``verified_at`` to now, even if it withdraws a verification (``bedrock_batches.sync.sync_lake`` describes what
happens otherwise).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import StrictBool, ValidationError, field_validator

from bedrock_batches.violations import CONTENT, CONTENT_SORT_KEY, KEY_PREFIX, ContentAttributes
from foundation.errors import PermanentError


class UnusableContentError(PermanentError):
    """Raised if an item cannot become a row of the lake. The message names each wrong attribute."""


class _Item(ContentAttributes):
    """The attributes that go into the lake; the item has more."""

    generated_at: datetime
    is_verified: StrictBool = False
    verified_at: datetime | None = None

    @field_validator("generated_at", "verified_at", mode="before")
    @classmethod
    def is_iso_8601(cls, value: Any) -> datetime | None:
        """A time in ISO 8601; UTC if it has no zone. Digits alone are refused: they can be a date or seconds since
        1970."""
        if value is None:
            return None
        fix = "write ISO 8601, such as 2026-11-27T09:30:00Z"
        if not isinstance(value, str) or value.isdigit():
            raise ValueError(f"is not a date and time: {fix}")
        try:
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except ValueError:
            raise ValueError(f"is not a date and time: {fix}") from None
        except OverflowError:
            raise ValueError(f"is outside the years 1 to 9999 in UTC: {fix}") from None


@dataclass(frozen=True, slots=True)
class ContentUpdate:
    """A violation's current content: the values of its fields by their names in ``CONTENT``. Times are in UTC."""

    violation_id: str
    agency: str
    content: Mapping[str, Any]
    generated_at: datetime
    is_verified: bool
    verified_at: datetime | None


def is_content(item: Mapping[str, Any]) -> bool:
    return item.get("SK") == CONTENT_SORT_KEY and str(item.get("PK", "")).startswith(KEY_PREFIX)


def violation_id_of(item: Mapping[str, Any]) -> str:
    """The id of a content item's violation."""
    return str(item["PK"]).removeprefix(KEY_PREFIX)


def content_update(item: Mapping[str, Any]) -> ContentUpdate:
    """The update for an item (``plain_item``). Raises UnusableContentError."""
    try:
        parsed = _Item.model_validate(item)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UnusableContentError(f"The item cannot be merged: {faults}. Correct the item.") from None
    return ContentUpdate(
        violation_id=parsed.PK.removeprefix(KEY_PREFIX),
        agency=parsed.agency.lower(),
        content={field.name: getattr(parsed, field.attribute) for field in CONTENT},
        generated_at=parsed.generated_at,
        is_verified=parsed.is_verified,
        verified_at=parsed.verified_at,
    )


def plain_item(image: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An item without DynamoDB's type letters. Numbers become int or float, sets sorted lists, binary values base64.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_AttributeValue.html
    """
    return {name: _plain_value(value) for name, value in image.items()}


def _plain_value(typed: Mapping[str, Any]) -> Any:
    ((kind, value),) = typed.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return _number(value)
        case "M":
            return plain_item(value)
        case "L":
            return [_plain_value(entry) for entry in value]
        case "SS":
            return sorted(value)
        case "NS":
            return sorted(map(_number, value))
        case "B":
            return _text(value)
        case "BS":
            return sorted(map(_text, value))
        case _:  # S, BOOL
            return value


def _text(binary: bytes | str) -> str:
    """Base64 text. A stream gives binary values as base64 already, the SDK as bytes."""
    return base64.b64encode(binary).decode() if isinstance(binary, bytes) else binary


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
