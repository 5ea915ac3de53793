"""A tool: called once for each row, with the fields of the row in ``event["input"]``."""

from __future__ import annotations

from typing import Any


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 (Lambda gives it)
    """Answer the number of words of ``input.text``. An exception fails the row, and is retried by the retry policy."""
    text = str(event["input"]["text"])
    return {"type": "tool_result", "tool_use_id": event["id"], "content": {"words": len(text.split())}}
