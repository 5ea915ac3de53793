"""A worker whose target throttles, and a worker that keeps a rate."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from foundation.errors import ServiceUnavailableError
from row_batches.run.runs import Counts, Live
from row_batches.run.tool_messages import ToolRowsResponse
from row_batches.targets.protocol import Outcome, throttled
from tests.support.batches import EXECUTION, KEYS
from tests.unit.row_batches.run.test_process_tool_rows import Worker, echo

ROWS = [[f"{number}", "text"] for number in range(1, 41)]


def worker_throttled_for(
    seconds: float, while_throttled: Callable[[Worker], None] = lambda _: None, **execution_config: object
) -> Worker:
    started: list[int] = []

    def answer(payload: bytes, _: float) -> bytes | Outcome:
        worker.clock.move(0.2)
        if worker.clock.now_ms() - started[0] < seconds * 1000:
            while_throttled(worker)
            return throttled("Rate exceeded")
        return echo(payload)

    worker = Worker(answer, ROWS, threads=8, execution_config=execution_config)
    started.append(worker.clock.now_ms())
    return worker


def test_a_target_that_throttles_for_a_minute_costs_no_row_and_the_wait_is_counted() -> None:
    worker = worker_throttled_for(60, timeout_seconds=600)

    response = worker.run()

    assert response == ToolRowsResponse(succeeded=40)
    assert worker.batches.open(KEYS.plan).pace.limit == 8
    assert sum(record.get("throttled_ms", 0) for record in worker.records) > 0
    assert sum(record["throttles"] for record in worker.records) > 0


def test_a_target_that_never_stops_throttling_pulls_the_brake_by_name() -> None:
    worker = worker_throttled_for(10**9, timeout_seconds=840, give_up_seconds=60)

    response = worker.run()

    brake = orjson.loads(worker.store.objects[KEYS.brake])
    assert brake["error"] == "TargetThrottledError"
    assert "60 s" in brake["reason"]
    assert response.remaining == 0
    assert response.not_attempted > 0
    assert response.succeeded == 0
    assert {record["error"].partition(":")[0] for record in worker.records} == {"the target was throttled"}


def other_call_succeeds(worker: Worker) -> None:
    worker.runs.count(EXECUTION, Counts(succeeded=1))


def test_a_starved_worker_does_not_end_a_run_whose_other_calls_succeed() -> None:
    worker = worker_throttled_for(300, other_call_succeeds, timeout_seconds=840, give_up_seconds=60)
    began = worker.clock.now_ms()

    assert worker.run() == ToolRowsResponse(succeeded=40)

    assert KEYS.brake not in worker.store.objects
    assert worker.clock.now_ms() - began > 300_000


def test_a_worker_does_not_give_up_while_the_table_of_runs_is_away() -> None:
    worker = worker_throttled_for(300, timeout_seconds=840, give_up_seconds=60)
    worker.runs.broken = ServiceUnavailableError("dynamodb is away")

    assert worker.run() == ToolRowsResponse(succeeded=40)


def test_that_the_target_throttles_is_noted_while_it_does() -> None:
    worker = worker_throttled_for(60, timeout_seconds=600)

    worker.run()

    run = worker.runs.get(EXECUTION)
    assert run is not None
    assert run.throttled_since is not None
    assert run.throttled_noted is not None


def test_a_rate_is_kept() -> None:
    worker = Worker(echo, ROWS, threads=8, execution_config={"rate": {"rows_per_minute": 120}})
    began = worker.clock.now_ms()

    assert worker.run() == ToolRowsResponse(succeeded=40)

    assert (worker.clock.now_ms() - began) / 1000 == pytest.approx(39 / 2, abs=1.5)


def test_a_row_that_is_far_away_is_not_waited_for_inside_the_function() -> None:
    worker = Worker(echo, ROWS, threads=8, execution_config={"rate": {"rows_per_minute": 1}})

    response = worker.run()

    assert (response.succeeded, response.remaining) == (1, 39)
    assert 30 < response.come_again_in_seconds <= 60


def test_a_rate_that_changes_while_rows_run_is_taken_over() -> None:
    worker = Worker(echo, ROWS, threads=8, execution_config={"rate": {"rows_per_minute": 30}})
    worker.runs.set_live(EXECUTION, Live(rows_per_minute=3_000))
    began = worker.clock.now_ms()

    assert worker.run() == ToolRowsResponse(succeeded=40)

    assert (worker.clock.now_ms() - began) / 1000 < 40


def test_tokens_that_answers_report_slow_the_rows() -> None:
    def answer(payload: bytes, _: float) -> bytes:
        tool_result = orjson.loads(echo(payload))
        return orjson.dumps({**tool_result, "metadata": {"usage": {"input_tokens": 900, "output_tokens": 100}}})

    worker = Worker(answer, ROWS, threads=1, execution_config={"rate": {"tokens_per_minute": 60_000}})
    began = worker.clock.now_ms()

    assert worker.run() == ToolRowsResponse(succeeded=40)

    assert (worker.clock.now_ms() - began) / 1000 == pytest.approx(30, abs=2)
