"""Sample tool that fails on request, to see how a batch handles it. Its input is ``{"mode", "n"}``."""

from __future__ import annotations

import time
from typing import Any


class ChaosError(Exception):
    """Raised because the input asked for it."""


def handler(event: dict[str, Any], context: object) -> Any:
    """Behave as ``mode`` says. The call's id is ``<execution>:<row>:<attempt>``. Raises ChaosError and ValueError."""
    mode, n = event["input"]["mode"], float(event["input"].get("n") or 0)
    attempt = int(event["id"].rsplit(":", 1)[1])
    if mode == "garbage":
        return "garbage"
    if mode == "fail" or (mode == "flaky" and attempt <= n):
        raise ChaosError(f"{mode} at attempt {attempt}, as asked")
    if mode == "slow":
        time.sleep(n)  # seconds, which need not be whole
    elif mode not in {"ok", "flaky", "large", "tool_error"}:
        raise ValueError(f"unknown mode {mode!r}: use ok, fail, flaky, slow, large, garbage or tool_error")
    answer = {"type": "tool_result", "tool_use_id": event["id"], "content": {"value": int(n)}}
    if mode == "large":
        answer["content"] = {"value": "x" * int(n)}
    if mode == "tool_error":
        answer |= {"is_error": True, "content": {"error": "the tool refused, as asked"}}
    return answer
