"""Every row exactly once and in order, whatever the workers left and wherever the aggregator is stopped."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import ServiceUnavailableError
from row_batches.document.plan import Concurrency, Plan, Source
from row_batches.files import result_file
from row_batches.files.staged_copy import staged_header
from row_batches.rows import s3 as rows_in_s3
from row_batches.rows.records import RowStatus
from row_batches.rows.work import Brake
from row_batches.run import aggregate_results as module
from row_batches.run import letters
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batches
from row_batches.run.end_messages import AggregateAction, AggregateRequest, AggregateResponse, EndedRun, ExecutionStatus
from row_batches.run.runs import AGGREGATION_PART, Counts, Live, Run, RunState, lease_name, rows_part
from row_batches.targets.protocol import Outcome
from tests.support.batches import KEYS, WorkStore, json_of, make_plan, open_batch, staged_items, write_finished
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeLeases,
    FakeMetrics,
    FakeOwnership,
    FakeRedrives,
    FakeRuns,
    KilledError,
)


def rows_of(count: int) -> list[list[str]]:
    return [[f"{number:04d}", f'text, "{number}"\nsecond line'] for number in range(1, count + 1)]


def ended(clock: FakeClock, status: str = "ABORTED", **fields: Any) -> EndedRun:
    """The end of the run, now, as the finishing machine hands it on."""
    return EndedRun(
        execution_arn="arn:aws:states:us-east-1:000000000000:execution:batch-processor:run-1",
        execution="run-1",
        plan_key=KEYS.plan,
        status=ExecutionStatus(status),
        **{"ended_ms": clock.now_ms(), "batch_name": "echo", "target": "echo", **fields},
    )


class Aggregator:
    """An aggregator with fakes around it."""

    def __init__(self, rows: Sequence[Sequence[str]], **document: Any) -> None:
        self.rows = rows
        self.store = WorkStore(smallest_part=0)
        self.plan: Plan = make_plan(rows, store=self.store, **document)
        self.dead_letters = FakeDeadLetters()
        self.metrics = FakeMetrics()
        self.clock = FakeClock()
        self.deadline = FakeDeadline()
        self.leases = FakeLeases(self.clock)
        self.redrives = FakeRedrives()
        self.runs = FakeRuns()
        self.runs.start(Run.of_plan(self.plan))

    def write(self, first: int, last: int, failed: Sequence[int] = ()) -> None:
        rows = [(row, self.rows[row - 1]) for row in range(first, last + 1)]
        write_finished(self.plan, self.store, rows, failed)

    def pull_brake(self, error: str = "StoppedError", message: str = "") -> None:
        open_batch(self.plan, self.store).work.pull_brake(Brake("stopped by hand", error, message))

    def call(
        self,
        action: AggregateAction = AggregateAction.AGGREGATE,
        manifests: Sequence[str] = (),
        ended: EndedRun | None = None,
    ) -> AggregateResponse:
        return aggregate_results(
            AggregateRequest(action=action, plan_key=KEYS.plan, manifests=list(manifests), ended=ended),
            batches=Batches(self.store, self.clock),
            dead_letters=self.dead_letters,
            metrics=self.metrics,
            ownership=FakeOwnership(self.clock, self.leases, self.runs),
            redrives=self.redrives,
            clock=self.clock,
            deadline=self.deadline,
        )

    @property
    def run(self) -> Run:
        """The run as the table of runs has it."""
        run = self.runs.get(self.plan.execution.name)
        assert run is not None
        return run

    @property
    def output(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.store.objects[KEYS.output].decode(), newline="")))

    @property
    def failed_rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.store.objects[KEYS.failed_rows].decode(), newline="")))

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json_of(self.store.objects[KEYS.summary])
        return summary

    def assert_every_row_once(self) -> None:
        assert [[row["id"], row["text"]] for row in self.output] == list(self.rows)
        assert [row["_row_id"] for row in self.output] == [str(row) for row in range(1, len(self.rows) + 1)]


def test_rows_objects_become_output_failed_rows_and_summary() -> None:
    aggregator = Aggregator(rows_of(6))
    aggregator.write(1, 2)
    aggregator.write(3, 6, failed=[5])

    response = aggregator.call()

    aggregator.assert_every_row_once()
    assert [row["_status"] for row in aggregator.output] == ["SUCCESS"] * 4 + ["FAILED", "SUCCESS"]
    (failed,) = aggregator.failed_rows
    assert list(failed.items()) == [
        ("id", "0005"),
        ("text", aggregator.rows[4][1]),
        ("_error_message", "Boom: it broke"),
        ("_execution_id", "run-1"),
        ("_row_id", "5"),
    ]
    assert response.done
    assert response.error is None
    document = response.document or {}
    assert set(document) == {
        "status",
        "output_s3_uri",
        "outputs",
        "delivery",
        "failed_rows_s3_uri",
        "summary_s3_uri",
        "total_rows",
        "succeeded",
        "failed",
        "timed_out",
        "not_attempted",
        "skipped",
        "proof",
        "duration_seconds",
        "cost",
    }
    assert (document["status"], document["succeeded"], document["failed"]) == ("SUCCEEDED_WITH_FAILURES", 5, 1)
    assert document["output_s3_uri"] == f"s3://results/{KEYS.output}"
    assert document["outputs"] == {"csv": f"s3://results/{KEYS.output}"}
    assert aggregator.summary["first_failures"] == [{"row": 5, "status": "FAILED", "error": "Boom: it broke"}]
    (cause,) = aggregator.summary["failures_by_cause"]
    assert (cause["error"], cause["message"], cause["count"], cause["rows"]) == ("Boom", "it broke", 1, [5])
    assert [cause.model_dump() for cause in aggregator.run.causes] == [
        {name: cause[name] for name in ("error", "message", "count", "rows")}
    ]
    assert aggregator.store.tags[KEYS.output] == {"execution_id": "run-1", "batch_name": "echo", "target": "echo"}


def test_a_batch_without_rows_gives_an_empty_output() -> None:
    aggregator = Aggregator([])

    response = aggregator.call()

    assert (response.document or {})["status"] == "SUCCEEDED"
    assert aggregator.output == []
    assert aggregator.failed_rows == []


def test_metrics_have_the_target_and_the_peak_of_rows_in_flight() -> None:
    aggregator = Aggregator(rows_of(4))
    aggregator.write(1, 4, failed=[2])  # 1.5 s each, 100 ms apart: all are in flight at the next full second

    aggregator.call()

    ((target, values),) = aggregator.metrics.sets
    assert target == "echo"
    assert values["RowsProcessed"] == (4, "Count")
    assert values["RowsFailed"] == (1, "Count")
    assert values["ConcurrentExecutions"] == (4, "Count")
    assert set(values) == {"RowsProcessed", "RowsFailed", "ProcessingTime", "ConcurrentExecutions", "EstimatedCostUSD"}


def test_the_summary_has_the_configuration_that_held_and_where_each_value_comes_from() -> None:
    aggregator = Aggregator(rows_of(1), execution_config={"timeout_seconds": 45, "storage_mode": "auto"})
    sources = {
        "execution_config.timeout_seconds": Source.DOCUMENT,
        "execution_config.storage_mode": Source.DEPLOYMENT,
    }
    aggregator.plan = aggregator.plan.model_copy(update={"sources": sources})
    aggregator.store.put(KEYS.plan, aggregator.plan.model_dump_json().encode())
    aggregator.write(1, 1)

    aggregator.call()

    held = aggregator.summary["effective_config"]
    assert held["execution_config.timeout_seconds"] == {"value": 45, "source": "document"}
    assert held["execution_config.storage_mode"] == {"value": "auto", "source": "deployment"}
    assert held["execution_config.batch_size"] == {"value": 100, "source": "default"}
    assert held["output_mapping.extraction_methods"] == {"value": [], "source": "default"}


class LostMetrics(FakeMetrics):
    def put(self, target: str, values: dict[str, tuple[float, str]]) -> None:
        raise ServiceUnavailableError("the metrics could not be written")


def test_a_queue_and_metrics_that_are_away_for_the_whole_batch_cost_no_row_and_the_letters_are_named() -> None:
    aggregator = Aggregator(rows_of(4))
    aggregator.write(1, 4, failed=[2])
    aggregator.dead_letters.is_away = True
    aggregator.metrics = LostMetrics()

    assert aggregator.call().done

    aggregator.assert_every_row_once()
    assert aggregator.summary["succeeded"] == 3
    (warning,) = [text for text in aggregator.summary["warnings"] if "dead-letter queue" in text]
    assert "2" in warning


def test_rows_written_twice_are_taken_once() -> None:
    aggregator = Aggregator(rows_of(9))
    for first, last in [(1, 4), (2, 3), (3, 6), (5, 5), (6, 9), (7, 8)]:
        aggregator.write(first, last)

    aggregator.call()

    aggregator.assert_every_row_once()


def test_a_row_that_was_never_written_fails_with_its_childs_error_and_gets_a_dead_letter() -> None:
    aggregator = Aggregator(rows_of(5))
    aggregator.write(1, 2)
    aggregator.write(4, 4)
    child_input = orjson.dumps({"BatchInput": {}, "Items": staged_items(aggregator.rows[2:3], 3)}).decode()
    failed = [{"Input": child_input, "Error": "Lambda.Unknown", "Cause": '{"errorMessage": "killed"}', "Name": "x"}]
    aggregator.store.put("map/FAILED_0.json", orjson.dumps(failed))
    manifest = {"ResultFiles": {"FAILED": [{"Key": "map/FAILED_0.json", "Size": 1}], "PENDING": [], "SUCCEEDED": []}}
    aggregator.store.put("map/manifest.json", orjson.dumps(manifest))

    aggregator.call(manifests=["map/manifest.json"])

    aggregator.assert_every_row_once()
    messages = [row["_error_message"] for row in aggregator.output if row["_status"] == "FAILED"]
    assert messages == ["the child workflow died: Lambda.Unknown: killed", module.CHILD_DIED]
    assert [letter["row"] for letter in aggregator.dead_letters.letters] == [3, 5]
    assert (aggregator.summary["failed"], aggregator.summary["died"]) == (2, 2)
    assert [(cause["error"], cause["rows"]) for cause in aggregator.summary["failures_by_cause"]] == [
        ("ChildDiedError", [3]),
        ("ChildDiedError", [5]),
    ]
    assert aggregator.summary["not_attempted"] == 0


def test_rows_behind_a_pulled_brake_are_not_attempted_and_get_no_dead_letter() -> None:
    aggregator = Aggregator(rows_of(5))
    aggregator.write(2, 3)
    aggregator.pull_brake()

    response = aggregator.call()

    aggregator.assert_every_row_once()
    messages = [row["_error_message"] for row in aggregator.failed_rows]
    assert messages == ["not started: stopped by hand"] * 3
    assert not aggregator.dead_letters.letters
    assert response.error is not None
    assert response.error.Error == "StoppedError"
    assert orjson.loads(response.error.Cause) == response.document
    assert (response.document or {})["status"] == "FAILED"
    assert aggregator.summary["status"] == "STOPPED"


def test_a_fault_of_the_deployment_fails_the_run_by_name_with_what_was_denied() -> None:
    aggregator = Aggregator(rows_of(2))
    aggregator.pull_brake("DeploymentError", "lambda:InvokeFunction on x was denied")

    response = aggregator.call()

    assert response.error is not None
    assert (response.error.Error, response.error.Cause) == ("DeploymentError", "lambda:InvokeFunction on x was denied")
    aggregator.assert_every_row_once()


@pytest.mark.parametrize(
    "execution_config",
    [{"continue_on_error": False}, {"stop_after": {"failed_rows": 1}}, {"stop_after": {"failed_percent": 30}}],
)
def test_a_limit_of_failed_rows_fails_the_run_even_if_its_last_row_reached_it(execution_config: dict[str, Any]) -> None:
    aggregator = Aggregator(rows_of(3), execution_config=execution_config)
    aggregator.write(1, 3, failed=[3])

    response = aggregator.call()

    assert response.error is not None
    assert response.error.Error == "RowFailedError"
    assert orjson.loads(response.error.Cause)["failed"] == 1


def test_a_second_call_after_the_end_answers_the_same_and_writes_nothing() -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.write(1, 3)
    first = aggregator.call()
    writes = len(aggregator.store.writes)

    assert aggregator.call() == first
    assert len(aggregator.store.writes) == writes


def test_a_call_without_time_says_so_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_file, "PART_BYTES", 100)
    aggregator = Aggregator(rows_of(6))
    for row in (1, 2, 4, 6):
        aggregator.write(row, row)
    aggregator.deadline = FakeDeadline(900, 900, 100)

    assert not aggregator.call().done
    assert KEYS.output not in aggregator.store.objects

    aggregator.deadline = FakeDeadline()
    assert aggregator.call().done
    aggregator.assert_every_row_once()


@pytest.mark.parametrize(
    "document",
    [{}, {"output_format": {"type": ["jsonl", "xlsx"]}}],
    ids=["csv", "formats"],
)
def test_each_checkpoint_for_a_later_call_names_uploads_as_the_release_before_needs_them(
    document: dict[str, Any],
) -> None:
    aggregator = Aggregator(rows_of(2), **document)
    aggregator.write(1, 2)
    calls = 0

    done = False
    while not done:
        # One more question about the time is answered with yes in each call.
        aggregator.deadline = FakeDeadline(*[900] * (calls + 1), 100)
        done = aggregator.call().done
        calls += 1
        if not done:
            checkpoint = json_of(aggregator.store.objects[KEYS.checkpoint])
            files = [checkpoint[name] for name in ("output", "failed_rows", "proof_rows")]
            files += [file for written in checkpoint["formats"].values() for file in written["files"]]
            assert all(file["upload_id"] for file in files)

    assert calls > 1
    aggregator.assert_every_row_once()


@settings(max_examples=60)
@given(data=st.data())
def test_killed_at_any_write_and_called_again_it_ends_with_the_same_files(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12), "rows")
    failed = data.draw(st.sets(st.integers(1, count)), "failed rows")
    ranges = data.draw(st.lists(st.tuples(st.integers(1, count), st.integers(1, 4)), max_size=8), "objects")
    part_bytes = data.draw(st.sampled_from([1, 150, 400, 100_000]), "part size")
    braked = data.draw(st.booleans(), "brake")
    formats = data.draw(st.sampled_from(["csv", "jsonl", "xlsx", "parquet"]), "format")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_file, "PART_BYTES", part_bytes)
        patch.setattr(module, "GAP_ROWS_AT_ONCE", 2)
        patch.setattr(rows_in_s3, "GROUP_OBJECTS", data.draw(st.integers(1, 3), "objects at once"))

        def prepare() -> Aggregator:
            aggregator = Aggregator(rows_of(count), output_format={"type": formats})
            for first, length in ranges:
                aggregator.write(first, min(first + length - 1, count), sorted(failed))
            if braked:
                aggregator.pull_brake()
            return aggregator

        undisturbed = prepare()
        expected = undisturbed.call()
        kills = data.draw(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=6), "kills")
        aggregator = prepare()
        for further_writes, after in kills:
            aggregator.store.kill_at = len(aggregator.store.writes) + further_writes
            aggregator.store.kill_after_write = after
            aggregator.leases.killed = True
            with contextlib.suppress(KilledError):
                aggregator.call()
            aggregator.leases.leases.clear()  # what it held has ended; no time passes, so that the files are equal
        aggregator.store.kill_at = None

        assert aggregator.call() == expected
        aggregator.assert_every_row_once()
        results = {key for key in undisturbed.store.objects if key.startswith(KEYS.results)}
        assert results == {key for key in aggregator.store.objects if key.startswith(KEYS.results)}
        for key in results:
            assert aggregator.store.objects[key] == undisturbed.store.objects[key]


def test_gaps_are_found_from_the_listing_and_staged_for_a_second_pass() -> None:
    aggregator = Aggregator(rows_of(9))
    aggregator.write(2, 3)
    aggregator.write(3, 5)
    aggregator.write(8, 8)

    response = aggregator.call(AggregateAction.FIND_MISSING)

    assert response.missing == 4
    assert response.max_concurrency == aggregator.plan.concurrency.children * aggregator.plan.concurrency.threads
    assert response.missing_input is not None
    staged = aggregator.store.versions[KEYS.missing, response.missing_input.version_id]
    original = aggregator.store.objects[KEYS.staged]
    assert staged.startswith(staged_header(2))
    wanted = [line for line in original.split(b'\n"')[1:] if line.split(b'"')[0] in (b"1", b"6", b"7", b"9")]
    assert staged == staged_header(2) + b"".join(b'"' + line.rstrip(b"\n") + b"\n" for line in wanted)


@pytest.mark.parametrize(
    ("rate", "threads", "live", "children"),
    [
        (None, 2, Live(), 20),
        (None, 2, Live(max_concurrency=3), 3),
        (None, 2, Live(max_concurrency=1_000), 20),
        (None, 1, Live(max_concurrency=1_000), 1_000),
        (None, 2, Live(rows_per_minute=60), 10),
        (None, 2, Live(rows_per_minute=60, max_concurrency=4), 4),
        (60, 2, Live(), 10),
    ],
)
def test_the_second_pass_uses_what_the_run_may_use_by_now(
    rate: float | None, threads: int, live: Live, children: int
) -> None:
    aggregator = Aggregator(rows_of(9), execution_config={"rate": {"rows_per_minute": rate}} if rate else {})
    concurrency = Concurrency(children=10, threads=threads, batch_size=1)
    plan = aggregator.plan.model_copy(update={"concurrency": concurrency})
    aggregator.store.put(KEYS.plan, plan.model_dump_json().encode())
    assert aggregator.runs.set_live("run-1", live)

    assert aggregator.call(AggregateAction.FIND_MISSING).max_concurrency == children


def test_nothing_is_missing_when_every_row_is_written_and_the_input_is_not_read() -> None:
    aggregator = Aggregator(rows_of(4))
    aggregator.write(1, 4)

    assert aggregator.call(AggregateAction.FIND_MISSING).missing == 0
    assert KEYS.staged not in aggregator.store.reads


def test_rows_that_have_an_owner_are_waited_for_before_they_run_a_second_time() -> None:
    aggregator = Aggregator(rows_of(4))
    aggregator.leases.acquire(lease_name("run-1"), "a killed worker", 100, rows_part(1))

    assert aggregator.call(AggregateAction.FIND_MISSING) == AggregateResponse(done=False, come_again_in_seconds=60)
    run = aggregator.runs.get("run-1")
    assert run is not None
    assert run.waiting_until is not None
    aggregator.clock.move(60)
    assert aggregator.call(AggregateAction.FIND_MISSING).come_again_in_seconds == 40
    aggregator.clock.move(41)
    aggregator.write(1, 1)
    assert aggregator.call(AggregateAction.FIND_MISSING).missing == 3


def test_rows_in_flight_behind_the_brake_are_waited_for_before_the_output_is_written() -> None:
    aggregator = Aggregator(rows_of(4))
    aggregator.pull_brake()
    aggregator.leases.acquire(lease_name("run-1"), "a worker", 100, rows_part(1))

    assert aggregator.call(AggregateAction.FIND_MISSING) == AggregateResponse(done=False, come_again_in_seconds=60)

    aggregator.write(1, 2)
    aggregator.leases.release(lease_name("run-1"), "a worker", rows_part(1))
    assert aggregator.call(AggregateAction.FIND_MISSING) == AggregateResponse()


def test_a_second_call_leaves_the_aggregation_to_its_owner_until_that_one_has_been_waited_out() -> None:
    aggregator = Aggregator(rows_of(2))
    aggregator.write(1, 2)
    aggregator.leases.acquire(lease_name("run-1"), "a killed aggregator", 30, AGGREGATION_PART)

    assert aggregator.call() == AggregateResponse(done=False, come_again_in_seconds=30)
    assert KEYS.output not in aggregator.store.objects
    aggregator.clock.move(31)
    assert aggregator.call().done
    assert not aggregator.leases.held(lease_name("run-1"))


def test_the_end_of_a_run_is_kept_with_its_counts_corrected_from_the_rows() -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.runs.count("run-1", Counts(succeeded=7))
    aggregator.write(1, 3, failed=[2])

    document = aggregator.call().document

    run = aggregator.runs.get("run-1")
    assert run is not None
    assert document is not None
    assert (run.state, run.error, run.summary_key) == (RunState.SUCCEEDED_WITH_FAILURES, "", KEYS.summary)
    assert run.counts == Counts(succeeded=2, failed=1, attempts=3)
    assert run.cost_usd == document["cost"]["total_usd"]


def test_an_output_is_complete_without_the_table_of_runs_to_note_it() -> None:
    aggregator = Aggregator(rows_of(1))
    aggregator.write(1, 1)
    aggregator.runs.broken = ServiceUnavailableError("dynamodb is away")

    assert aggregator.call().done
    aggregator.assert_every_row_once()


def test_nothing_is_recovered_once_the_brake_is_pulled() -> None:
    aggregator = Aggregator(rows_of(4))
    aggregator.pull_brake()

    assert aggregator.call(AggregateAction.FIND_MISSING).missing == 0


def test_the_aggregation_of_a_stopped_run_keeps_apart_from_one_that_was_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(result_file, "PART_BYTES", 100)
    aggregator = Aggregator(rows_of(4))
    monkeypatch.setattr(rows_in_s3, "GROUP_OBJECTS", 1)
    for row in (1, 2, 3):
        aggregator.write(row, row)
    aggregator.deadline = FakeDeadline(900, 900, 100)
    assert not aggregator.call().done
    aggregator.deadline = FakeDeadline()
    aggregator.pull_brake()

    assert aggregator.call(ended=ended(aggregator.clock)).done

    aggregator.assert_every_row_once()
    assert aggregator.output[3]["_error_message"] == "not started: stopped by hand"


def test_a_gap_of_large_rows_is_uploaded_and_its_letters_are_sent_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_file, "PART_BYTES", 2_000)
    monkeypatch.setattr(letters, "MOST_LETTER_BYTES", 2_000)
    aggregator = Aggregator([[f"{row}", "x" * 1_000] for row in range(1, 51)])
    most_letters = most_part = 0

    class Queue(FakeDeadLetters):
        def send(self, letters: Any) -> None:
            nonlocal most_letters
            most_letters = max(most_letters, len(letters))
            super().send(letters)

    original = aggregator.store.upload_part

    def upload_part(key: str, upload_id: str, number: int, body: bytes) -> str:
        nonlocal most_part
        most_part = max(most_part, len(body))
        return original(key, upload_id, number, body)

    aggregator.store.upload_part = upload_part  # type: ignore[method-assign]
    aggregator.dead_letters = Queue()

    aggregator.call()

    aggregator.assert_every_row_once()
    assert len(aggregator.dead_letters.letters) == 50
    assert most_letters <= 3
    assert most_part < 4_000


def test_values_that_could_not_be_cast_are_a_warning() -> None:
    columns = [{"name": "n", "source": "$[0]", "type": "number", "default": 0}]
    aggregator = Aggregator([["word", "x"]], output_mapping={"columns": columns})
    aggregator.write(1, 1)

    aggregator.call()

    assert aggregator.output[0]["n"] == "0"
    assert aggregator.summary["cast_failures"] == 1
    (column,) = aggregator.summary["cast_failures_by_column"].items()
    assert column == ("n", {"count": 1, "sample": '"word"'})
    (warning,) = [warning for warning in aggregator.summary["warnings"] if "could not be cast" in warning]
    assert warning.endswith("hold its default instead: n 1 (samples in cast_failures_by_column)")


def test_what_was_odd_about_answers_and_what_they_used_is_summed_up() -> None:
    aggregator = Aggregator(rows_of(4))
    batch = open_batch(aggregator.plan, aggregator.store)
    usage = {"nova": {"input_tokens": 10, "output_tokens": 2, "cost_usd": 0.25}}
    for rows in ([1, 2], [2, 3], [4]):  # row 2 was written twice
        finished = [
            batch.finish(
                row,
                aggregator.rows[row - 1],
                Outcome(RowStatus.SUCCESS, "text", "text", notes={} if row == 4 else {"off_protocol": 1}),
                row_hash="h",
                attempts=1,
                started_ms=0,
                ended_ms=0,
                usage=None if row == 4 else {model: dict(used) for model, used in usage.items()},
            )
            for row in rows
        ]
        batch.rows.write(finished)

    aggregator.call()

    assert aggregator.summary["notes"] == {"off_protocol": 3}
    assert any(warning.startswith("3 answers do not follow") for warning in aggregator.summary["warnings"])
    assert aggregator.summary["off_protocol"] == {"count": 3, "example_row": 1, "example": '"text"'}
    totals = {"input_tokens": 30, "output_tokens": 6, "cost_usd": 0.75}
    assert aggregator.summary["usage"] == totals | {"by_model": {"nova": totals}}
