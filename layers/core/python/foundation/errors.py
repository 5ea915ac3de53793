"""The errors of the system. Their class names are an API: Step Functions matches them in ``ErrorEquals``.

Source: the Python runtime reports the class name as ``errorType``, which Step Functions uses as the error name
(https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple


class BatchProcessorError(Exception):
    """Base of every error that this system raises on purpose."""


class RetryableError(BatchProcessorError):
    """Raised when the same call may succeed later."""


class PermanentError(BatchProcessorError):
    """Raised when the same call will fail again until somebody changes something."""


class Problem(NamedTuple):
    """One mistake in a user's input: its path, the value found, what is wrong with it, what to write instead."""

    path: str
    value: str
    message: str
    fix: str

    def __str__(self) -> str:
        shown = f" (got {self.value})" if self.value else ""
        return f"{self.path}: {self.message}{shown}. Fix: {self.fix}"


class InvalidInputError(PermanentError):
    """Raised when the input document or the CSV cannot be processed; nothing has been spent. Holds every problem.

    The text lists up to 50 problems and cuts long ones, because a Cause can have up to 32,768 characters (Step
    Functions API, ``SensitiveCause``). It holds the text as JSON, together with a stack trace.
    """

    MOST_LISTED = 50
    MOST_CHARACTERS = 24_000

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        lines = ["1 problem in the input:" if count == 1 else f"{count} problems in the input:"]
        room = self.MOST_CHARACTERS
        for number, problem in enumerate(self.problems[: self.MOST_LISTED], 1):
            line = _cut(f"{number}. {problem}", self.MOST_CHARACTERS // 10)
            room -= _size_in_json(line)
            if room < 0:
                break
            lines.append(line)
        if count >= len(lines):
            lines.append(f"… and {count - len(lines) + 1} more")
        super().__init__("\n".join(lines))


def _cut(text: str, most: int) -> str:
    while _size_in_json(text) > most:
        text = text[: min(len(text), most) * 9 // 10] + "…"
    return text


def _size_in_json(text: str) -> int:
    """Number of characters of the text as JSON, in which everything that is not ASCII is escaped."""
    return len(json.dumps(text))


class DeploymentError(PermanentError):
    """Raised when the deployment is at fault, not a row: a denied permission or a missing function."""


class RowFailedError(PermanentError):
    """Raised when rows failed and the execution was told not to tolerate it; its cause is the output document."""


class MappingError(PermanentError):
    """Raised when one row's cells cannot be mapped into the target's input; that row fails alone."""


class RemapError(PermanentError):
    """Raised when an execution cannot be remapped: it has no output yet, or its answers have expired."""


class ThrottledError(RetryableError):
    """Raised when a service asks for a slower pace; such attempts do not count against ``max_attempts``."""


class TargetThrottledError(PermanentError):
    """Raised when a target has throttled every call for ``give_up_seconds``; the run ends with this name."""


class CostLimitError(PermanentError):
    """Raised when a run has cost ``stop_after.cost_usd``; the run ends with this name."""


class TrialFailedError(PermanentError):
    """Raised when no row of a trial was successful; the run ends with this name."""


class NotApprovedError(PermanentError):
    """Raised when the rest of a run was not approved after its trial; the run ends with this name."""


class DeliveryError(PermanentError):
    """Raised when S3 does not take an output at ``output_s3_uri``; its text is a reason, and ``fix`` the remedy."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


class ServiceUnavailableError(RetryableError):
    """Raised when a service answers with a fault of its own or cannot be reached."""


class ObjectNotFoundError(PermanentError):
    """Raised when an S3 object to read does not exist."""


class ObjectChangedError(PermanentError):
    """Raised when an S3 object changed while it was read (its ETag no longer matches)."""


class CommitConflictError(RetryableError):
    """Raised when other writers changed a table of the lake first in every attempt; nothing was written."""
