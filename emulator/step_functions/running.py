"""The interface of an execution that its states and tasks use."""

from typing import Any, Protocol

from emulator.step_functions.execution_log import ExecutionLog
from emulator.step_functions.roles import Role


class RunningExecution(Protocol):
    """An execution while its states run."""

    arn: str
    machine_arn: str
    region: str
    express: bool
    role: Role
    log: ExecutionLog

    def add_event(self, kind: str, **details: Any) -> int:
        """Add an event to the history and return its number."""
