"""Reads what Step Functions tells of an execution that has ended."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from foundation.json_text import parse_json
from row_batches.document.plan import Keys
from row_batches.run.messages import EndedRun, ExecutionStatus

MOST_CAUSE_CHARACTERS = 10_000
"""Of a cause: the machine's input, and a message, are 256 KiB at most."""
NAME = re.compile(r"[A-Za-z0-9 _.-]{1,128}")
"""What a batch or a target can be called: no other text of a refused input goes into an attribute."""


def ended_run(
    *,
    arn: str,
    status: str,
    ended_at: datetime,
    document: str | None,
    output: str | None,
    error: str | None,
    cause: str | None,
) -> EndedRun:
    """From what Step Functions tells of an execution; ``document`` and ``output`` are its input and output, as JSON."""
    name = arn.rsplit(":", 1)[1]
    given = _object(document)
    target = _name_in(given.get("target"), "name")
    return EndedRun(
        execution_arn=arn,
        execution=name,
        plan_key=Keys(name).plan,
        status=ExecutionStatus(status),
        ended_ms=round(ended_at.timestamp() * 1000),
        error=error or "",
        cause=(cause or "")[:MOST_CAUSE_CHARACTERS],
        batch_name=_name_in(given.get("notification_config"), "batch_name") or target or name,
        target=target,
        document=_object(output),
    )


def _name_in(section: Any, key: str) -> str:
    name = section.get(key) if isinstance(section, dict) else None
    return name if isinstance(name, str) and NAME.fullmatch(name) else ""


def _object(text: str | None) -> dict[str, Any]:
    try:
        parsed = parse_json(text or "{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
