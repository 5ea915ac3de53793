"""Decides whether and when a row is tried again, for tools (in the worker) and for agents (through the ASL)."""

from __future__ import annotations

import random as random_numbers
from collections.abc import Callable
from typing import NamedTuple

from row_batches.document.batch_config import RetryPolicy
from row_batches.rows.records import RowStatus
from row_batches.targets.protocol import Outcome, timed_out

MAX_THROTTLES = 500
"""The most throttled attempts of a row. Usually the row's time ends them first, but that can be a year."""


class Retry(NamedTuple):
    """Try again after this pause."""

    wait_seconds: float


class Final(NamedTuple):
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
    """Decide what follows an attempt.

    ``attempt`` is the number of this attempt, from 1, without throttled ones. ``throttles`` counts the throttled
    attempts so far, including this one. ``elapsed_ms`` of the row's ``budget_ms`` are used up. ``random()`` is in
    [0, 1). If the pause would use up the budget, the row is TIMEOUT, and its message names the last error.
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
    """The pause after attempt ``attempt`` without jitter. It grows exponentially up to the policy's maximum."""
    try:
        delay = policy.initial_interval_seconds * policy.backoff_rate ** (attempt - 1)
    except OverflowError:
        delay = policy.max_delay_seconds
    return min(delay, policy.max_delay_seconds)


def pause_seconds(policy: RetryPolicy, attempt: int, random: Callable[[], float]) -> float:
    """The pause after attempt ``attempt``: the longest pause or, with full jitter, a random part of it."""
    delay = longest_pause_seconds(policy, attempt)
    return random() * delay if policy.jitter else delay
