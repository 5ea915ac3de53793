"""Permissions are really exercised: without a grant the run fails by name, with all of them it passes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.deployment import Deployment, csv_bytes
from tests.support.iam import granted_services, without_grants

TOOL: dict[str, Any] = {
    "target": {"type": "tool", "name": "chaos"},
    "execution_config": {"max_concurrency": 4, "batch_size": 5, "retry_policy": {"max_attempts": 1}},
}
AGENT: dict[str, Any] = {**TOOL, "target": {"type": "agent", "name": "chaos_agent"}}
EXPRESS: dict[str, Any] = {**TOOL, "target": {"type": "agent", "name": "echo_express_agent"}}
BODY = csv_bytes([["mode", "n", "fail"], *[["ok", "1", "false"], ["fail", "0", "true"]] * 10])

NOT_FATAL = {
    "logs": "a function without its log still works",
    "xray": "a function without its trace still works",
    "cloudwatch": "metrics are log lines",
}
CASES = [
    ("validate_input", "s3", TOOL),
    ("validate_input", "dynamodb", TOOL),
    ("validate_input", "lambda", TOOL),
    ("process_tool_rows", "s3", TOOL),
    ("process_tool_rows", "dynamodb", TOOL),
    ("process_tool_rows", "lambda", TOOL),
    ("process_tool_rows", "states", EXPRESS),
    *((function, "kms", TOOL) for function in ("validate_input", "process_tool_rows", "aggregate_results")),
    *((function, "kms", AGENT) for function in ("map_input", "map_output")),
    ("map_input", "s3", AGENT),
    ("map_output", "s3", AGENT),
    ("aggregate_results", "s3", TOOL),
    ("aggregate_results", "dynamodb", TOOL),
]


@pytest.mark.local_only("it takes grants away from roles that others use, and IAM takes minutes to follow")
@pytest.mark.parametrize(("function", "service", "document"), CASES, ids=[f"{f}-{s}" for f, s, _ in CASES])
def test_a_run_without_a_grant_fails_within_a_minute_and_names_the_denied_action(
    deployment: Deployment, function: str, service: str, document: dict[str, Any]
) -> None:
    with without_grants(deployment, function, service):
        started = time.monotonic()
        run = deployment.run(document, BODY, timeout=90)
        seconds = time.monotonic() - started
    assert (run.status, run.error) == ("FAILED", "DeploymentError"), f"{run.status} {run.error}: {run.cause}"
    assert f"{service}:" in run.cause, f"the denied action is not in: {run.cause}"
    assert seconds < 60


@pytest.mark.parametrize("document", [TOOL, AGENT, EXPRESS], ids=["tool", "agent", "express"])
def test_with_all_grants_in_place_the_run_passes(deployment: Deployment, document: dict[str, Any]) -> None:
    run = deployment.run(document, BODY).assert_succeeded()
    assert run.document["succeeded"] == 10


@pytest.mark.local_only("it takes grants away from roles that others use")
def test_an_agents_rows_are_finished_by_a_worker_that_may_not_count_them(deployment: Deployment) -> None:
    with without_grants(deployment, "map_output", "dynamodb"):
        run = deployment.run(AGENT, BODY).assert_succeeded()
    assert (run.document["succeeded"], run.document["failed"]) == (10, 10)


def test_every_grant_of_every_function_in_a_batch_is_in_the_table_above(deployment: Deployment) -> None:
    workers = ("process_tool_rows", "map_input", "map_output", "aggregate_results")
    # A letter never fails a row: test_dead_letters. Nor does its live count: the test above.
    elsewhere = {(function, "sqs") for function in workers}
    elsewhere |= {("map_input", "dynamodb"), ("map_output", "dynamodb")}
    # Only the finishing of a run asks Step Functions (test_finishing), and only the check of an earlier execution.
    elsewhere |= {("aggregate_results", "states"), ("validate_input", "states")}
    # A question that cannot be announced waits for its answer all the same.
    elsewhere |= {("aggregate_results", "sns")}
    functions = {function for function, _, _ in CASES}
    granted = {(f, service) for f in functions for service in granted_services(deployment, f)}
    assert {(f, service) for f, service in granted if service not in NOT_FATAL} == {
        (f, s) for f, s, _ in CASES
    } | elsewhere
