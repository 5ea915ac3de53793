"""Ask the local Bedrock for faults and other quotas. See `emulator/bedrock/control.py` for what there is."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def control(endpoint_url: str, method: str, what: str, body: dict[str, Any] | None = None) -> Any:
    """One control request, to `faults` or `settings`; its answer."""
    request = urllib.request.Request(
        f"{endpoint_url}/_emulator/bedrock/{what}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answered:
        return json.load(answered)


@contextmanager
def bedrock_fault(endpoint_url: str, fault: str, **options: Any) -> Iterator[None]:
    """The fault, such as `record_errors` with `rate=0.01`, inside this context; no fault at all after it."""
    control(endpoint_url, "PUT", "faults", {"fault": fault, **options})
    try:
        yield
    finally:
        control(endpoint_url, "DELETE", "faults")


@contextmanager
def bedrock_settings(endpoint_url: str, **settings: Any) -> Iterator[None]:
    """Other settings, such as `concurrent_jobs=2`, inside this context; the server's own after it."""
    control(endpoint_url, "PUT", "settings", settings)
    try:
        yield
    finally:
        control(endpoint_url, "DELETE", "settings")
