"""Names that no other test uses, and waiting for what comes in its own time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def eventually(look: Callable[[], Result], timeout_seconds: float = 60.0) -> Result:
    """The first truthy answer of `look`, or its last."""
    deadline = time.monotonic() + timeout_seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
