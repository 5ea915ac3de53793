"""How fast a worker starts rows."""

from __future__ import annotations

import pytest

from row_batches.run.pace import FIRST_LIMIT, Allowance, Pace
from tests.support.fakes import FakeClock


def started_within(pace: Pace, clock: FakeClock, seconds: float, tokens: int = 0) -> int:
    """Rows that are started and answered at once within the time."""
    rows, end = 0, clock.now_ms() + seconds * 1000
    while clock.now_ms() < end:
        wait = pace.start(0)
        assert wait is not None
        if wait == 0:
            rows += 1
            pace.answered(tokens)
        else:
            clock.sleep(max(wait, 0.001))
    return rows


def test_concurrency_starts_low_and_grows_to_what_is_allowed_while_calls_succeed() -> None:
    pace = Pace(Allowance(30), FakeClock())
    assert pace.limit == FIRST_LIMIT

    for _ in range(26):
        pace.answered()

    assert pace.limit == 30
    pace.answered()
    assert pace.limit == 30


def test_no_more_rows_start_than_the_limit_holds() -> None:
    pace = Pace(Allowance(2), FakeClock())

    assert [pace.start(0), pace.start(1), pace.start(2)] == [0.0, 0.0, None]


def test_throttling_halves_the_limit_once_for_calls_that_come_together() -> None:
    clock = FakeClock()
    pace = Pace(Allowance(16), clock)
    for _ in range(12):
        pace.answered()

    for _ in range(10):
        pace.throttled()
    assert pace.limit == 8
    clock.sleep(1)
    pace.throttled()
    assert pace.limit == 4


def test_the_limit_never_falls_below_one_row() -> None:
    clock = FakeClock()
    pace = Pace(Allowance(16), clock)

    for _ in range(10):
        pace.throttled()
        clock.sleep(2)

    assert pace.limit == 1


def test_after_throttling_the_pace_ramps_up_to_full_speed_again() -> None:
    clock = FakeClock()
    pace = Pace(Allowance(16), clock)
    for _ in range(12):
        pace.answered()
    for _ in range(5):
        pace.throttled()
        clock.sleep(2)
    limits = []
    for _ in range(120):
        pace.answered()
        limits.append(pace.limit)

    assert limits[6] == 8  # fast up to half of what it bore before
    assert limits[12] == 8  # then carefully
    assert limits[-1] == 16


def test_it_is_known_since_when_every_call_is_throttled() -> None:
    clock = FakeClock()
    pace = Pace(Allowance(4), clock)
    assert pace.throttled_since_ms is None

    pace.throttled()
    began = clock.now_ms()
    clock.sleep(60)
    pace.throttled()
    assert pace.throttled_since_ms == began

    pace.answered()
    assert pace.throttled_since_ms is None


@pytest.mark.parametrize(("rate", "workers"), [(120, 4), (6, 1), (6_000, 7)])
def test_the_rows_of_all_workers_keep_the_runs_rate(rate: int, workers: int) -> None:
    total = 0
    for _ in range(workers):
        clock = FakeClock()
        total += started_within(Pace(Allowance(4, rows_per_minute=rate).share(workers), clock), clock, 300)

    assert total == pytest.approx(5 * rate, rel=0.05)


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    clock = FakeClock()
    pace = Pace(Allowance(4, rows_per_minute=60), clock)
    assert pace.start(0) == 0.0
    clock.sleep(600)

    assert started_within(pace, clock, 10) <= 12


def test_tokens_that_answers_used_slow_the_next_rows() -> None:
    clock = FakeClock()
    pace = Pace(Allowance(4, tokens_per_minute=6_000), clock)

    rows = started_within(pace, clock, 600, tokens=500)

    assert rows * 500 / 10 == pytest.approx(6_000, rel=0.1)


def test_tokens_that_were_used_without_a_token_rate_do_not_count_once_there_is_one() -> None:
    pace = Pace(Allowance(4), FakeClock())
    for _ in range(1_000):
        pace.answered(2_000)

    pace.allow(Allowance(4, tokens_per_minute=1_000))

    assert pace.start(0) == 0.0


def test_a_new_batch_begins_without_the_throttling_of_an_earlier_one() -> None:
    pace = Pace(Allowance(4), FakeClock())
    pace.throttled()

    pace.begin()

    assert pace.throttled_since_ms is None


def test_an_allowance_can_change_while_rows_run() -> None:
    clock = FakeClock()
    pace = Pace(Allowance(20, rows_per_minute=1), clock)
    for _ in range(20):
        pace.answered()
    pace.start(0)

    pace.allow(Allowance(5, rows_per_minute=60))

    assert pace.limit == 5
    assert pace.start(0) == pytest.approx(1.0)
