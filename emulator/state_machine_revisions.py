"""A state machine has a revision only after its first update.

"The first revision ID when you create the state machine is null":
https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeStateMachineForExecution.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from ministack.services import stepfunctions

Answer = tuple[int, dict[str, str], bytes]
Operation = Callable[[dict[str, Any]], Answer]


def without_revision(create: Operation) -> Operation:
    """Creates a state machine, and takes away the revision that MiniStack gives it."""

    @wraps(create)
    def create_state_machine(data: dict[str, Any]) -> Answer:
        answer = create(data)
        if answer[0] == 200:
            stepfunctions._state_machines[json.loads(answer[2])["stateMachineArn"]].pop("revisionId", None)
        return answer

    return create_state_machine


def install() -> None:
    """Give no revision to a state machine that was never updated."""
    stepfunctions._create_state_machine = without_revision(stepfunctions._create_state_machine)
