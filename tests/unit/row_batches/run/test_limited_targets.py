"""A worker whose target has limits in the registry."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import pytest

from foundation.ports import Lease
from row_batches.document.batch_config import Rate
from row_batches.run.claims import permits_name, slot_part
from row_batches.run.tool_messages import ToolRowsResponse
from row_batches.targets.calls import no_answer
from row_batches.targets.protocol import Outcome
from tests.support.batches import EXECUTION, FUNCTION_ARN, KEYS
from tests.unit.row_batches.run.test_process_tool_rows import Worker, echo, row_of

ROWS = [[f"{number}", "text"] for number in range(1, 13)]
NAME = permits_name(FUNCTION_ARN)


def limited_worker(
    limit: int | None, answer: Any = echo, *, rate: Rate | None = None, call_seconds: int = 30, **document: Any
) -> Worker:
    worker = Worker(answer, ROWS, threads=8, **document)
    target = worker.plan.target.model_copy(update={"max_concurrency": limit, "rate": rate})
    plan = worker.plan.model_copy(update={"target": target, "call_seconds": call_seconds})
    worker.store.put(KEYS.plan, plan.model_dump_json().encode())
    return worker


def slots(worker: Worker) -> list[Lease]:
    return [lease for lease in worker.leases.held(NAME) if lease.part.startswith("slot#")]


def test_no_more_calls_are_in_flight_than_the_registry_allows() -> None:
    both = threading.Barrier(2)

    def slow(payload: bytes, timeout: float) -> bytes:
        if row_of(payload) <= 2:
            both.wait(60)
        return echo(payload, timeout)

    worker = limited_worker(2, slow)

    assert worker.run() == ToolRowsResponse(succeeded=12)

    assert worker.invoker.most_at_once == 2
    assert worker.leases.held(NAME) == [], "permits, and what it wanted, are given back"


def test_permits_that_another_run_holds_are_not_used() -> None:
    seen: list[int] = []

    def answer(payload: bytes, timeout: float) -> bytes:
        seen.append(len(slots(worker)))
        return echo(payload, timeout)

    worker = limited_worker(3, answer)
    for number in range(2):
        worker.leases.acquire(NAME, "run-2#1/call", 900, slot_part(number))

    assert worker.run() == ToolRowsResponse(succeeded=12)

    assert worker.invoker.most_at_once == 1
    assert set(seen) == {3}
    run = worker.runs.get(EXECUTION)
    assert run is not None
    assert run.held_back_noted is not None


def test_a_worker_without_a_permit_waits_outside_of_the_function_and_says_so() -> None:
    worker = limited_worker(1)
    worker.leases.acquire(NAME, "run-2#1/call", 900, slot_part(0))

    response = worker.run()

    assert response.remaining == 12
    assert response.come_again_in_seconds > 0
    assert worker.invoker.calls == []
    wanted = [lease.part for lease in worker.leases.held(NAME) if lease.part.startswith("wants#")]
    assert wanted == [f"wants#{EXECUTION}#1#1"], "it goes on wanting a permit"
    run = worker.runs.get(EXECUTION)
    assert run is not None
    assert run.held_back_noted is not None


def test_a_call_without_an_answer_keeps_its_permit_until_the_target_has_surely_ended() -> None:
    def answer(payload: bytes, timeout: float) -> bytes | Outcome:
        return no_answer(timeout) if row_of(payload) == 1 else echo(payload, timeout)

    worker = limited_worker(2, answer)
    began_ms = worker.clock.now_ms()

    response = worker.run()

    assert response == ToolRowsResponse(succeeded=11, timed_out=1)
    (left,) = slots(worker)
    assert left.until_ms >= began_ms + 30_000


def test_a_row_is_called_again_under_another_permit_while_its_first_call_may_still_run() -> None:
    held_at_call: list[tuple[int, int]] = []

    def answer(payload: bytes, timeout: float) -> bytes | Outcome:
        attempt = int(orjson.loads(payload)["id"].rpartition(":")[2])
        held_at_call.append((row_of(payload), len(slots(worker))))
        if row_of(payload) == 1 and attempt == 1:
            return Outcome(status=no_answer(timeout).status.FAILED, error_name="E", retryable=True, runs_on=True)
        return echo(payload, timeout)

    worker = limited_worker(1, answer, execution_config={"timeout_seconds": 600})

    assert worker.run().succeeded >= 1

    assert [row for row, _ in held_at_call].count(1) == 2
    # The only permit stays with the first call for 30 s and more.
    assert worker.records[0]["duration_ms"] >= 30_000
    assert {held for _, held in held_at_call} == {1}


def test_a_rate_of_the_target_is_kept_where_the_run_asks_for_none() -> None:
    worker = limited_worker(None, rate=Rate(rows_per_minute=60))
    began_ms = worker.clock.now_ms()

    assert worker.run() == ToolRowsResponse(succeeded=12)

    assert (worker.clock.now_ms() - began_ms) / 1000 == pytest.approx(11, abs=1.5)
