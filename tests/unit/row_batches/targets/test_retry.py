"""Whether, and when, a row is tried again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.document.batch_config import RetryPolicy
from row_batches.rows.records import RowStatus
from row_batches.targets.protocol import (
    Outcome,
    mapping_failed,
    read_agent_answer,
    throttled,
    thrown_error,
    timed_out,
    too_large,
)
from row_batches.targets.retry import MAX_THROTTLES, Final, Retry, decide, pause_seconds

POLICY = RetryPolicy(jitter=False)
HOUR = 3_600_000


def decision(outcome: Outcome, policy: RetryPolicy = POLICY, **given: Any) -> Retry | Final:
    settings: dict[str, Any] = {"attempt": 1, "throttles": 0, "elapsed_ms": 0, "budget_ms": HOUR, **given}
    return decide(policy, outcome, **settings, random=lambda: 0.5)


def test_a_thrown_error_is_retried_with_growing_pauses_until_the_attempts_are_used_up() -> None:
    outcome = thrown_error("ValueError", "boom")

    decisions = [decision(outcome, attempt=attempt) for attempt in (1, 2, 3)]

    assert decisions == [Retry(1), Retry(2), Final(outcome)]


def test_one_attempt_means_no_retry() -> None:
    outcome = thrown_error("ValueError", "boom")

    assert decision(outcome, RetryPolicy(max_attempts=1)) == Final(outcome)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(RowStatus.SUCCESS, 1, 1),
        timed_out("slow"),
        too_large("7 MB"),
        mapping_failed("not JSON"),
        read_agent_answer({"result": "Error"}),
    ],
)
def test_what_another_attempt_cannot_help_is_final(outcome: Outcome) -> None:
    assert decision(outcome) == Final(outcome)


def test_a_failed_answer_that_says_it_is_retryable_is_retried() -> None:
    assert decision(read_agent_answer({"result": "Error", "metadata": {"retryable": True}})) == Retry(1)


def test_a_listed_error_is_final_and_others_are_not() -> None:
    policy = RetryPolicy(jitter=False, non_retryable_errors=["ValueError"])

    assert isinstance(decision(thrown_error("ValueError", "boom"), policy), Final)
    assert decision(thrown_error("KeyError", "boom"), policy) == Retry(1)


def test_throttling_is_retried_apart_from_the_count_of_attempts() -> None:
    outcome = throttled("slow down")

    assert decision(outcome, attempt=3, throttles=1) == Retry(1)
    assert decision(outcome, attempt=3, throttles=20) == Retry(60)
    assert decision(outcome, throttles=MAX_THROTTLES + 1, budget_ms=10**12) == Final(outcome)


def test_a_pause_that_would_use_up_the_budget_makes_the_row_a_timeout_that_names_the_last_error() -> None:
    outcome = thrown_error("ValueError", "boom")

    last = decision(outcome, elapsed_ms=9_000, budget_ms=10_000)

    assert isinstance(last, Final)
    assert last.outcome.status is RowStatus.TIMEOUT
    assert "ValueError: boom" in last.outcome.error_message
    assert decision(outcome, elapsed_ms=8_999, budget_ms=10_000) == Retry(1)


def test_with_jitter_the_pause_is_a_random_part_of_the_whole() -> None:
    policy = RetryPolicy(jitter=True, initial_interval_seconds=4)

    assert decision(thrown_error("E", ""), policy) == Retry(2)


@given(
    attempt=st.integers(1, 10_000),
    rate=st.floats(1, 100),
    initial=st.floats(0, 86_400),
    longest=st.floats(0.1, 86_400),
    jitter=st.booleans(),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_pause_is_never_negative_and_never_above_the_longest(
    attempt: int, rate: float, initial: float, longest: float, jitter: bool, chance: float
) -> None:
    policy = RetryPolicy(backoff_rate=rate, initial_interval_seconds=initial, max_delay_seconds=longest, jitter=jitter)

    pause = pause_seconds(policy, attempt, lambda: chance)

    assert 0 <= pause <= longest
    if not jitter:
        assert pause <= pause_seconds(policy, attempt + 1, lambda: chance)


@given(attempts=st.integers(1, 100), seed=st.floats(0, 1, exclude_max=True))
def test_a_row_that_always_fails_ends_after_exactly_its_attempts(attempts: int, seed: float) -> None:
    policy = RetryPolicy(max_attempts=attempts, initial_interval_seconds=0)
    outcome = thrown_error("E", "")
    attempt = 1

    while isinstance(decide(policy, outcome, attempt, 0, 0, HOUR, lambda: seed), Retry):
        attempt += 1

    assert attempt == attempts
