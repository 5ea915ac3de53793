"""What the workers need of a target, as a Protocol."""

from __future__ import annotations

from typing import Protocol

from row_batches.targets.protocol import Outcome


class TargetInvoker(Protocol):
    """Calls a Lambda function or an Express state machine once: no retries of its own, safe in several threads."""

    def invoke(self, arn: str, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        """The target's answer as it came, or the outcome of an attempt that gave none.

        Raises ``DeploymentError`` when the call is denied or the target does not exist.
        """
