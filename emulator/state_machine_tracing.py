"""Stores and returns the tracing setting of a state machine.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_TracingConfiguration.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from ministack.services import stepfunctions

Answer = tuple[int, dict[str, str], bytes]
Operation = Callable[[dict[str, Any]], Answer]


def keeping_tracing(operation: Operation) -> Operation:
    """Keep the `tracingConfiguration` of a request that succeeds in the machine's record, which is what is described.

    Tracing is off unless given.
    """

    @wraps(operation)
    def write(data: dict[str, Any]) -> Answer:
        answer = operation(data)
        if answer[0] == 200:
            arn = data.get("stateMachineArn") or json.loads(answer[2])["stateMachineArn"]
            machine = stepfunctions._state_machines.get(arn)
            if machine is not None:
                given = data.get("tracingConfiguration") or machine.get("tracingConfiguration") or {}
                machine["tracingConfiguration"] = {"enabled": bool(given.get("enabled"))}
        return answer

    return write


def install() -> None:
    """Keep tracing settings with the machine."""
    stepfunctions._create_state_machine = keeping_tracing(stepfunctions._create_state_machine)
    stepfunctions._update_state_machine = keeping_tracing(stepfunctions._update_state_machine)
