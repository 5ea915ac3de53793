"""Sends again what DynamoDB leaves unprocessed of a batch request.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html#WorkingWithItems.BatchOperations
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from foundation.aws.retry import retried
from foundation.errors import ThrottledError

MOST_ATTEMPTS = 8
"""With the pauses between them at most 13 seconds."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
Entry = TypeVar("Entry")


def until_processed(
    entries: Sequence[Entry],
    send: Callable[[Sequence[Entry]], Sequence[Entry]],
    operation: str,
    table: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Call ``send``, which returns the entries that are left unprocessed, until none is left.

    Raises ThrottledError when some are left MOST_ATTEMPTS times, and what ``send`` raises.
    """
    left = entries

    def attempt() -> None:
        nonlocal left
        left = send(left)
        if left:
            raise _UnprocessedError

    try:
        retried(
            attempt,
            on=_UnprocessedError,
            attempts=MOST_ATTEMPTS,
            first_pause_seconds=FIRST_PAUSE_SECONDS,
            longest_pause_seconds=LONGEST_PAUSE_SECONDS,
            sleep=sleep,
        )
    except _UnprocessedError as error:
        raise ThrottledError(
            f"dynamodb:{operation} on {table} left {len(left)} items unprocessed {MOST_ATTEMPTS} times."
            " Give the table more capacity, or try again later."
        ) from error


class _UnprocessedError(Exception):
    """Raised when DynamoDB leaves some entries of a batch unprocessed."""
