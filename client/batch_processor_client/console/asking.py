"""Calls AWS through an operation. Returns the answer, or the reason in words why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
from anyio.to_thread import run_sync

from batch_processor_client.errors import EXPECTED, ClientError, explain, is_throttled, lacks_credentials
from foundation.errors import InvalidInputError

PATIENCE_SECONDS = 8.0
"""How long a page waits for AWS. The operation itself continues."""

LOG_IN = (
    "Your AWS credentials are missing or have expired. Log in again in a terminal, for example with `aws sso login`. "
    "This page then continues, and what you typed stays here."
)
SLOWED = "AWS throttles its answers for now. Wait a moment, then ask again; what you typed stays here."
SLOW = (
    "AWS has not answered for {seconds:g} s. What you asked for goes on: look at the list of runs or jobs before you "
    "ask for it again. What you typed stays here."
)

T = TypeVar("T")


@dataclass(frozen=True)
class Asked(Generic[T]):
    """The answer to a question, or the ``problem`` why there is none, as text for a person.

    ``is_wrong``: the person has to correct something. After other problems, asking again helps. ``error`` is what the
    operation raised; None where AWS has not answered yet.
    """

    answer: T | None = None
    problem: str = ""
    is_wrong: bool = False
    error: Exception | None = None


async def ask(operation: Callable[[], T], patience: float = PATIENCE_SECONDS) -> Asked[T]:
    """Run an operation in a thread, and wait for it for up to ``seconds``. Raises errors that are not expected."""
    with anyio.move_on_after(patience):
        try:
            return Asked(await run_sync(operation, abandon_on_cancel=True))
        except EXPECTED as error:
            problem = problem_of(error)
            is_wrong = isinstance(error, ClientError | InvalidInputError) and problem == explain(error)
            return Asked(problem=problem, is_wrong=is_wrong, error=error)
    return Asked(problem=SLOW.format(seconds=patience))


def problem_of(error: Exception) -> str:
    """The text about an expected error for a person."""
    if lacks_credentials(error):
        return LOG_IN
    if is_throttled(error):
        return SLOWED
    return explain(error)
