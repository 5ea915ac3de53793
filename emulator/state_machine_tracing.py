"""A state machine's tracing setting is kept and described.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_TracingConfiguration.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.services import stepfunctions

Answer = tuple[int, dict[str, str], bytes]
Operation = Callable[[dict[str, Any]], Answer]

_tracing: dict[str, dict[str, Any]] = {}


def remembering(operation: Operation) -> Operation:
    """Keep the `tracingConfiguration` of a request that succeeds."""

    def write(data: dict[str, Any]) -> Answer:
        answer = operation(data)
        if answer[0] == 200 and "tracingConfiguration" in data:
            arn = data.get("stateMachineArn") or json.loads(answer[2])["stateMachineArn"]
            _tracing[arn] = {"enabled": bool(data["tracingConfiguration"].get("enabled"))}
        return answer

    return write


def telling(operation: Operation) -> Operation:
    """Describe the setting of a machine, or of the machine of a version."""

    def describe(data: dict[str, Any]) -> Answer:
        status, headers, body = operation(data)
        if status != 200:
            return status, headers, body
        described = json.loads(body)
        machine = ":".join(described.get("stateMachineArn", "").split(":")[:7])
        described["tracingConfiguration"] = _tracing.get(machine, {"enabled": False})
        return status, headers, json.dumps(described).encode()

    return describe


def install() -> None:
    """Keep tracing settings beside MiniStack's own records."""
    stepfunctions._create_state_machine = remembering(stepfunctions._create_state_machine)
    stepfunctions._update_state_machine = remembering(stepfunctions._update_state_machine)
    stepfunctions._describe_state_machine = telling(stepfunctions._describe_state_machine)
