"""The sizes that Step Functions refuses (dg/service-quotas.html)."""

import json
from typing import Any

from ministack.services.stepfunctions import _ExecutionError as StateError

MAX_PAYLOAD_BYTES = 262_144
MAX_HISTORY_EVENTS = 25_000
MAX_EXECUTION_NAME = 80


def to_json(value: Any) -> str:
    """`value` as Step Functions writes it: without blanks, non-ASCII characters unescaped."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def byte_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def too_large(text: str) -> bool:
    return byte_size(text) > MAX_PAYLOAD_BYTES


def check_result(text: str, task: str) -> None:
    """Refuse a task's or state's result above 256 KiB.

    Recording: data_limit.json.

    Raises:
        StateError: States.DataLimitExceeded.
    """
    if too_large(text):
        raise StateError(
            "States.DataLimitExceeded",
            f"The state/task '{task}' returned a result with a size exceeding "
            "the maximum number of bytes service limit.",
        )


def check_input(text: str, state: str) -> None:
    """Refuse a task's arguments or a child's input above 256 KiB.

    Raises:
        StateError: States.DataLimitExceeded.
    """
    if too_large(text):
        raise StateError(
            "States.DataLimitExceeded",
            f"The state/task '{state}' was given an input with a size exceeding "
            "the maximum number of bytes service limit.",
        )
