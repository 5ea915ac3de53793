"""Sample tool: returns its input."""

from __future__ import annotations

from typing import Any


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer ``{"input": <as received>}``."""
    return {"type": "tool_result", "tool_use_id": event["id"], "content": {"input": event["input"]}}
