"""Generated content on its way from ``VentureOS-Violations`` into the lake.

An item is content when its key is ``VIOLATION#<id>`` / ``BEDROCK_CONTENT``. Which of two versions is newer is decided
by ``generated_at``, then ``verified_at`` (none is older than any), then the order of the stream. A change by hand must
therefore keep ``generated_at`` and set ``verified_at`` to now, also when it takes a verification back
(``bedrock_batches.sync.sync_lake`` says what becomes of one that does not).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, field_validator

from foundation.errors import PermanentError

KEY_PREFIX = "VIOLATION#"
CONTENT_SORT_KEY = "BEDROCK_CONTENT"
_NEVER = datetime.min.replace(tzinfo=UTC)


class UnusableContentError(PermanentError):
    """Raised when an item of the stream cannot become a row of the lake; the message names each attribute at fault."""


class _Item(BaseModel):
    """The attributes that reach the lake; the item has more."""

    model_config = ConfigDict(extra="ignore")

    PK: str = Field(min_length=len(KEY_PREFIX) + 1)
    agency: str = Field(min_length=1)
    title_bedrock: str = Field(min_length=1)
    description_bedrock: str = ""
    tags: tuple[str, ...] = ()
    generated_at: datetime
    is_verified: StrictBool = False
    verified_at: datetime | None = None

    @field_validator("generated_at", "verified_at")
    @classmethod
    def in_utc(cls, value: datetime | None) -> datetime | None:
        """A time without a zone is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class ContentUpdate:
    """One version of a violation's content. ``sequence`` is its place in the stream; times are in UTC."""

    violation_id: str
    agency: str
    title: str
    description: str
    tags: tuple[str, ...]
    generated_at: datetime
    is_verified: bool
    verified_at: datetime | None
    sequence: int = 0

    @property
    def version(self) -> tuple[datetime, datetime, int]:
        return self.generated_at, self.verified_at or _NEVER, self.sequence


def is_content(item: Mapping[str, Any]) -> bool:
    return item.get("SK") == CONTENT_SORT_KEY and str(item.get("PK", "")).startswith(KEY_PREFIX)


def content_update(item: Mapping[str, Any], sequence: int = 0) -> ContentUpdate:
    """The update of an item (``plain_item``). Raises UnusableContentError."""
    try:
        parsed = _Item.model_validate(item)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UnusableContentError(f"The item cannot be merged: {faults}. Correct the item.") from error
    return ContentUpdate(
        violation_id=parsed.PK.removeprefix(KEY_PREFIX),
        agency=parsed.agency.lower(),
        title=parsed.title_bedrock,
        description=parsed.description_bedrock,
        tags=parsed.tags,
        generated_at=parsed.generated_at,
        is_verified=parsed.is_verified,
        verified_at=parsed.verified_at,
        sequence=sequence,
    )


def newest(updates: Iterable[ContentUpdate]) -> list[ContentUpdate]:
    """One update for each violation: its newest version."""
    kept: dict[tuple[str, str], ContentUpdate] = {}
    for update in updates:
        key = (update.agency, update.violation_id)
        if key not in kept or update.version >= kept[key].version:
            kept[key] = update
    return list(kept.values())


def plain_item(image: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A stream's image without DynamoDB's type letters. Numbers become int or float; sets become sorted lists.

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
        case "SS" | "BS":
            return sorted(value)
        case "NS":
            return sorted(map(_number, value))
        case _:  # S, BOOL, B
            return value


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
