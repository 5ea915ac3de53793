"""A dead-letter queue that takes nothing never runs a row again and never fails a batch."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.deployment import Deployment, Run, csv_bytes
from tests.support.iam import without_grants

TOOL: dict[str, Any] = {
    "target": {"type": "tool", "name": "chaos"},
    "execution_config": {"max_concurrency": 4, "batch_size": 5, "retry_policy": {"max_attempts": 1}},
}
AGENT: dict[str, Any] = {**TOOL, "target": {"type": "agent", "name": "chaos_agent"}}
BODY = csv_bytes([["mode", "n", "fail"], *[["ok", "1", "false"], ["fail", "0", "true"]] * 6])
FAILED = [2, 4, 6, 8, 10, 12]


def run_without_the_queue(deployment: Deployment, document: dict[str, Any], *functions: str) -> Run:
    with ExitStack() as denied:
        for function in functions:
            denied.enter_context(without_grants(deployment, function, "sqs"))
        return deployment.run(document, BODY)


@pytest.mark.parametrize(
    ("function", "document"), [("process_tool_rows", TOOL), ("map_output", AGENT)], ids=["tool", "agent"]
)
@pytest.mark.local_only("it takes grants away from roles that others use")
def test_letters_that_workers_may_not_send_are_sent_at_the_end(
    deployment: Deployment, function: str, document: dict[str, Any]
) -> None:
    run = run_without_the_queue(deployment, document, function).assert_succeeded()

    assert (run.document["succeeded"], run.document["failed"]) == (6, 6)
    assert run.summary["attempts"] == 12, "no row ran again"
    letters = run.dead_letters()
    assert [letter["row"] for letter in letters] == FAILED
    assert {(letter["attempts"], letter["input"]["fail"]) for letter in letters} == {(1, "true")}
    assert not [warning for warning in run.summary["warnings"] if "dead-letter" in warning]


@pytest.mark.local_only("it takes grants away from roles that others use")
def test_letters_that_nobody_may_send_are_named_in_the_summary(deployment: Deployment) -> None:
    run = run_without_the_queue(deployment, TOOL, "process_tool_rows", "aggregate_results").assert_succeeded()

    assert (run.document["succeeded"], run.document["failed"]) == (6, 6)
    assert run.summary["attempts"] == 12, "no row ran again"
    assert run.dead_letters() == []
    (warning,) = [warning for warning in run.summary["warnings"] if "dead-letter" in warning]
    assert "6 failed rows: 2, 4, 6, 8, 10, 12." in warning
    assert "sqs:SendMessage" in warning


@pytest.mark.local_only("it takes grants away from roles that others use")
def test_a_worker_that_sent_its_letters_leaves_none_for_the_end(deployment: Deployment) -> None:
    run = run_without_the_queue(deployment, TOOL, "aggregate_results").assert_succeeded()

    assert [letter["row"] for letter in run.dead_letters()] == FAILED
    assert not [warning for warning in run.summary["warnings"] if "dead-letter" in warning]
