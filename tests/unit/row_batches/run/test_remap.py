"""An output written anew from the answers that are kept: other columns, the same rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import DeploymentError, InvalidInputError, RemapError
from row_batches.document.plan import Plan, Source
from row_batches.files import result_file
from row_batches.rows import s3 as rows_in_s3
from row_batches.rows.records import RowStatus
from row_batches.rows.work import Brake
from row_batches.run import aggregate_results as aggregation
from row_batches.run import remap
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batches
from row_batches.run.end_messages import AggregateAction, AggregateRequest, EndedRun
from row_batches.run.remap import Remapped
from row_batches.targets.kinds import KINDS
from row_batches.targets.protocol import Outcome, read_agent_answer, read_tool_answer
from tests.support.batches import EXECUTION, KEYS, STARTED_AT, make_plan, open_batch, staged_items
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeMetrics,
    FakeObjectStore,
    FakeOwnership,
    FakeRedrives,
)
from tests.unit.row_batches.run.test_aggregate_results import ended

METADATA = ("_execution_id", "_row_id", "_status", "_error_message", "_execution_time_ms", "_timestamp")
OLD = {"columns": [{"name": "size", "source": "$.size", "type": "number", "default": -1}]}
NEW = {
    "columns": [
        {"name": "colour", "source": "$.colour", "default": "none"},
        {"name": "all", "source": "$", "type": "json_string"},
    ]
}


class Execution:
    """An execution whose rows workers have finished, some of them."""

    def __init__(self, rows: Sequence[Sequence[str]], invocation: str = "lambda", **document: Any) -> None:
        self.rows = rows
        self.invocation = invocation
        self.store = FakeObjectStore(smallest_part=0)
        document.setdefault("output_mapping", OLD)
        self.plan: Plan = make_plan(rows, store=self.store, invocation=invocation, **document)
        self.clock = FakeClock()

    def finish(self, first: int, answers: Sequence[Any]) -> None:
        """Write consecutive rows as a worker does. An Outcome stands for itself, all else for an answer."""
        batch = open_batch(self.plan, self.store)
        finished_rows = []
        for row, answer in enumerate(answers, first):
            outcome = answer if isinstance(answer, Outcome) else self.read(answer)
            started_ms = int(STARTED_AT.timestamp() * 1000) + row * 100
            finished = batch.finish(
                row,
                self.rows[row - 1],
                outcome,
                row_hash="h",
                attempts=1,
                started_ms=started_ms,
                ended_ms=started_ms + row,
            )
            finished_rows.append(finished)
        batch.rows.write(finished_rows)

    def read(self, answer: Any) -> Outcome:
        if self.invocation == "lambda":
            return read_tool_answer(answer, answer.get("tool_use_id", "") if isinstance(answer, dict) else "")
        return read_agent_answer(answer)

    def pull_brake(self) -> None:
        open_batch(self.plan, self.store).work.pull_brake(Brake("stopped by hand", "StoppedError", ""))

    def end(self, manifests: Sequence[str] = (), ended: EndedRun | None = None) -> None:
        """Put the output together."""
        aggregate_results(
            AggregateRequest(
                action=AggregateAction.AGGREGATE, plan_key=KEYS.plan, manifests=list(manifests), ended=ended
            ),
            batches=Batches(self.store, self.clock),
            dead_letters=FakeDeadLetters(),
            metrics=FakeMetrics(),
            ownership=FakeOwnership(self.clock),
            redrives=FakeRedrives(),
            clock=self.clock,
            deadline=FakeDeadline(),
        )
        self.clock.move(3600)

    def remap(self, output_mapping: Any, **document: Any) -> Remapped:
        document = {"output_mapping": output_mapping, **document}
        return remap.remap(EXECUTION, document, objects=self.store, clock=self.clock)

    def table(self, key: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.store.objects[key].decode(), newline="")))


def tool_result(content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "run-1:1:1", "content": content}


def three_rows(**document: Any) -> Execution:
    """One row of each status."""
    execution = Execution([["1", "a"], ["2", "b"], ["3", "c"]], **document)
    failed = Outcome(RowStatus.FAILED, answer={"colour": "of a refusal"}, error_message="Boom: it broke")
    timed_out = Outcome(RowStatus.TIMEOUT, error_message="too slow")
    execution.finish(1, [tool_result({"size": 7, "colour": "red"}), failed, timed_out])
    execution.end()
    return execution


def test_a_remap_writes_the_formats_of_the_execution_or_those_of_its_own_document() -> None:
    execution = Execution([["1", "a"], ["2", "b"]], output_format={"type": "jsonl"})
    execution.finish(1, [{"colour": "red"}, {"colour": "blue"}])
    execution.end()

    as_before, as_csv = execution.remap(NEW), execution.remap(NEW, output_format={"type": "csv"})

    assert list(as_before.outputs.addresses) == ["csv", "jsonl"]
    lines = execution.store.objects[as_before.key.replace(".csv", ".jsonl")].splitlines()
    assert [orjson.loads(line)["all"] for line in lines] == [{"colour": "red"}, {"colour": "blue"}]
    assert as_csv.outputs.addresses == {"csv": f"s3://results/{as_csv.key}"}


def test_other_columns_come_from_the_answers_and_all_else_stays() -> None:
    execution = three_rows()

    remapped = execution.remap(NEW)

    before, after = execution.table(KEYS.output), execution.table(remapped.key)
    assert list(after[0]) == ["id", "text", "colour", "all", *METADATA]
    assert [row["colour"] for row in after] == ["red", "none", "none"]
    assert orjson.loads(after[0]["all"]) == tool_result({"size": 7, "colour": "red"})
    for name in ("id", "text", *METADATA):
        assert [row[name] for row in after] == [row[name] for row in before]
    assert (remapped.counts, remapped.total_rows) == (dict.fromkeys(("SUCCESS", "FAILED", "TIMEOUT"), 1), 3)
    assert [row["colour"] for row in remapped.first_rows] == ["red", "none", "none"]


def test_the_original_output_is_untouched_and_each_remapping_has_a_file_of_its_own() -> None:
    execution = three_rows()
    before = execution.store.objects[KEYS.output]

    keys = []
    for _ in range(2):
        keys.append(execution.remap(NEW).key)
        execution.clock.move(0.001)

    assert keys == [
        "results/run-1/remapped/20260921T151320.000Z/output.csv",
        "results/run-1/remapped/20260921T151320.001Z/output.csv",
    ]
    assert execution.store.objects[KEYS.output] == before
    assert execution.store.tags[keys[0]] == {"execution_id": "run-1", "batch_name": "echo", "target": "echo"}


def test_only_the_output_mapping_of_the_document_counts() -> None:
    execution = three_rows()
    other = {"csv_s3_uri": 5, "target": {}, "dry_run": True, "nonsense": None}

    assert execution.table(execution.remap(NEW, **other).key)[0]["colour"] == "red"


def test_an_empty_mapping_gives_the_payload_as_for_a_new_batch() -> None:
    execution = three_rows()

    rows = execution.table(execution.remap({}).key)

    assert [row["result"] for row in rows] == ['{"size":7,"colour":"red"}', "", ""]


def test_original_and_metadata_columns_can_be_left_out() -> None:
    execution = three_rows()

    remapped = execution.remap({**NEW, "include_original": False, "add_metadata": ["_status"]})

    assert list(execution.table(remapped.key)[0]) == ["colour", "all", "_status"]


def test_values_that_cannot_be_cast_have_their_default_and_are_counted() -> None:
    execution = three_rows()

    remapped = execution.remap({"columns": [{"name": "n", "source": "$.colour", "type": "number", "default": 0}]})

    assert [row["n"] for row in execution.table(remapped.key)] == ["0", "0", "0"]
    assert {column: failures.count for column, failures in remapped.cast_failures.items()} == {"n": 1}


def test_an_agents_payload_is_its_data() -> None:
    execution = Execution([["1", "a"], ["2", "b"]], "standard")
    execution.finish(1, [{"result": "Success", "data": {"colour": "red"}, "metadata": {}}])
    execution.finish(2, [{"colour": "bare"}])
    execution.end()

    assert [row["colour"] for row in execution.table(execution.remap(NEW).key)] == ["red", "bare"]


ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab\nc"), inner, max_size=3),
    max_leaves=8,
)
MAPPINGS: list[dict[str, Any]] = [
    {},
    {"columns": [{"name": "x", "source": "$.a"}, {"name": "y", "source": "$..b", "default": None}]},
    {"columns": [{"name": "n", "source": "$.a", "type": "number", "format": "%.2f", "default": -1}]},
    {"columns": [{"name": "all", "source": "$", "type": "json_string"}], "include_original": False},
    {"columns": [{"name": "flag", "source": "$.agent_output", "type": "boolean"}], "add_metadata": ["_status"]},
]


@settings(max_examples=100)
@given(data=st.data())
def test_the_same_mapping_gives_the_same_file_whatever_the_workers_left(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 8), "rows")
    cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    rows = [[str(row), data.draw(cells, "cell")] for row in range(1, count + 1)]
    invocation = data.draw(st.sampled_from([kind.name for kind in KINDS]), "invocation")
    mapping = data.draw(st.sampled_from(MAPPINGS), "mapping")
    execution = Execution(rows, invocation, output_mapping=mapping)
    wrapped = st.builds(tool_result, ANSWERS) | st.builds(lambda a: {"result": "Success", "data": a}, ANSWERS)
    failures = st.builds(
        Outcome, st.sampled_from([RowStatus.FAILED, RowStatus.TIMEOUT]), answer=ANSWERS, error_message=st.text()
    )
    answers = [data.draw(ANSWERS | wrapped | failures, "answer") for _ in rows]
    for _ in range(data.draw(st.integers(0, 6), "objects") if count else 0):
        first = data.draw(st.integers(1, count), "first")
        execution.finish(first, answers[first - 1 : data.draw(st.integers(first, count), "last")])
    if data.draw(st.booleans(), "brake"):
        execution.pull_brake()
    execution.end(ended=ended(execution.clock) if data.draw(st.booleans(), "stopped") else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_file, "PART_BYTES", data.draw(st.sampled_from([1, 200, 100_000]), "part size"))
        patch.setattr(rows_in_s3, "MOST_OBJECTS_AHEAD", data.draw(st.integers(1, 3), "objects ahead"))
        patch.setattr(rows_in_s3, "MOST_ANSWER_BYTES_AHEAD", data.draw(st.sampled_from([1, 10_000]), "bytes ahead"))

        remapped = execution.remap(mapping)

    assert execution.store.objects[remapped.key] == execution.store.objects[KEYS.output]
    assert remapped.total_rows == count


def test_a_row_that_no_worker_finished_keeps_its_childs_error() -> None:
    execution = Execution([["1", "a"], ["2", "b"], ["3", "c"]])
    execution.finish(1, [tool_result({"colour": "red"})])
    child_input = orjson.dumps({"BatchInput": {}, "Items": staged_items(execution.rows[1:2], 2)}).decode()
    failed = [{"Input": child_input, "Error": "Lambda.Unknown", "Cause": '{"errorMessage": "killed"}'}]
    execution.store.put(f"{KEYS.map}/uuid/FAILED_0.json", orjson.dumps(failed))
    manifest = {"ResultFiles": {"FAILED": [{"Key": f"{KEYS.map}/uuid/FAILED_0.json", "Size": 1}]}}
    execution.store.put(f"{KEYS.map}/uuid/manifest.json", orjson.dumps(manifest))
    execution.end([f"{KEYS.map}/uuid/manifest.json"])

    remapped = execution.remap(NEW)

    rows = execution.table(remapped.key)
    assert [row["_error_message"] for row in rows] == [
        "",
        "the child workflow died: Lambda.Unknown: killed",
        aggregation.CHILD_DIED,
    ]
    assert remapped.unfinished == 2
    assert [row["_timestamp"] for row in rows] == [row["_timestamp"] for row in execution.table(KEYS.output)]


def test_a_row_that_was_finished_after_the_output_was_written_has_its_answer() -> None:
    execution = Execution([["1", "a"], ["2", "b"]])
    execution.finish(1, [tool_result({"colour": "red"})])
    execution.end()
    execution.finish(2, [tool_result({"colour": "late"})])

    assert [row["colour"] for row in execution.table(execution.remap(NEW).key)] == ["red", "late"]


@pytest.mark.parametrize(
    ("document", "problems"),
    [
        ({"output_maping": {}}, ["output_mapping: is required. Fix: did you mean output_maping?"]),
        ({"output_mapping": None}, ["output_mapping: is required. Fix: give a batch document that has one"]),
        ({"columns": []}, ["output_mapping: is required. Fix: give a batch document that has one"]),
        ({"output_mapping": []}, ["output_mapping: not an object"]),
        (
            {
                "output_mapping": {
                    "columns": [
                        {"name": "a", "source": "$["},
                        {"name": "_status", "source": "$.b"},
                        {"name": "a", "source": "$.c", "kind": "number"},
                    ]
                }
            },
            [
                "output_mapping.columns[0].source: not a JSONPath",
                "output_mapping.columns[1].name: this is the name of a metadata column",
                "output_mapping.columns[2].kind: unknown field",
                "output_mapping.columns[2].name: the name is used twice",
            ],
        ),
        (
            {"output_mapping": {"columns": [{"name": "text", "source": "$.a"}]}},
            ["output_mapping.columns[0].name: the CSV has a column of this name"],
        ),
    ],
    ids=["misspelt", "null", "missing", "no object", "several", "original column"],
)
def test_every_mistake_in_the_mapping_is_named_and_nothing_is_written(
    document: dict[str, Any], problems: list[str]
) -> None:
    execution = three_rows()
    writes = len(execution.store.writes)

    with pytest.raises(InvalidInputError) as refused:
        remap.remap(EXECUTION, document, objects=execution.store, clock=execution.clock)

    assert len(refused.value.problems) == len(problems)
    for problem in problems:
        assert problem in str(refused.value)
    assert len(execution.store.writes) == writes


@pytest.mark.parametrize("gone", [KEYS.plan, KEYS.staged, KEYS.rows_object(1, 3)], ids=["plan", "input", "rows"])
def test_answers_that_have_expired_are_an_error_and_no_file(gone: str) -> None:
    execution = three_rows()
    execution.store.delete(gone)
    execution.store.versions.clear()

    with pytest.raises(RemapError, match="The answers of run-1 have expired: they are kept for work_retention_days"):
        execution.remap(NEW)

    assert not [key for key in execution.store.objects if "/remapped/" in key]


def test_an_execution_that_has_no_output_yet_is_refused() -> None:
    execution = Execution([["1", "a"]])
    execution.finish(1, [tool_result({})])

    with pytest.raises(RemapError, match="no output yet: wait for the end"):
        execution.remap(NEW)


def test_an_execution_that_left_nothing_is_refused() -> None:
    with pytest.raises(RemapError, match="There is nothing to map in s3://results/work/run-1/"):
        remap.remap(EXECUTION, {"output_mapping": NEW}, objects=FakeObjectStore(), clock=FakeClock())


def test_an_input_that_lacks_rows_is_an_error_and_no_file() -> None:
    execution = three_rows()
    version = execution.plan.staged.version_id
    execution.store.versions[KEYS.staged, version] = execution.store.objects[KEYS.staged].rpartition(b'"3"')[0]

    with pytest.raises(DeploymentError, match=r"row 3 is not in work/run-1/input\.csv"):
        execution.remap(NEW)

    assert not [key for key in execution.store.objects if "/remapped/" in key]


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    execution = three_rows()
    monkeypatch.setattr(remap, "PROGRESS_ROWS", 2)
    told: list[tuple[int, int]] = []

    remap.remap(
        EXECUTION,
        {"output_mapping": NEW},
        objects=execution.store,
        clock=execution.clock,
        progress=lambda done, total: told.append((done, total)),
    )

    assert told == [(2, 3)]


def test_rows_that_failed_for_a_wrong_source_are_mapped_again_and_counts_come_from_the_kept_answers() -> None:
    # Given rows that failed because their column's source has a typo, and one that the tool refused
    wrong = {"columns": [{"name": "colour", "source": "$.color"}], "on_missing": "fail_row"}
    execution = Execution([["1", "a"], ["2", "b"], ["3", "c"]], output_mapping=wrong)
    refused = {"type": "tool_result", "tool_use_id": "x", "is_error": True, "content": "no"}
    execution.finish(1, [tool_result({"colour": "red"}), tool_result({"colour": "blue"}), refused])
    execution.end()
    assert [row["_status"] for row in execution.table(KEYS.output)] == ["FAILED"] * 3
    # When they are mapped with the right one
    columns = [{"name": "colour", "source": "$.colour"}, {"name": "size", "source": "$.siez"}]
    remapped = execution.remap({"columns": columns})
    # Then they are SUCCESS, and what is wrong now is said
    cells = [(row["_status"], row["colour"]) for row in execution.table(remapped.key)]
    assert cells == [("SUCCESS", "red"), ("SUCCESS", "blue"), ("FAILED", "")]
    assert remapped.warnings == ["Column size: $.siez matched 0 of 2; the answers have colour"]
    assert remapped.first_rows[0] == {"_row_id": "1", "_status": "SUCCESS", "colour": "red", "size": ""}


@pytest.mark.parametrize(("source", "colour"), [("deployment", "red"), ("document", "")])
def test_the_deployments_extraction_methods_hold_for_a_mapping_without_its_own(source: str, colour: str) -> None:
    # Given a run whose extraction methods the deployment gave, or its document
    method = {"method": "direct", "field_mappings": {"colour": "$.deep.colour"}}
    execution = Execution([["1", "a"]], output_mapping={"extraction_methods": [method]})
    pinned = execution.plan.model_copy(update={"sources": {"output_mapping.extraction_methods": Source(source)}})
    execution.store.put(KEYS.plan, pinned.model_dump_json().encode())
    execution.finish(1, [tool_result({"deep": {"colour": "red"}})])
    execution.end()
    # When it is mapped anew without any
    remapped = execution.remap({"columns": [{"name": "colour", "source": "$.colour"}]})
    # Then only those of the deployment go on
    assert [row["colour"] for row in execution.table(remapped.key)] == [colour]
