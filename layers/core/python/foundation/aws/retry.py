"""Retries a call where the SDK does not: the SDK stops retrying as soon as a response begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

Result = TypeVar("Result")


def retried(
    call: Callable[[], Result],
    *,
    on: type[BaseException] | tuple[type[BaseException], ...],
    attempts: int,
    first_pause_seconds: float = 0.2,
    longest_pause_seconds: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """The result of ``call``, which is repeated while it raises ``on``, up to ``attempts`` times in all.

    Pauses double, with full jitter. Raises the exception of the last attempt.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(on),
        stop=stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=first_pause_seconds, max=longest_pause_seconds),
        sleep=sleep,
        reraise=True,
    )
    return retrying(call)
