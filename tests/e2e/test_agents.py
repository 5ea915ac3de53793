"""Agents: Standard state machines one row a child, Express ones in batches."""

from __future__ import annotations

import uuid
from typing import Any

from tests.support.deployment import Deployment, csv_bytes


def agent(name: str, **execution: Any) -> dict[str, Any]:
    return {
        "target": {"type": "agent", "name": name},
        "output_mapping": {"columns": [{"name": "value", "source": "$.value", "type": "number", "default": -1}]},
        "execution_config": {
            "max_concurrency": 10,
            "timeout_seconds": 20,
            "retry_policy": {"max_attempts": 2, "initial_interval_seconds": 1, "jitter": False},
            **execution,
        },
    }


def test_an_agents_failures_time_outs_and_sizes_stay_with_their_row(deployment: Deployment) -> None:
    modes = [["ok", "1"], ["fail", "0"], ["flaky", "1"], ["large", "300000"], ["error", "0"], ["retryable", "1"]]
    run = deployment.run(agent("chaos_agent"), csv_bytes([["mode", "n"], *modes, ["ok", "9"]])).assert_succeeded()

    assert [row["_status"] for row in run.rows] == [
        *("SUCCESS", "FAILED", "SUCCESS", "FAILED", "FAILED", "SUCCESS", "SUCCESS")
    ]
    assert [row["value"] for row in run.rows] == ["1", "-1", "1", "-1", "-1", "1", "9"]
    messages = [row["_error_message"] for row in run.rows]
    assert "ChaosAgentError" in messages[1], "the agent's own error name"
    assert "DataLimitExceeded" in messages[3] or "256" in messages[3]
    assert "Error" in messages[4]
    attempts = {letter["row"]: letter["attempts"] for letter in run.dead_letters()}
    assert attempts[2] == 2
    assert attempts[5] == 1, "an answer with result Error is not retried"


def test_an_agent_over_its_time_is_timed_out_once(deployment: Deployment) -> None:
    run = deployment.run(
        agent("chaos_agent", timeout_seconds=10), csv_bytes([["mode", "n"], ["slow", "60"], ["ok", "1"]])
    ).assert_succeeded()
    assert [row["_status"] for row in run.rows] == ["TIMEOUT", "SUCCESS"]
    assert "timeout_seconds" in run.rows[0]["_error_message"]
    assert run.dead_letters()[0]["attempts"] == 1


def test_no_cell_is_in_the_logs(deployment: Deployment) -> None:
    secret = f"cell-{uuid.uuid4()}"
    rows = [["ok", secret], ["fail", secret], ["error", secret], ["flaky", secret]]
    deployment.run(agent("chaos_agent"), csv_bytes([["mode", "n"], *rows])).assert_succeeded()

    logs, groups = deployment.client("logs"), []
    for prefix in ("/aws/lambda/batch-processor-", "/aws/stepfunctions/batch-processor"):
        for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            names = [group["logGroupName"] for group in page["logGroups"]]
            groups += [name for name in names if name.endswith(deployment.suffix) and "-sample-" not in name]
    assert f"/aws/stepfunctions/batch-processor{deployment.suffix}" in groups
    assert f"/aws/lambda/batch-processor-map-input{deployment.suffix}" in groups
    for group in groups:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        found = [event["message"] for page in pages for event in page["events"] if secret in event["message"]]
        assert not found, group


def test_an_express_agent_runs_in_batches(deployment: Deployment) -> None:
    document = {
        "target": {"type": "agent", "name": "echo_express_agent"},
        "output_mapping": {"columns": [{"name": "echoed", "source": "$.input.text"}]},
        "execution_config": {
            "max_concurrency": 4,
            "retry_policy": {"max_attempts": 2, "initial_interval_seconds": 0.1},
        },
    }
    body = csv_bytes([["text", "fail"], ["a", "false"], ["b", "true"], ["c", "false"]])
    run = deployment.run(document, body).assert_succeeded()
    assert [row["_status"] for row in run.rows] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert [row["echoed"] for row in run.rows] == ["a", "", "c"]
    assert "EchoExpressError" in run.rows[1]["_error_message"]


def test_agents_receive_the_batch_context(deployment: Deployment) -> None:
    document = {
        "target": {"type": "agent", "name": "ticket_classifier_agent"},
        "input_mapping": {"column_mappings": {"text": "ticketText", "mail": "customerEmail"}},
        "output_mapping": {"columns": [{"name": "row", "source": "$.metadata.row"}]},
    }
    body = csv_bytes([["text", "mail"], ["login", "a@example.com"], ["bill", "b@example.com"]])
    run = deployment.run(document, body).assert_succeeded()
    assert [row["row"] for row in run.rows] == ["1", "2"]
