"""How far an execution is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from batch_processor_client.progress import Progress, clock, failed_rows, line, rows_done
from row_batches.run.runs import Counts


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    # Given 10 rows a second for a minute, then 2 rows a second for another
    progress = Progress(total=1_000)
    for second in range(61):
        progress.update(float(second), 10 * second)
    for second in range(61, 121):
        progress.update(float(second), 600 + 2 * (second - 60))
    # Then only the later pace counts
    assert progress.rate == pytest.approx(2.0)
    assert progress.seconds_left == pytest.approx((1_000 - 720) / 2.0)


def test_there_is_no_rate_before_two_looks() -> None:
    progress = Progress(total=10)
    assert (progress.rate, progress.seconds_left) == (0.0, None)
    progress.update(0.0, 5)
    assert (progress.rate, progress.seconds_left) == (0.0, None)


def test_the_rows_done_never_fall_and_never_pass_the_total() -> None:
    progress = Progress(total=10)
    progress.update(0.0, 8)
    progress.update(1.0, 2)
    assert progress.done == 8
    progress.update(2.0, 12)
    assert progress.done == 10


def test_time_left_is_unknown_without_a_total() -> None:
    progress = Progress()
    progress.update(0.0, 0)
    progress.update(1.0, 5)
    assert progress.seconds_left is None
    assert line(progress) == "5 of ? rows done, 0 failed, 5.0 rows/s"


def test_a_line_has_everything_for_an_output_that_is_no_terminal() -> None:
    progress = Progress(total=2_000, failed=3)
    progress.update(0.0, 0)
    progress.update(10.0, 1_000)
    assert line(progress) == "1,000 of 2,000 rows done, 3 failed, 100.0 rows/s, 10 s left"


def test_rows_of_a_map_run_are_done_however_they_ended() -> None:
    counts = {"pending": 5, "running": 4, "succeeded": 3, "failed": 2, "timedOut": 1, "aborted": 1, "total": 16}
    assert rows_done(counts) == 7


def test_failures_are_counted_from_the_markers_keys_alone() -> None:
    assert failed_rows(["work/a-1/failed/000000000001-3", "work/a-1/failed/000000000101-12"]) == 15
    assert failed_rows([]) == 0


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
    now = datetime.now(UTC)
    progress = Progress(total=10, waiting_until=now + timedelta(minutes=5))
    assert "waiting until" in line(progress)
    assert "waiting" not in line(Progress(total=10, waiting_until=now - timedelta(seconds=1)))
    assert progress.waiting(now + timedelta(minutes=6)) == ""


def test_what_the_target_has_cost_so_far_is_shown_if_it_is_known() -> None:
    progress = Progress(total=10)
    progress.spend(Counts(attempts=4), 0)
    assert progress.notes(datetime.now(UTC)) == []
    progress.spend(Counts(attempts=4, model_usd=0.5, input_tokens=1_200, output_tokens=34), 0.25)
    assert progress.notes(datetime.now(UTC)) == ["1.50 USD", "1,234 tokens"]
    assert "1.50 USD, 1,234 tokens" in line(progress)


def test_a_target_that_throttles_is_shown_while_its_workers_say_so() -> None:
    now = datetime.now(UTC)
    progress = Progress(total=10, throttled_since=now - timedelta(minutes=5), throttled_noted=now)
    assert "throttled since" in line(progress)
    assert progress.throttled(now + timedelta(minutes=1)) == ""


def test_a_wait_for_the_targets_limits_is_shown_while_it_lasts() -> None:
    now = datetime.now(UTC)
    progress = Progress(total=10, held_back_noted=now)
    assert "waiting for the target's limits" in line(progress)
    assert progress.held_back(now + timedelta(minutes=3)) == ""
