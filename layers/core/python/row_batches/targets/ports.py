"""Ports to the registry of targets, to the targets and to their settings, as Protocols."""

from __future__ import annotations

from typing import Protocol

from row_batches.document.plan import Target
from row_batches.targets.protocol import Outcome


class Targets(Protocol):
    """The registry of targets. Raises ``DeploymentError`` if it cannot be read."""

    def get(self, name: str) -> Target | None:
        """The target with this name, enabled or not; None if there is none."""

    def all(self) -> list[Target]:
        """All targets that this release can read."""


class TargetInvoker(Protocol):
    """Calls a target synchronously. It has no retries of its own and is safe in several threads."""

    def invoke(self, target: Target, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        """The target's unparsed answer, or the outcome of an attempt without an answer.

        Raises ``DeploymentError`` if the call is denied or the target does not exist.
        """


class FunctionSettings(Protocol):
    """Reads the settings of Lambda functions."""

    def timeout_seconds(self, arn: str) -> int:
        """The function's own time-out. Raises ``DeploymentError`` if reading is denied or there is no such function."""

    def code(self, arn: str) -> str:
        """An identifier of the function's code; other code has another one. Raises what ``timeout_seconds`` raises."""


class MachineSettings(Protocol):
    """Reads the settings of state machines."""

    def code(self, arn: str) -> str:
        """An identifier of the state machine's definition; another definition has another one.

        Raises ``DeploymentError`` if reading is denied or the state machine does not exist.
        """
