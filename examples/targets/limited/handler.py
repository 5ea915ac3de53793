"""Sample tool that the registry limits to few calls at once. It takes ``seconds``, and says from when to when."""

from __future__ import annotations

import time
from typing import Any


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer ``{"started_ms", "ended_ms"}``, in milliseconds since the epoch."""
    started_ms = time.time_ns() // 1_000_000
    time.sleep(float(event["input"].get("seconds") or 0))
    content = {"started_ms": started_ms, "ended_ms": time.time_ns() // 1_000_000}
    return {"type": "tool_result", "tool_use_id": event["id"], "content": content}
