"""Protocols for calling targets and reading their settings."""

from __future__ import annotations

from typing import Protocol

from row_batches.document.plan import Target
from row_batches.targets.protocol import Outcome


class TargetInvoker(Protocol):
    """Calls a target that answers at once: no retries of its own, safe in several threads."""

    def invoke(self, target: Target, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        """The target's answer as it came, or the outcome of an attempt that gave none.

        Raises ``DeploymentError`` when the call is denied or the target does not exist.
        """


class FunctionSettings(Protocol):
    """What is known of a Lambda function."""

    def timeout_seconds(self, arn: str) -> int:
        """The function's own time-out. Raises ``DeploymentError`` when it may not be read, or does not exist."""

    def code(self, arn: str) -> str:
        """What tells its code from another: the same for the same code. Raises as ``timeout_seconds``."""


class MachineSettings(Protocol):
    """What is known of a state machine."""

    def code(self, arn: str) -> str:
        """What tells its definition from another: the same for the same definition.

        Raises ``DeploymentError`` when it may not be read, or does not exist.
        """
