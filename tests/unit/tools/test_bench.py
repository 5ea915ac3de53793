"""Benchmarks: what is counted, what is written."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from batch_processor_client.progress import Progress
from tools import bench, local_aws
from tools.benchmarks.batches import Counted, counted
from tools.benchmarks.cost import result
from tools.benchmarks.progress import Shown, most_in_a_second, pauses, time_left_errors

START = datetime(2026, 1, 1, tzinfo=UTC)
RESULT = {"name": "x", "ours": 1.5, "peer": 3.0, "ratio": 0.5, "aim": 1.0, "met": True, "unit": "s", "spread": 0.1}


class Histories:
    """Step Functions with one execution's history, in two pages."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events

    def get_paginator(self, operation: str) -> Histories:
        assert operation == "get_execution_history"
        return self

    def paginate(self, executionArn: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        yield {"events": self.events[:3]}
        yield {"events": self.events[3:]}


def event(kind: str, seconds: float, **details: Any) -> dict[str, Any]:
    return {"type": kind, "timestamp": START + timedelta(seconds=seconds), **details}


def test_transitions_invocations_and_their_seconds_are_counted_from_the_history() -> None:
    # Given a child with two states, the first of which calls a function twice and the second S3
    function = {"taskScheduledEventDetails": {"resourceType": "lambda"}}
    storage = {"taskScheduledEventDetails": {"resourceType": "aws-sdk:s3"}}
    events = [
        event("ExecutionStarted", 0),
        event("TaskStateEntered", 0),
        event("TaskScheduled", 0.5, **function),
        event("TaskFailed", 1.5),
        event("TaskScheduled", 3, **function),
        event("TaskSucceeded", 5),
        event("TaskStateEntered", 5),
        event("TaskScheduled", 5, **storage),
        event("TaskSucceeded", 9),
        event("ExecutionSucceeded", 9),
    ]
    # Then only the functions' time is counted
    assert counted(Histories(events), "arn") == Counted(executions=1, transitions=2, invocations=2, seconds=3.0)


def test_counts_add_up() -> None:
    assert Counted(1, 2, 3, 4.0) + Counted(10, 20, 30, 40.0) == Counted(11, 22, 33, 44.0)


def test_a_result_without_an_aim_is_neither_met_nor_missed() -> None:
    assert result("agents", 75.0, 100.0, None)["met"] is None
    assert result("tools", 1.9, 100.0, 2.0)["met"] is True
    assert result("tools", 2.1, 100.0, 2.0)["met"] is False


def test_results_are_written_and_those_not_measured_anew_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "build" / "bench.json"
    results.parent.mkdir()
    results.write_text(json.dumps({"old": {"ours": 1}, "x": {"ours": 9}}))
    monkeypatch.setattr(bench, "RESULTS", results)
    monkeypatch.setattr(local_aws, "REPOSITORY", tmp_path)
    monkeypatch.setattr(bench, "run_benchmark", lambda _: [RESULT])
    bench.bench(Console(file=io.StringIO()), ["mapping"])
    written = json.loads(results.read_text())
    assert written["old"] == {"ours": 1}
    assert written["x"] == {field: RESULT[field] for field in bench.FIELDS}


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.12345, "0.123"), (12.3456, "12.3"), (123456.7, "123,457")])
def test_figures_have_the_digits_that_matter(value: float | None, text: str) -> None:
    assert bench.figure(value) == text


@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_every_benchmark_is_a_module(name: str) -> None:
    assert (Path(bench.__file__).parent / "benchmarks" / f"{name}.py").is_file()


def test_the_bars_pauses_and_its_wrong_times_left_are_found_in_what_was_shown() -> None:
    # Given ten rows in 20 seconds, a bar that stands still for five of them and then for seven, and wrong times left
    looks = [(0, 0, None), (4, 2, 16.0), (8, 4, 15.0), (12, 4, 8.0), (13, 9, None), (20, 10, 0.0), (23, 10, None)]
    shown = [
        Shown(moment, Progress(execution="x", total=10, succeeded=done, seconds_left=left))
        for moment, done, left in looks
    ]
    # Then the time before the first row and after the last one does not count
    assert pauses(shown) == [4, 5, 7]
    assert time_left_errors(shown, 0.1, 0.9) == [(0, 16), (3, 12), (0, 8)]
    # And a moment without a time left is wrong by all of it
    assert time_left_errors(shown, 0.9, 1.0) == [(7, 7)]


def test_requests_are_counted_in_any_one_second() -> None:
    assert most_in_a_second([0.0, 0.5, 0.9, 1.2, 1.4, 2.6]) == 4
