"""Sample tool: a marketing text and keywords from a prompt. It uses no model, so its answers are reproducible."""

from __future__ import annotations

import re
from typing import Any

PROMPT = re.compile(r"description for (?P<title>.+?) with features: (?P<features>.+)", re.DOTALL)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer ``{"description", "keywords"}`` for the input field ``prompt``. Raises ValueError without one."""
    match = PROMPT.search(str(event["input"].get("prompt", "")))
    if match is None:
        raise ValueError("input.prompt must read: … description for <title> with features: <a, b, …>")
    title = match["title"]
    features = [feature.strip() for feature in match["features"].split(",") if feature.strip()]
    content = {
        "description": f"Meet {title}: {', '.join(features)}. Made for every day.",
        "keywords": [word.lower() for word in (title, *features)],
    }
    return {"type": "tool_result", "tool_use_id": event["id"], "content": content}
