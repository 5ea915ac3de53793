"""Following an execution within the quotas of the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from row_batches.run.blanks import Blanks
from row_batches.run.runs import Counts, Run
from tests.support.fakes import FakeRuns
from tests.unit.tools.fakes import EXECUTION, FakeStates, FakeStorage
from tools.errors import CommandError
from tools.executions import Ending, Follower, ending_of, first_failures, refuse_used_name, start, warnings_of

RUNNING = {"status": "RUNNING"}
MAP_RUN = {"mapRunArn": "arn:map-run", "startDate": datetime(2026, 1, 1, tzinfo=UTC)}


def follower(states: FakeStates, storage: FakeStorage, waited: list[float]) -> Follower:
    return Follower(
        states, storage, FakeRuns(), "results", EXECUTION, wait=waited.append, clock=lambda: float(len(waited))
    )


def test_an_execution_is_followed_to_its_ending_with_one_map_run_call_a_second() -> None:
    # Given an execution that ends at the fifth look, its map run starting with the second
    output = {"status": "SUCCEEDED", "output": json.dumps({"total_rows": 10})}
    states = FakeStates([RUNNING] * 4 + [output], [MAP_RUN], [{"succeeded": 4}, {"succeeded": 9}])
    storage = FakeStorage({"work/night-run/plan.json": b'{"total_rows": 10, "config": {"output_mapping": {}}}'})
    waited: list[float] = []
    # When it is followed
    followed = follower(states, storage, waited)
    *looks, ending = list(followed.follow())
    # Then there was a pause after each look, and in each at most one call about the map run
    assert (looks, waited) == ([None] * 4, [1.0] * 4)
    assert [call for call in states.calls if call != "DescribeExecution"] == ["ListMapRuns"] + ["DescribeMapRun"] * 3
    assert ending == Ending("SUCCEEDED", document={"total_rows": 10})
    assert (followed.progress.total, followed.progress.done) == (10, 9)


def test_failures_are_listed_every_five_seconds_and_at_the_end() -> None:
    # Given markers that appear while an execution runs
    states = FakeStates([RUNNING] * 6 + [{"status": "SUCCEEDED", "output": "{}"}], [MAP_RUN], [{"succeeded": 1}])
    storage = FakeStorage({"work/night-run/failed/000000000001-1": b""})
    waited: list[float] = []
    followed = follower(states, storage, waited)
    seen = []
    for _ in followed.follow():
        seen.append(followed.progress.failed)
        storage.objects[f"work/night-run/failed/{len(seen) + 1:012d}-1"] = b""
    # Then the count stands between two listings
    assert seen == [1, 1, 1, 1, 1, 6, 7]


def test_the_total_is_unknown_until_the_plan_is_written() -> None:
    states = FakeStates([RUNNING, {"status": "SUCCEEDED", "output": "{}"}])
    followed = follower(states, FakeStorage(), [])
    list(followed.follow())
    assert followed.progress.total is None


def test_an_execution_that_fails_for_its_rows_carries_the_output_document_in_its_cause() -> None:
    document = {"status": "FAILED", "output_s3_uri": "s3://results/results/x/output.csv"}
    description = {"status": "FAILED", "error": "RowFailedError", "cause": json.dumps(document)}
    assert ending_of(description) == Ending("FAILED", "RowFailedError", json.dumps(document), document)


@pytest.mark.parametrize("cause", ["1 problem in the input:\n1. target.name: unknown", '"text"', "[1]"])
def test_another_cause_is_left_as_text(cause: str) -> None:
    ending = ending_of({"status": "FAILED", "error": "InvalidInputError", "cause": cause})
    assert ending == Ending("FAILED", "InvalidInputError", cause, None)


def test_the_error_of_a_function_is_shown_without_its_stack_trace() -> None:
    cause = json.dumps({"errorMessage": "no plan", "errorType": "KeyError", "stackTrace": ["line 1"]})
    assert ending_of({"status": "FAILED", "error": "KeyError", "cause": cause}) == Ending(
        "FAILED", "KeyError", "no plan"
    )


def test_a_name_that_was_used_is_explained() -> None:
    states = FakeStates(start_refusal="ExecutionAlreadyExists")
    with pytest.raises(CommandError, match="FOLLOW=night-run"):
        start(states, "arn:machine", "night-run", {})


def test_the_document_is_sent_under_the_name() -> None:
    states = FakeStates()
    assert start(states, "arn:machine", "night-run", {"a": 1}) == EXECUTION
    assert states.started == [{"stateMachineArn": "arn:machine", "name": "night-run", "input": '{"a": 1}'}]


def test_a_name_is_free_while_no_execution_has_it() -> None:
    refuse_used_name(FakeStates(), EXECUTION)
    with pytest.raises(CommandError, match="FOLLOW=night-run"):
        refuse_used_name(FakeStates([{"status": "SUCCEEDED"}]), EXECUTION)


def test_a_failed_row_with_a_cell_of_200_000_characters_is_read() -> None:
    text = f"id,_error_message\n{'x' * 200_000},bad\n2,worse\n"
    storage = FakeStorage({"results/x/failed_rows.csv": text.encode()})
    rows = first_failures(storage, "s3://results/results/x/failed_rows.csv", 2)
    assert [(len(row["id"]), row["_error_message"]) for row in rows] == [(200_000, "bad"), (1, "worse")]


def test_the_first_failed_rows_are_read_from_the_start_of_the_file() -> None:
    text = 'id,note,_error_message\n1,"a\nb",bad\n2,c,worse\n3,d,worst\n'
    storage = FakeStorage({"results/x/failed_rows.csv": text.encode()})
    rows = first_failures(storage, "s3://results/results/x/failed_rows.csv", 2)
    assert [(row["id"], row["note"], row["_error_message"]) for row in rows] == [
        ("1", "a\nb", "bad"),
        ("2", "c", "worse"),
    ]


@pytest.mark.parametrize(
    ("document", "warnings"),
    [
        ({"status": "DRY_RUN", "warnings": ["few rows"]}, ["few rows"]),
        ({"summary_s3_uri": "s3://results/results/x/summary.json"}, ["slow"]),
        ({"summary_s3_uri": "s3://results/results/gone/summary.json"}, []),
        ({}, []),
    ],
)
def test_warnings_come_from_the_document_or_from_the_summary(document: dict[str, Any], warnings: list[str]) -> None:
    assert warnings_of(FakeStorage({"results/x/summary.json": b'{"warnings": ["slow"]}'}), document) == warnings


def test_columns_that_stay_empty_are_known_while_the_run_goes_on() -> None:
    plan = {"total_rows": 10, "config": {"output_mapping": {"columns": [{"name": "mood", "source": "$.sentimnet"}]}}}
    storage = FakeStorage({"work/night-run/plan.json": json.dumps(plan).encode()})
    followed = follower(FakeStates(), storage, [])
    followed.runs.start(
        Run(
            execution="night-run",
            arn=EXECUTION,
            batch_name="night",
            target="echo",
            target_version="1",
            total_rows=10,
            plan_key="",
            started_at=datetime(2026, 1, 1, tzinfo=UTC),
            estimate_usd=0,
        )
    )
    followed.runs.count("night-run", Counts(succeeded=5))
    followed.runs.count_blanks("night-run", Blanks(missing={"mood": 5}, keys={"$": {"sentiment": 5}}))
    followed.look()
    assert [column.closest for column in followed.progress.empty] == ["$.sentiment"]
