"""Rows through a tool: concurrency, retries, writing, resumption, the brake."""

from __future__ import annotations

import contextlib
import csv
import io
import threading
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import DeploymentError, ServiceUnavailableError
from foundation.ports import Lease
from row_batches.rows.work import FINISHING_BRAKE
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batches
from row_batches.run.causes import Cause
from row_batches.run.end_messages import AggregateAction, AggregateRequest
from row_batches.run.messages import BatchReference
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.runs import Counts, Run, lease_name, rows_part
from row_batches.run.tool_messages import ToolRowsRequest, ToolRowsResponse
from row_batches.targets.protocol import Outcome, throttled, thrown_error, timed_out, too_large
from tests.support.aws_resources import eventually
from tests.support.batches import EXECUTION, KEYS, make_plan, records_of, staged_items
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeInvoker,
    FakeLeases,
    FakeMetrics,
    FakeObjectStore,
    FakeOwnership,
    FakeRedrives,
    FakeRuns,
    KilledError,
)

ROWS = [[f"{number}", f"text {number}"] for number in range(1, 8)]


def echo(payload: bytes, _: float = 0) -> bytes:
    sent = orjson.loads(payload)
    answer = {"type": "tool_result", "tool_use_id": sent["id"], "content": {"input": sent["input"]}}
    return orjson.dumps(answer)


class Worker:
    """A worker with fakes around it."""

    def __init__(self, answer: Any = echo, rows: Any = ROWS, **document: Any) -> None:
        self.store = FakeObjectStore()
        self.rows = rows
        self.plan = make_plan(rows, store=self.store, **document)
        self.invoker = FakeInvoker(answer)
        self.dead_letters = FakeDeadLetters()
        self.clock = FakeClock()
        self.deadline = FakeDeadline()
        self.batches = Batches(self.store, self.clock)
        self.leases = FakeLeases(self.clock)
        self.runs = FakeRuns()
        self.runs.start(Run.of_plan(self.plan))

    def run(self, first: int = 1, last: int | None = None) -> ToolRowsResponse:
        items = staged_items(self.rows)[first - 1 : last]
        return process_tool_rows(
            ToolRowsRequest(BatchInput=BatchReference(plan_key=KEYS.plan), Items=items),
            batches=self.batches,
            invoker=self.invoker,
            dead_letters=self.dead_letters,
            ownership=FakeOwnership(self.clock, self.leases, self.runs),
            clock=self.clock,
            deadline=self.deadline,
        )

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records, in the order of the listing."""
        keys = [stored.key for stored in self.store.list_objects(KEYS.rows)]
        return [record for key in keys for record in records_of(self.store.objects[key])]

    def wait_for_brake(self) -> None:
        assert eventually(lambda: KEYS.brake in self.store.objects), "the brake was not pulled while rows ran"


def attempt_of(payload: bytes) -> int:
    return int(orjson.loads(payload)["id"].rpartition(":")[2])


def row_of(payload: bytes) -> int:
    return int(orjson.loads(payload)["id"].split(":")[1])


def test_every_row_is_called_once_and_written_in_one_object_for_consecutive_rows() -> None:
    worker = Worker()

    response = worker.run()

    assert response == ToolRowsResponse(succeeded=7)
    assert [record["row"] for record in worker.records] == list(range(1, 8))
    assert sorted(row_of(payload) for _, payload, _ in worker.invoker.calls) == list(range(1, 8))
    assert list(worker.store.list_objects(KEYS.rows)) != []
    assert [stored.key for stored in worker.store.list_objects(KEYS.rows)] == [KEYS.rows_object(1, 7)]


def test_a_record_holds_the_finished_line_the_raw_answer_and_the_hash_of_the_input() -> None:
    worker = Worker(rows=[["1", 'a "quoted", text']])

    worker.run()

    record = worker.records[0]
    cells = next(csv.reader(io.StringIO(record["csv"])))
    assert cells[:2] == ["1", 'a "quoted", text']
    assert orjson.loads(cells[2]) == {"input": {"id": "1", "text": 'a "quoted", text'}}
    assert cells[3:] == ["run-1", "1", "SUCCESS", "", "0", "2026-09-21T14:13:20.000Z"]
    assert record["answer"]["tool_use_id"] == "run-1:1:1"
    assert len(record["hash"]) == 64


def test_no_more_calls_are_in_flight_than_threads() -> None:
    all_threads = threading.Barrier(3)

    def slow(payload: bytes, timeout: float) -> bytes:
        if row_of(payload) <= 3:
            all_threads.wait(60)
        time.sleep(0.01)  # for a fourth call to come, if there were one
        return echo(payload, timeout)

    worker = Worker(slow, threads=3)

    worker.run()

    assert worker.invoker.most_at_once == 3


def test_rows_that_are_already_written_are_not_called_again() -> None:
    worker = Worker()
    worker.run(2, 4)
    worker.invoker.calls.clear()

    response = worker.run()

    assert response.succeeded == 4
    assert sorted(row_of(payload) for _, payload, _ in worker.invoker.calls) == [1, 5, 6, 7]
    assert [record["row"] for record in worker.records] == list(range(1, 8))


@settings(max_examples=25)
@given(kill_at=st.integers(1, 8), after=st.booleans(), threads=st.integers(1, 4))
def test_a_second_call_after_a_kill_completes_what_was_not_written(kill_at: int, after: bool, threads: int) -> None:
    def answer(payload: bytes, timeout: float) -> bytes | Outcome:
        worker.clock.move(3)  # so that rows are flushed in between
        return echo(payload, timeout) if row_of(payload) != 3 else thrown_error("Boom", "broke")

    worker = Worker(answer, threads=threads, execution_config={"retry_policy": {"max_attempts": 1}})
    before = len(worker.store.writes)
    worker.store.kill_at, worker.store.kill_after_write = before + kill_at, after
    with contextlib.suppress(KilledError):
        worker.run()
    worker.store.kill_at = None
    written = {record["row"] for record in worker.records}
    worker.invoker.calls.clear()

    worker.run()

    assert sorted({record["row"] for record in worker.records}) == list(range(1, 8))
    assert not written & {row_of(payload) for _, payload, _ in worker.invoker.calls}
    assert {letter["row"] for letter in worker.dead_letters.letters} <= {3}
    aggregate(worker)
    assert {letter["row"] for letter in worker.dead_letters.letters} == {3}, "sent by the worker, or in the end"


def aggregate(worker: Worker) -> None:
    aggregate_results(
        AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=KEYS.plan),
        batches=worker.batches,
        dead_letters=worker.dead_letters,
        metrics=FakeMetrics(),
        ownership=FakeOwnership(worker.clock),
        redrives=FakeRedrives(),
        clock=worker.clock,
        deadline=FakeDeadline(),
    )


def test_a_thrown_error_is_tried_again_with_growing_pauses_and_then_fails() -> None:
    retry = {"max_attempts": 3, "backoff_rate": 3.0, "initial_interval_seconds": 2, "jitter": False}
    worker = Worker(
        lambda *_: thrown_error("ValueError", "no"), rows=ROWS[:1], execution_config={"retry_policy": retry}
    )

    response = worker.run()

    assert response.failed == 1
    assert worker.clock.sleeps == [2.0, 6.0]
    assert [attempt_of(payload) for _, payload, _ in worker.invoker.calls] == [1, 2, 3]
    record = worker.records[0]
    assert (record["status"], record["attempts"], record["error"]) == ("FAILED", 3, "ValueError: no")
    run = worker.runs.get(EXECUTION)
    assert run is not None
    assert run.causes == [Cause(error="ValueError", message="no", count=1, rows=[1])]
    assert record["failed_csv"] == "1,text 1,ValueError: no\n"


def test_each_attempt_gets_what_is_left_of_the_rows_time() -> None:
    retry = {"max_attempts": 3, "initial_interval_seconds": 2, "jitter": False}
    worker = Worker(
        lambda *_: thrown_error("ValueError", "no"),
        rows=ROWS[:1],
        execution_config={"timeout_seconds": 10, "retry_policy": retry},
    )

    worker.run()

    assert [timeout for _, _, timeout in worker.invoker.calls] == [10.0, 8.0, 4.0]


def test_throttled_attempts_keep_their_number_and_do_not_count() -> None:
    answers = [throttled("slow down"), throttled("slow down"), None]

    def answer(payload: bytes, timeout: float) -> bytes | Outcome:
        return answers.pop(0) or echo(payload, timeout)

    worker = Worker(answer, rows=ROWS[:1], threads=1, execution_config={"retry_policy": {"max_attempts": 1}})

    worker.run()

    assert [attempt_of(payload) for _, payload, _ in worker.invoker.calls] == [1, 1, 1]
    assert worker.records[0]["attempts"] == 1


@pytest.mark.parametrize(
    ("outcome", "status"), [(timed_out("no answer within 5 s"), "TIMEOUT"), (too_large("6 MB"), "FAILED")]
)
def test_a_time_out_and_an_answer_too_large_are_not_tried_again(outcome: Outcome, status: str) -> None:
    worker = Worker(lambda *_: outcome, rows=ROWS[:1])

    worker.run()

    assert [record["status"] for record in worker.records] == [status]
    assert len(worker.invoker.calls) == 1


def test_an_answer_that_is_not_json_is_a_success_with_its_text() -> None:
    worker = Worker(lambda *_: b"just words", rows=ROWS[:1])

    worker.run()

    record = worker.records[0]
    assert (record["status"], record["answer"]) == ("SUCCESS", "just words")


def test_a_row_that_cannot_be_mapped_fails_alone_without_a_call() -> None:
    rows = [["1", "{}"], ["2", "not json"]]
    mapping = {"transformations": {"x": {"type": "jsonpath", "config": {"column": "text", "path": "$"}}}}
    worker = Worker(rows=rows, input_mapping=mapping)

    response = worker.run()

    assert (response.succeeded, response.failed) == (1, 1)
    assert [row_of(payload) for _, payload, _ in worker.invoker.calls] == [1]
    assert worker.records[1]["attempts"] == 0
    assert worker.dead_letters.letters[0]["input"] == {"id": "2", "text": "not json"}


def test_an_error_with_nan_in_its_content_is_a_failed_row_and_not_a_text() -> None:
    def answer(payload: bytes, _: float) -> bytes:
        call_id = orjson.loads(payload)["id"]
        is_error = "true" if row_of(payload) == 1 else "false"
        said = f'"type": "tool_result", "tool_use_id": "{call_id}", "is_error": {is_error}, "content": {{"score": NaN}}'
        return f"{{{said}}}".encode()

    columns = [{"name": "score", "source": "$.score", "default": "none"}]
    worker = Worker(answer, rows=ROWS[:2], output_mapping={"columns": columns})

    assert worker.run() == ToolRowsResponse(succeeded=1, failed=1)

    assert [record["status"] for record in worker.records] == ["FAILED", "SUCCESS"]
    assert worker.records[0]["error"].startswith("the tool reported an error")
    assert worker.records[1]["answer"]["content"] == {"score": None}
    assert "none" in worker.records[1]["csv"]
    assert [record["notes"] for record in worker.records] == [{"not_a_number": 1}] * 2


def test_the_usage_of_every_attempt_is_kept_with_the_row() -> None:
    def answer(payload: bytes, _: float) -> bytes:
        sent = orjson.loads(payload)
        usage = {"input_tokens": 10, "output_tokens": 1, "cost_usd": 0.5, "model": "nova"}
        metadata = {"retryable": True, "usage": usage}
        said = {"type": "tool_result", "tool_use_id": sent["id"], "is_error": attempt_of(payload) < 3, "content": "no"}
        return orjson.dumps(said | {"metadata": metadata})

    worker = Worker(answer, rows=ROWS[:1], execution_config={"retry_policy": {"max_attempts": 3}})
    worker.run()

    assert worker.records[0]["attempts"] == 3
    assert worker.records[0]["usage"] == {"nova": {"input_tokens": 30, "output_tokens": 3, "cost_usd": 1.5}}


def test_a_denied_call_is_raised_after_the_finished_rows_are_written() -> None:
    def answer(payload: bytes, timeout: float) -> bytes:
        if row_of(payload) == 4:
            raise DeploymentError("lambda:InvokeFunction was denied")
        return echo(payload, timeout)

    worker = Worker(answer, threads=1)

    with pytest.raises(DeploymentError, match="lambda:InvokeFunction"):
        worker.run()

    assert [record["row"] for record in worker.records] == [1, 2, 3]
    assert not worker.leases.leases


def test_no_row_is_started_once_the_brake_is_pulled() -> None:
    worker = Worker()
    worker.store.put(KEYS.brake, b'{"reason": "stopped", "error": "StoppedError", "message": ""}')

    response = worker.run()

    assert response == ToolRowsResponse(not_attempted=7)
    assert not worker.invoker.calls
    assert not worker.records


def test_a_worker_of_a_redriven_run_waits_until_the_brake_of_its_finishing_is_released() -> None:
    worker = Worker()
    work = worker.batches.open(KEYS.plan).work
    work.pull_brake(FINISHING_BRAKE)

    assert worker.run() == ToolRowsResponse(remaining=7, come_again_in_seconds=60)

    work.release_finishing_brake()
    worker.clock.move(60)
    assert worker.run() == ToolRowsResponse(succeeded=7)


def test_the_first_failure_pulls_the_brake_when_the_run_must_not_go_on() -> None:
    def answer(payload: bytes, timeout: float) -> bytes | Outcome:
        worker.clock.move(6)  # every row is flushed
        if row_of(payload) == 3:  # at most this one is under way when the failure is counted
            worker.wait_for_brake()
        return thrown_error("Boom", "broke") if row_of(payload) == 2 else echo(payload, timeout)

    worker = Worker(
        answer, threads=1, execution_config={"continue_on_error": False, "retry_policy": {"max_attempts": 1}}
    )

    response = worker.run()

    brake = orjson.loads(worker.store.objects[KEYS.brake])
    assert (brake["error"], brake["reason"]) == ("RowFailedError", "a row failed and continue_on_error is false")
    assert response.not_attempted >= 4
    assert response.succeeded + response.failed + response.not_attempted == 7
    assert KEYS.failures_marker(2, 1) in worker.store.objects


def test_a_worker_starts_no_row_behind_a_failure_of_its_own_that_ends_the_run() -> None:
    def answer(payload: bytes, timeout: float) -> bytes | Outcome:
        return thrown_error("Boom", "broke") if row_of(payload) == 3 else echo(payload, timeout)

    worker = Worker(
        answer, threads=1, execution_config={"continue_on_error": False, "retry_policy": {"max_attempts": 1}}
    )

    assert worker.run() == ToolRowsResponse(succeeded=2, failed=1, not_attempted=4)


def test_a_batch_begins_with_the_brake_as_it_is_where_failures_may_end_the_run() -> None:
    worker = Worker(execution_config={"continue_on_error": False})
    worker.run(1, 2)
    worker.store.put(KEYS.brake, b'{"reason": "r", "error": "RowFailedError", "message": ""}')

    assert worker.run(3, 7) == ToolRowsResponse(not_attempted=5)


def test_no_row_is_paid_for_while_a_failure_waits_to_be_counted() -> None:
    rows = [[str(number), "text"] for number in range(1, 101)]

    def answer(payload: bytes, timeout: float) -> bytes | Outcome:
        if row_of(payload) == 1:
            return thrown_error("Boom", "broke")
        worker.wait_for_brake()
        return echo(payload, timeout)

    worker = Worker(
        answer, rows, threads=2, execution_config={"continue_on_error": False, "retry_policy": {"max_attempts": 1}}
    )

    response = worker.run()

    assert response.not_attempted >= 97  # the other thread has one row, the failed one's at most one more


def test_what_is_paid_is_written_though_a_write_failed() -> None:
    class Unsteady(FakeObjectStore):
        failures = 1

        def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
            if key.startswith(KEYS.rows) and self.failures:
                self.failures -= 1
                raise ServiceUnavailableError("no answer")
            return super().put(key, body, tags)

    def answer(payload: bytes, timeout: float) -> bytes:
        worker.clock.move(3)
        return echo(payload, timeout)

    worker = Worker(answer, threads=2)
    worker.store.__class__ = Unsteady

    with pytest.raises(ServiceUnavailableError):
        worker.run()
    called = {row_of(payload) for _, payload, _ in worker.invoker.calls}
    assert {record["row"] for record in worker.records} == called

    worker.run()

    assert len(worker.invoker.calls) == 7
    assert [record["row"] for record in worker.records] == list(range(1, 8))


def test_the_worker_s_own_time_is_recorded_once_each_time_it_writes() -> None:
    def answer(payload: bytes, timeout: float) -> bytes:
        worker.clock.move(10 if row_of(payload) == 1 else 1)
        return echo(payload, timeout)

    worker = Worker(answer, threads=1)
    worker.run()

    assert sum(record["worker_ms"] for record in worker.records) == 16_000
    assert sum(record["worker_calls"] for record in worker.records) == 1


def test_rows_that_do_not_fit_into_the_time_left_remain() -> None:
    worker = Worker(threads=1, execution_config={"timeout_seconds": 60})
    worker.deadline = FakeDeadline(900, 200, 150, 89)

    response = worker.run()

    assert (response.succeeded, response.remaining) == (2, 5)
    worker.deadline = FakeDeadline()
    assert worker.run().succeeded == 5


def test_the_rows_of_a_child_have_an_owner_while_they_run_until_lambdas_deadline() -> None:
    def answer(payload: bytes, timeout: float) -> bytes:
        seen.extend(worker.leases.held(lease_name(EXECUTION)))
        return echo(payload, timeout)

    seen: list[Lease] = []
    worker = Worker(answer, rows=ROWS[:1])
    worker.run()

    (lease,) = seen
    assert (lease.part, lease.until_ms - worker.clock.now_ms()) == (rows_part(1), 902_000)
    assert not worker.leases.leases


def test_of_two_calls_of_one_child_at_once_one_works_and_the_other_says_when_to_come_again() -> None:
    others: list[ToolRowsResponse] = []

    def answer(payload: bytes, timeout: float) -> bytes:
        others.append(worker.run())
        return echo(payload, timeout)

    worker = Worker(answer, threads=2)
    response = worker.run()

    assert response.succeeded == 7
    assert others == [ToolRowsResponse(remaining=7, come_again_in_seconds=60)] * 7
    assert len(worker.invoker.calls) == 7
    assert worker.invoker.most_at_once <= 2
    assert [record["row"] for record in worker.records] == [1, 2, 3, 4, 5, 6, 7]


def test_a_killed_owner_is_waited_out_and_its_finished_rows_do_not_run_again() -> None:
    def answer(payload: bytes, timeout: float) -> bytes:
        worker.clock.move(6)  # every row is flushed
        if row_of(payload) == 4 and not worker.leases.killed:
            worker.leases.killed = True
            raise KilledError
        return echo(payload, timeout)

    worker = Worker(answer, threads=1)
    began_ms = worker.clock.now_ms()
    with pytest.raises(KilledError):
        worker.run()

    waits = []
    while (response := worker.run()).come_again_in_seconds:
        waits.append(response.come_again_in_seconds)
        run = worker.runs.get(EXECUTION)
        assert run is not None
        assert run.waiting_until is not None
        assert int(run.waiting_until.timestamp() * 1000) == began_ms + 902_000
        worker.clock.move(response.come_again_in_seconds)

    assert worker.clock.now_ms() - began_ms >= 902_000
    assert max(waits) == 60
    assert response.succeeded == 4
    rows = [row_of(payload) for _, payload, _ in worker.invoker.calls]
    assert rows == [1, 2, 3, 4, 4, 5, 6, 7], "only the call in flight at the kill is repeated"
    assert [record["row"] for record in worker.records] == [1, 2, 3, 4, 5, 6, 7]


def test_rows_count_live_and_a_failing_table_of_runs_neither_fails_nor_repeats_one() -> None:
    worker = Worker(
        lambda payload, timeout: thrown_error("Boom", "x") if row_of(payload) == 2 else echo(payload), batch_size=3
    )
    worker.run(1, 3)
    run = worker.runs.get(EXECUTION)
    assert run is not None
    assert run.counts.model_copy(update={"worker_ms": 0}) == Counts(succeeded=2, failed=1, attempts=5, worker_calls=1)

    worker.runs.broken = ServiceUnavailableError("dynamodb is away")
    assert worker.run(4, 7).succeeded == 4
    assert len(worker.invoker.calls) == 9


def test_a_long_input_is_named_in_its_dead_letter_not_copied() -> None:
    worker = Worker(
        lambda *_: thrown_error("Boom", "e" * 990),
        rows=[["1", "x" * 198_900]],
        execution_config={"retry_policy": {"max_attempts": 1}},
    )

    worker.run()

    letter = worker.dead_letters.letters[0]
    assert letter["input_s3_uri"] == f"s3://results/{KEYS.oversized}000000000001.json"
    assert "input" not in letter
    assert orjson.loads(worker.store.objects[f"{KEYS.oversized}000000000001.json"])["id"] == "1"


def test_an_express_agent_is_called_by_the_agents_protocol() -> None:
    def agent(payload: bytes, _: float) -> bytes:
        sent = orjson.loads(payload)
        assert sent["batchContext"] == {"executionId": "run-1", "rowId": "1", "totalRows": 1}
        return orjson.dumps({"result": "Success", "data": sent["input"], "metadata": {}})

    worker = Worker(agent, rows=ROWS[:1], invocation="express")

    assert worker.run().succeeded == 1
    assert "text 1" in worker.records[0]["csv"]


def test_integers_beyond_64_bits_in_an_answer_stay_exact() -> None:
    worker = Worker(lambda *_: b'{"n": 123456789012345678901234567890}', rows=ROWS[:1])

    worker.run()

    (key,) = [stored.key for stored in worker.store.list_objects(KEYS.rows)]
    assert b"123456789012345678901234567890" in worker.store.objects[key]
