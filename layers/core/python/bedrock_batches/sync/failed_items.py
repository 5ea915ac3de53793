"""Content that could not be merged into the lake, kept in ``bedrock-batches/sync-failed/<date>/<id>.jsonl``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bedrock_batches.sync.lake_content import is_content, violation_id_of
from bedrock_batches.violations import CONTENT_SORT_KEY
from foundation.json_text import parse_json, render_json
from foundation.ports import ObjectStore

LOGGER = logging.getLogger("batch_processor.failed_items")

FAILED_PREFIX = "bedrock-batches/sync-failed/"


class Kind(StrEnum):
    """PASSING: the same merge can succeed later. PERMANENT: the item or the lake must change first."""

    PASSING = "passing"
    PERMANENT = "permanent"


@dataclass(frozen=True)
class FailedItem:
    """An item that is not in the lake, and the reason. ``item`` has at least ``PK``."""

    item: Mapping[str, Any]
    reason: str
    kind: Kind = Kind.PERMANENT

    @property
    def violation_id(self) -> str:
        return violation_id_of(self.item)

    def line(self) -> bytes:
        """``{"reason", "kind", "item"}``. Numbers of DynamoDB can be longer than the 64 bits that orjson takes."""
        return render_json({"reason": self.reason, "kind": self.kind.value, "item": self.item}).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> FailedItem:
        """The failed item of a line. Raises ValueError for other text. Lines of earlier releases have no ``kind``."""
        found = parse_json(line.decode("utf-8", "replace"))
        item = found.get("item") if isinstance(found, dict) else None
        if not isinstance(item, dict) or not is_content({"SK": CONTENT_SORT_KEY, **item}):
            raise ValueError("the line names no content item")
        kind = found.get("kind")
        return cls(item, str(found.get("reason", "")), Kind(kind) if kind in list(Kind) else Kind.PERMANENT)


def lines_of_failed(body: bytes) -> Iterator[FailedItem | bytes]:
    """The lines of an object under ``sync-failed/``; a line that cannot be read stays text."""
    for line in filter(None, body.splitlines()):
        try:
            yield FailedItem.of_line(line)
        except ValueError:
            LOGGER.error("a line under sync-failed/ cannot be read: correct or delete it", extra={"bytes": len(line)})
            yield line


def failed_items(body: bytes) -> list[FailedItem]:
    """The items of an object under ``sync-failed/``, without lines that cannot be read."""
    return [line for line in lines_of_failed(body) if isinstance(line, FailedItem)]


def rewrite_failed(
    key: str, lines: Sequence[FailedItem | bytes], again: Mapping[str, FailedItem], objects: ObjectStore
) -> None:
    """Keep the lines whose items failed again and those that cannot be read. Delete an empty object."""
    left = [
        line + b"\n" if isinstance(line, bytes) else again[line.violation_id].line()
        for line in lines
        if isinstance(line, bytes) or line.violation_id in again
    ]
    before = [line + b"\n" if isinstance(line, bytes) else line.line() for line in lines]
    if not left:
        objects.delete(key)
    elif left != before:
        objects.put(key, b"".join(left))
