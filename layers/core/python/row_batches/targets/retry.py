"""Whether a row is tried again, and when. One place for tools, in process, and agents, through the ASL."""

from __future__ import annotations

import random as random_numbers
from collections.abc import Callable
from dataclasses import dataclass

from row_batches.document.batch_config import RetryPolicy
from row_batches.rows.records import RowStatus
from row_batches.targets.protocol import Outcome, timed_out

MAX_THROTTLES = 500
"""Throttled attempts have no count of their own but the row's time, which can be a year: then this one ends them."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after this pause."""

    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Final:
    """The row is finished with this outcome."""

    outcome: Outcome


def decide(
    policy: RetryPolicy,
    outcome: Outcome,
    attempt: int,
    throttles: int,
    elapsed_ms: int,
    budget_ms: int,
    random: Callable[[], float] = random_numbers.random,
    *,
    max_throttles: int = MAX_THROTTLES,
) -> Retry | Final:
    """What follows an attempt.

    ``attempt`` is the number of this attempt, 1-based, throttled ones not counted; ``throttles`` the throttled attempts
    so far, this one included. ``elapsed_ms`` of the row's ``budget_ms`` are used up. ``random()`` is in [0, 1).
    A pause that would use up the budget is not begun: the row is TIMEOUT, naming its last error.
    """
    if outcome.status is not RowStatus.FAILED or not outcome.retryable:
        return Final(outcome)
    if outcome.error_name in policy.non_retryable_errors:
        return Final(outcome)
    if throttles > max_throttles if outcome.throttled else attempt >= policy.max_attempts:
        return Final(outcome)
    wait = pause_seconds(policy, throttles if outcome.throttled else attempt, random)
    if elapsed_ms + wait * 1_000 >= budget_ms:
        used = f"the row's {budget_ms / 1_000:g} seconds are used up before another attempt"
        return Final(timed_out(f"{used}; the last error was {outcome.error_message}"))
    return Retry(wait)


def longest_pause_seconds(policy: RetryPolicy, attempt: int) -> float:
    """The pause after attempt ``attempt``, without jitter: exponential, capped."""
    try:
        delay = policy.initial_interval_seconds * policy.backoff_rate ** (attempt - 1)
    except OverflowError:
        delay = policy.max_delay_seconds
    return min(delay, policy.max_delay_seconds)


def pause_seconds(policy: RetryPolicy, attempt: int, random: Callable[[], float]) -> float:
    """The pause after attempt ``attempt``: the longest, and with jitter a random part of it (full jitter)."""
    delay = longest_pause_seconds(policy, attempt)
    return random() * delay if policy.jitter else delay
