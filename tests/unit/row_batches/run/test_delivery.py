"""Results are copied to the user's folder completely, once complete, and never at the cost of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from foundation.errors import (
    DeliveryError,
    InvalidInputError,
    PermanentError,
    RetryableError,
    ServiceUnavailableError,
    ThrottledError,
)
from row_batches.document.plan import Plan
from row_batches.files import parquet_output, result_table
from row_batches.run import delivery, remap
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batches
from row_batches.run.delivery import MOST_TRIES
from row_batches.run.destination import delivered_names, remapped_names
from row_batches.run.end_messages import AggregateAction, AggregateRequest, AggregateResponse, EndedRun, ExecutionStatus
from tests.support.batches import EXECUTION, KEYS, WorkStore, make_plan, write_finished
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeMetrics,
    FakeOutputObjects,
    FakeOwnership,
    FakeRedrives,
    KilledError,
)

FOLDER = "s3://theirs/out/run-1/"
FILES = ["output.csv", "failed_rows.csv", "proof_rows.b64", "proof.json", "summary.json"]


class Deadline:
    def __init__(self) -> None:
        self.seconds = 900.0

    def remaining_seconds(self) -> float:
        return self.seconds


class Run:
    """A run of three rows, all finished, whose document wants the results in a bucket of the user's."""

    def __init__(self, uri: str | None = "s3://theirs/out/", text: str = "a", **document: Any) -> None:
        self.store = WorkStore(smallest_part=0)
        rows = [["1", text], ["2", text], ["3", text]]
        self.plan: Plan = make_plan(rows, store=self.store, output_s3_uri=uri, **document)
        write_finished(self.plan, self.store, [(row, rows[row - 1]) for row in (1, 2, 3)], [2])
        self.outputs = FakeOutputObjects(self.store)
        self.deadline = Deadline()
        self.clock = FakeClock()
        self.calls = 0

    def step(self, ended: EndedRun | None = None) -> AggregateResponse:
        return aggregate_results(
            AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=KEYS.plan, manifests=[], ended=ended),
            batches=Batches(self.store, self.clock, outputs=lambda: self.outputs),
            dead_letters=FakeDeadLetters(),
            metrics=FakeMetrics(),
            ownership=FakeOwnership(self.clock),
            redrives=FakeRedrives(),
            clock=self.clock,
            deadline=self.deadline,
        )

    def end(self) -> dict[str, Any]:
        """Put the output together; returns the execution's output."""
        response = self.step()
        assert response.done
        assert response.document is not None
        return response.document

    @property
    def summary(self) -> Any:
        return orjson.loads(self.store.objects[KEYS.summary])

    def delivered(self, folder: str = "out/run-1/") -> dict[str, bytes]:
        return {key.removeprefix(folder): body for (_, key), body in self.outputs.objects.items()}

    def ours(self, names: Sequence[str]) -> dict[str, bytes]:
        return {name: self.store.objects[KEYS.results + name] for name in names}


def test_each_file_of_the_results_is_copied_and_the_summary_comes_last() -> None:
    run = Run()

    document = run.end()

    assert run.delivered() == run.ours(FILES)
    assert run.outputs.written == [f"out/run-1/{name}" for name in FILES]
    assert document["delivery"] == {"s3_uri": FOLDER, "status": "COPIED", "reason": ""}
    assert document["output_s3_uri"] == f"s3://results/{KEYS.output}", "ours stay where they are"
    assert run.summary["delivery"] == document["delivery"]
    assert run.summary["warnings"] == []


@pytest.mark.parametrize("uri", ["s3://theirs", "s3://theirs/"])
def test_the_folder_can_be_the_bucket_itself(uri: str) -> None:
    run = Run(uri)

    assert run.end()["delivery"]["s3_uri"] == "s3://theirs/run-1/"
    assert set(run.delivered("run-1/")) == set(FILES)


def test_every_format_is_copied_with_each_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_output, "PART_BYTES", 1)
    monkeypatch.setattr(result_table, "BLOCK_BYTES", 1)
    run = Run(text="a" * 5_000, output_format={"type": ["csv", "xlsx", "jsonl", "parquet"]})

    run.end()

    others = ["output.xlsx", "output.jsonl", *(f"output/part-{part:05d}.parquet" for part in (1, 2, 3))]
    assert run.delivered() == run.ours([*FILES, *others])
    named = delivered_names(KEYS, run.plan.config.output_format.types)
    assert {name.removeprefix("run-1/") for name in named if "remapped" not in name} == {
        *FILES,
        *(name for name in others if not name.endswith(("2.parquet", "3.parquet"))),
    }


def test_a_run_without_a_destination_copies_nothing() -> None:
    run = Run(None)

    assert run.end()["delivery"] is None
    assert run.outputs.objects == {}


def test_a_large_file_is_copied_in_parts_over_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PART_BYTES", 100)
    run = Run()
    parts = _deadline_after_each_copy(run, monkeypatch)

    steps = 1
    while not run.step().done:
        steps += 1

    assert run.delivered() == run.ours(FILES)
    assert steps > len(parts) > 3
    assert run.outputs.open_uploads == []


def test_while_files_are_copied_the_checkpoint_names_uploads_as_the_release_before_needs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "PART_BYTES", 100)
    run = Run()
    _deadline_after_each_copy(run, monkeypatch)

    assert not run.step().done

    checkpoint = orjson.loads(run.store.objects[KEYS.checkpoint])
    assert all(checkpoint[name]["upload_id"] for name in ("output", "failed_rows", "proof_rows"))


def _deadline_after_each_copy(run: Run, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let each call of the aggregator end after the next part. Returns the list that gets their numbers."""
    parts = []
    copy_part = run.outputs.copy_part

    def copy(key: str, place: Any, upload_id: str, number: int, first: int, end: int) -> str:
        parts.append(number)
        run.deadline.seconds = 0
        return copy_part(key, place, upload_id, number, first, end)

    step = run.step

    def step_in_time() -> AggregateResponse:
        run.deadline.seconds = 900
        return step()

    monkeypatch.setattr(run.outputs, "copy_part", copy)
    monkeypatch.setattr(run, "step", step_in_time)
    return parts


@pytest.mark.parametrize("kill_at", range(1, 14))
def test_a_call_that_is_killed_anywhere_is_made_up_for(kill_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PART_BYTES", 100)
    run = Run()
    for name in ("copy", "start_upload", "copy_part", "complete_upload", "put"):
        monkeypatch.setattr(run.outputs, name, _killed(getattr(run.outputs, name), run, kill_at))

    with pytest.raises(KilledError):
        run.step()
    run.end()

    assert run.delivered() == run.ours(FILES)


def _killed(act: Any, run: Run, kill_at: int) -> Any:
    """The same call; the function is killed right after the ``kill_at``-th of all of them, before it can note it."""

    def call(*arguments: Any) -> Any:
        result = act(*arguments)
        run.calls += 1
        if run.calls == kill_at:
            raise KilledError
        return result

    return call


REFUSED = DeliveryError("s3:PutObject is denied", "let the bucket's policy allow it")
AWAY, SLOW = ServiceUnavailableError("S3 is away."), ThrottledError("S3 asks for a slower pace.")


@pytest.mark.parametrize("error", [AWAY, SLOW])
@pytest.mark.parametrize("fault_at", range(14))
def test_a_fault_that_passes_does_not_give_the_copy_up_wherever_it_comes(
    error: Exception, fault_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PART_BYTES", 100)
    run = Run()
    for name in ("size", "copy", "start_upload", "copy_part", "complete_upload", "put"):
        monkeypatch.setattr(run.outputs, name, _failing_once(getattr(run.outputs, name), run, fault_at, error))

    with pytest.raises(type(error)):
        run.step()
    document = run.end()

    assert document["delivery"]["status"] == "COPIED"
    assert run.delivered() == run.ours(FILES)
    assert run.outputs.open_uploads == []


def _failing_once(act: Any, run: Run, fault_at: int, error: Exception) -> Any:
    """The same call, but the one with this number of all of them raises the error instead."""

    def call(*arguments: Any) -> Any:
        run.calls += 1
        if run.calls - 1 == fault_at:
            raise error
        return act(*arguments)

    return call


def test_faults_between_progress_are_counted_together_so_that_the_run_never_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(output_format={"type": ["csv", "xlsx", "jsonl", "parquet"]})
    copy = run.outputs.copy

    def fail_every_other_time(*arguments: Any) -> None:
        run.calls += 1
        if run.calls % 2:
            raise SLOW
        copy(*arguments)

    monkeypatch.setattr(run.outputs, "copy", fail_every_other_time)
    for _ in range(MOST_TRIES - 1):
        with pytest.raises(ThrottledError):
            run.step()

    assert run.end()["delivery"]["status"] == "FAILED"


def test_while_a_redriven_run_replaces_the_copies_the_summary_of_its_earlier_ending_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run()
    stopped = EndedRun(
        execution_arn=f"arn:aws:states:us-east-1:123456789012:execution:m:{EXECUTION}",
        execution=EXECUTION,
        plan_key=KEYS.plan,
        status=ExecutionStatus.ABORTED,
        ended_ms=run.clock.now_ms() - 1,
        batch_name="b",
    )
    run.step(ended=stopped)
    earlier = run.delivered()
    copy = run.outputs.copy
    seen = []

    def look(key: str, place: Any) -> None:
        seen.append(orjson.loads(run.delivered()["summary.json"])["status"])
        copy(key, place)

    monkeypatch.setattr(run.outputs, "copy", look)

    run.end()

    assert set(seen) == {"STOPPED"}
    assert orjson.loads(run.delivered()["summary.json"])["status"] == "SUCCEEDED_WITH_FAILURES"
    assert run.delivered() == run.ours(FILES) != earlier
    assert run.outputs.written[-1] == "out/run-1/summary.json"


@pytest.mark.parametrize("error", [REFUSED, PermanentError("S3 refuses it."), AWAY, SLOW])
def test_a_copy_that_fails_for_good_is_a_warning_and_the_run_succeeds(error: Exception) -> None:
    run = Run()
    run.outputs.refusal = error
    if isinstance(error, RetryableError):
        for _ in range(MOST_TRIES - 1):
            with pytest.raises(type(error)):
                run.step()

    document = run.end()

    assert document["status"] == "SUCCEEDED_WITH_FAILURES"
    assert (document["delivery"]["s3_uri"], document["delivery"]["status"]) == (FOLDER, "FAILED")
    assert str(error).rstrip(".") in document["delivery"]["reason"]
    (warning,) = run.summary["warnings"]
    assert warning.startswith(f"The results were not copied to {FOLDER}: {document['delivery']['reason']}.")
    assert f"aws s3 cp --recursive 's3://results/{KEYS.results}' '{FOLDER}'" in warning


def test_parts_of_a_copy_that_was_given_up_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PART_BYTES", 100)
    run = Run()

    def refuse(*_: Any) -> str:
        raise REFUSED

    monkeypatch.setattr(run.outputs, "copy_part", refuse)

    assert run.end()["delivery"]["status"] == "FAILED"
    assert run.outputs.open_uploads == []


def test_a_summary_that_cannot_be_copied_says_so_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    put = run.outputs.put

    def refuse_the_summary(place: Any, body: bytes) -> None:
        if place.key.endswith("summary.json"):
            raise REFUSED
        put(place, body)

    monkeypatch.setattr(run.outputs, "put", refuse_the_summary)

    assert run.end()["delivery"]["status"] == "FAILED"
    assert run.summary["delivery"]["status"] == "FAILED"
    assert "summary.json" not in run.delivered()


def test_a_remapped_output_is_copied_in_all_its_formats_beside_the_first() -> None:
    run = Run(output_format={"type": ["csv", "jsonl"]})
    run.end()
    run.outputs.objects.clear()

    remapped = remap.remap(
        EXECUTION, {"output_mapping": {}}, objects=run.store, clock=run.clock, outputs=lambda: run.outputs
    )

    folder = remapped.key.removeprefix(KEYS.results).removesuffix("output.csv")
    names = [f"{folder}output.csv", f"{folder}output.jsonl"]
    assert run.delivered() == run.ours(names)
    assert remapped_names(KEYS, ("csv", "jsonl")) == [f"run-1/{name}".replace(folder, "remapped/*/") for name in names]
    assert remapped.delivered is not None
    assert remapped.delivered.document == {"s3_uri": f"{FOLDER}{folder}", "status": "COPIED", "reason": ""}


def test_a_remap_can_name_another_folder_and_its_failed_copy_is_a_warning() -> None:
    run = Run()
    run.end()
    document = {"output_mapping": {}, "output_s3_uri": "s3://elsewhere/x/"}

    remapped = remap.remap(EXECUTION, document, objects=run.store, clock=run.clock, outputs=lambda: run.outputs)

    (warning,) = remapped.warnings
    assert "s3://elsewhere/x/run-1/" in warning
    assert "the bucket does not exist" in warning


@pytest.mark.parametrize(("faults", "status"), [(1, "COPIED"), (MOST_TRIES - 1, "COPIED"), (MOST_TRIES, "FAILED")])
def test_a_remap_tries_its_copy_again_by_itself_after_a_fault_that_passes(
    faults: int, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run()
    run.end()
    copy, errors = run.outputs.copy, iter([AWAY] * faults)

    def fail_first(*arguments: Any) -> None:
        for error in errors:
            raise error
        copy(*arguments)

    monkeypatch.setattr(run.outputs, "copy", fail_first)

    remapped = remap.remap(
        EXECUTION, {"output_mapping": {}}, objects=run.store, clock=run.clock, outputs=lambda: run.outputs
    )

    assert remapped.delivered is not None
    assert remapped.delivered.document["status"] == status
    assert len(run.clock.sleeps) == min(faults, MOST_TRIES - 1)


def test_a_remap_is_not_copied_to_where_the_next_run_of_the_document_reads() -> None:
    run = Run(csv_s3_uri="s3://uploads/in/*.csv")
    run.end()
    folder = Run(csv_s3_uri="s3://theirs/in/", uri=None)
    folder.end()
    document = {"output_mapping": {}, "output_s3_uri": "s3://theirs/in/"}

    with pytest.raises(InvalidInputError, match="would read the results as input"):
        remap.remap(EXECUTION, document, objects=folder.store, clock=run.clock, outputs=lambda: folder.outputs)
    remap.remap(EXECUTION, document, objects=run.store, clock=run.clock, outputs=lambda: run.outputs)

    assert any(key.startswith("in/run-1/remapped/") for key in run.outputs.written)
