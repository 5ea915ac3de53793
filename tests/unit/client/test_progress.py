"""How far a run is: pace, time left, cost so far, and why it is held up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from batch_processor_client.progress import Pace, Progress, clock, cost_so_far, notes_of
from row_batches.run.causes import Cause
from row_batches.run.runs import Counts, Run
from tests.support.batches import make_plan
from tests.support.fakes import FakeObjectStore

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def run_with(**fields: object) -> Run:
    plan = make_plan([["1", "a"]], store=FakeObjectStore())
    return Run.of_plan(plan).model_copy(update=fields)


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    # Given 10 rows a second for a minute, then 2 rows a second for another
    pace = Pace()
    for second in range(61):
        pace.add(float(second), 10 * second)
    for second in range(61, 121):
        pace.add(float(second), 600 + 2 * (second - 60))
    # Then only the later pace counts
    assert pace.rows_per_second == pytest.approx(2.0)
    assert pace.seconds_for(280) == pytest.approx(140)


def test_the_time_before_the_first_row_is_not_part_of_the_pace() -> None:
    pace = Pace()
    for second in range(20):
        pace.add(float(second), 0)
    pace.add(20.0, 5)
    assert pace.rows_per_second == pytest.approx(5.0)


def test_the_time_left_goes_down_between_two_counts() -> None:
    # Given 5 rows a second, counted every three seconds
    pace = Pace()
    for second in range(60):
        counted = 5 * (second - second % 3)
        pace.add(float(second), counted)
        # Then each second, from the second count on, has one second less
        if second >= 6:
            assert pace.seconds_for(300 - counted) == pytest.approx(60 - second)
            assert pace.rows_per_second == pytest.approx(5.0)


def test_a_pause_longer_than_any_before_slows_the_pace_down() -> None:
    pace = Pace()
    for second in range(0, 21, 2):
        pace.add(float(second), 5 * second)
    pace.add(22.0, 100)
    assert pace.rows_per_second == pytest.approx(5.0)
    pace.add(42.0, 100)
    assert pace.rows_per_second < 2.0
    left = pace.seconds_for(100)
    assert left is not None
    assert left > 50


def test_there_is_no_rate_before_two_looks() -> None:
    pace = Pace()
    assert (pace.rows_per_second, pace.seconds_for(5)) == (0.0, None)
    pace.add(0.0, 5)
    assert (pace.rows_per_second, pace.seconds_for(5)) == (0.0, None)


def test_rows_that_were_counted_twice_do_not_pass_the_total() -> None:
    assert Progress(execution="x", total=10, succeeded=9, failed=3).done == 10
    assert Progress(execution="x", succeeded=9, failed=3).done == 12


def test_the_cost_so_far_is_the_targets_own_by_count_and_a_share_of_the_estimate() -> None:
    plan = make_plan([["1", "a"]] * 10, store=FakeObjectStore(), cost_per_call_usd=0.5)
    aws = sum(part.best for name, part in plan.estimate.parts.items() if name != "target")
    counts = Counts(succeeded=4, failed=1, attempts=7, model_usd=0.25)
    assert cost_so_far(plan, counts) == pytest.approx(aws / 2 + 7 * 0.5 + 0.25)


def test_the_most_frequent_cause_is_a_note_while_the_run_goes_on() -> None:
    causes = [Cause(error="Boom", message="it [broke]", count=12, rows=[3]), Cause(error="Slow", message="", count=1)]
    assert notes_of(run_with(causes=causes), NOW) == ["12 × Boom: it [broke] (and 1 more)"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (42.2, "42 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7_620, "2 h 07 min"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_wait_for_an_owner_is_shown_until_it_is_over() -> None:
    run = run_with(waiting_until=NOW)
    assert "waiting until" in notes_of(run, NOW - timedelta(minutes=5))[0]
    assert notes_of(run, NOW) == []


def test_a_target_that_throttles_is_shown_while_its_workers_say_so() -> None:
    run = run_with(throttled_since=NOW - timedelta(minutes=5), throttled_noted=NOW)
    assert "throttled since" in notes_of(run, NOW)[0]
    assert notes_of(run, NOW + timedelta(minutes=1)) == []


def test_a_wait_for_the_targets_limits_is_shown_while_it_lasts() -> None:
    run = run_with(held_back_noted=NOW)
    assert "waiting for the target's limits" in notes_of(run, NOW)[0]
    assert notes_of(run, NOW + timedelta(minutes=3)) == []
