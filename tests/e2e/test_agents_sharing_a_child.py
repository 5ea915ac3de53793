"""Standard agents, several rows a child: each row for itself, none started twice, none after the brake."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from typing import Any

from tests.support.aws_resources import eventually
from tests.support.batches import records_of
from tests.support.deployment import Deployment, Run, csv_bytes, scaled

HEADER = ["mode", "n"]


def document(batch_name: str, **execution: Any) -> dict[str, Any]:
    return {
        "target": {"type": "agent", "name": "chaos_agent"},
        "output_mapping": {"columns": [{"name": "value", "source": "$.value", "default": ""}]},
        "execution_config": {
            "max_concurrency": 1,
            "timeout_seconds": 90,
            "retry_policy": {"max_attempts": 2, "initial_interval_seconds": 1, "jitter": False},
            **execution,
        },
        "notification_config": {"batch_name": batch_name},
    }


def unique_name() -> str:
    return f"share{uuid.uuid4().hex[:8]}"


def children(deployment: Deployment, arn: str, *statuses: str) -> list[str]:
    """ARNs of the children of the execution's maps."""
    found = []
    for run in deployment.states.list_map_runs(executionArn=arn)["mapRuns"]:
        listing = deployment.states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"])
        executions = [execution for page in listing for execution in page["executions"]]
        found += [child["executionArn"] for child in executions if not statuses or child["status"] in statuses]
    return found


def agents(deployment: Deployment, batch_name: str) -> dict[str, list[tuple[int, str]]]:
    """Of the batches' agents' executions, by status: row and name."""
    registry = deployment.client("dynamodb")
    entry = registry.get_item(TableName=deployment.outputs["registry_table"], Key={"name": {"S": "chaos_agent"}})
    machine = entry["Item"]["arn"]["S"]
    found: dict[str, list[tuple[int, str]]] = {}
    for name in deployment.agent_executions(batch_name):
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        shown = deployment.states.describe_execution(executionArn=arn)
        row = int(json.loads(shown["input"])["batchContext"]["rowId"])
        found.setdefault(shown["status"], []).append((row, name))
    return found


def finished_rows(deployment: Deployment, execution: str) -> set[int]:
    bucket = deployment.outputs["results_bucket"]
    keys = deployment.keys(f"work/{execution}/rows/")
    return {record["row"] for key in keys for record in records_of(deployment.read(bucket, key))}


def test_rows_of_one_child_end_each_for_itself_and_can_be_read_as_they_come(deployment: Deployment) -> None:
    rows = [
        ["ok", "1"],
        ["large", "60000"],
        ["large", "250000"],
        ["large", "300000"],
        ["fail", "0"],
        ["flaky", "1"],
        ["retryable", "1"],
        ["slow", "600"],
        ["ok", "9"],
    ]
    name = f"run-{uuid.uuid4()}"
    uri = deployment.upload(csv_bytes([HEADER, *rows]))
    arn = deployment.start({"csv_s3_uri": uri, **document(unique_name(), timeout_seconds=25)}, name)
    assert eventually(lambda: len(finished_rows(deployment, name)) >= 3, 300), "answers are kept as they come"
    assert deployment.states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    run = Run(deployment, arn, deployment.wait(arn, 600), uri).assert_succeeded()

    statuses = ["SUCCESS", "SUCCESS", "SUCCESS", "FAILED", "FAILED", "SUCCESS", "SUCCESS", "TIMEOUT", "SUCCESS"]
    assert [row["_status"] for row in run.rows] == statuses
    assert [len(row["value"]) for row in run.rows] == [1, 60_000, 250_000, 0, 0, 1, 1, 0, 1]
    assert len(children(deployment, arn)) == 1, "the rows share a child"
    assert run.summary["peak_rows_in_flight"] == 1
    assert "ChaosAgentError" in run.rows[4]["_error_message"]
    assert {letter["row"] for letter in run.dead_letters()} == {4, 5, 8}


def test_no_row_starts_once_the_brake_is_pulled_in_the_middle_of_a_child(deployment: Deployment) -> None:
    rows = [["slow", "2"] for _ in range(12)]
    name, batch_name = f"run-{uuid.uuid4()}", unique_name()
    uri = deployment.upload(csv_bytes([HEADER, *rows]))
    arn = deployment.start({"csv_s3_uri": uri, **document(batch_name)}, name)
    assert eventually(lambda: finished_rows(deployment, name), 300), "no row was finished"
    brake = {"reason": "stopped by hand", "error": "StoppedError", "message": ""}
    bucket = deployment.outputs["results_bucket"]
    deployment.s3.put_object(Bucket=bucket, Key=f"work/{name}/brake.json", Body=json.dumps(brake).encode())
    started = len(deployment.agent_executions(batch_name))
    run = Run(deployment, arn, deployment.wait(arn), uri)

    assert run.error == "StoppedError"
    assert len(children(deployment, arn)) == 1
    attempted = [row for row in run.rows if "not started" not in row["_error_message"]]
    assert {row["_status"] for row in attempted} == {"SUCCESS"}, "rows in flight finish and count"
    # One may have been on its way when the brake was pulled.
    assert len(attempted) == len(deployment.agent_executions(batch_name)) <= started + 1 < 12
    assert not run.dead_letters()


def test_a_stopped_run_is_resumed_without_starting_an_answered_row_again(deployment: Deployment) -> None:
    count = scaled(200, 40)
    rows = [["slow", "1"] for _ in range(count)]
    body = csv_bytes([HEADER, *rows])
    batch_name, name = unique_name(), f"run-{uuid.uuid4()}"
    uri = deployment.upload(body)
    settings = document(batch_name, max_concurrency=scaled(10, 4))

    # Given a run of which a child is killed after half of its agents, and which is then stopped
    arn = deployment.start({"csv_s3_uri": uri, **settings}, name)
    assert eventually(lambda: len(finished_rows(deployment, name)) >= count // 4, 600), "too few rows were finished"
    deployment.states.stop_execution(executionArn=children(deployment, arn, "RUNNING")[0], error="Killed")
    assert eventually(lambda: len(finished_rows(deployment, name)) >= count // 2, 600), "the others do not go on"
    deployment.states.stop_execution(executionArn=arn)
    assert Run(deployment, arn, deployment.wait(arn), uri).status == "ABORTED"
    summary = f"results/{name}/summary.json"
    assert eventually(lambda: deployment.keys(summary), 300), "the stopped run has no output"

    # When it is resumed
    settings["execution_config"]["resume_from"] = name
    run = deployment.run({"csv_s3_uri": uri, **settings}, timeout=600).assert_succeeded()

    # Then every row has one answer that was paid, and an aborted one was started once more
    assert {row["_status"] for row in run.rows} == {"SUCCESS"}
    assert len(run.rows) == count
    found = agents(deployment, batch_name)
    paid = Counter(row for row, _ in found.pop("SUCCEEDED"))
    assert paid == Counter(range(1, count + 1)), "by row: how many executions of the agent succeeded"
    aborted = Counter(row for row, _ in found.pop("ABORTED", []))
    assert all(times == 1 for times in aborted.values())
    assert not found


def test_a_map_run_gets_more_rows_in_flight_while_it_runs(deployment: Deployment) -> None:
    rows = [["slow", "1"] for _ in range(scaled(400, 80))]
    arn = deployment.start(
        {"csv_s3_uri": deployment.upload(csv_bytes([HEADER, *rows])), **document(unique_name(), max_concurrency=2)}
    )
    assert eventually(lambda: len(children(deployment, arn, "RUNNING")) == 2, 300)
    (map_run,) = deployment.states.list_map_runs(executionArn=arn)["mapRuns"]
    deployment.states.update_map_run(mapRunArn=map_run["mapRunArn"], maxConcurrency=20)
    whole = len(rows) // 20
    assert eventually(lambda: len(children(deployment, arn, "RUNNING")) > 2, 300), "no further child was started"
    run = Run(deployment, arn, deployment.wait(arn, 900), "").assert_succeeded()

    assert {row["_status"] for row in run.rows} == {"SUCCESS"}
    assert len(children(deployment, arn)) == whole
    assert 2 < run.summary["peak_rows_in_flight"] <= 20
