"""Reads what Step Functions reports about an execution that has ended."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from foundation.json_text import parse_json
from row_batches.document.plan import Keys
from row_batches.run.end_messages import EndedRun, ExecutionStatus

MOST_CAUSE_CHARACTERS = 10_000
"""A longer cause is cut, because a machine's input and a message can be up to 256 KiB."""
NAME = re.compile(r"[A-Za-z0-9 _.-]{1,128}")
"""The names that a batch or a target can have. Other text of a refused input never becomes a message attribute."""


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
    """The ended run of an execution. ``document`` and ``output`` are the execution's input and output as JSON."""
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
