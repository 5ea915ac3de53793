"""The examples of the product, and who may start a batch."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import UTC, datetime

import pytest

from tests.support.aws_resources import eventually
from tests.support.deployment import Deployment, csv_bytes
from tests.support.local_aws import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
DOCUMENT_KEYS = {
    *("status", "output_s3_uri", "failed_rows_s3_uri", "summary_s3_uri", "total_rows", "succeeded", "failed"),
    *("timed_out", "duration_seconds", "cost"),
}


@pytest.mark.parametrize("name", ["ticket-classification", "product-descriptions", "company-enrichment"])
def test_an_example_gives_its_expected_output(deployment: Deployment, name: str) -> None:
    document = json.loads((EXAMPLES / name / "batch.json").read_text())
    del document["csv_s3_uri"]
    run = deployment.run(document, (EXAMPLES / name / "input.csv").read_bytes()).assert_succeeded()
    expected = list(csv.reader(io.StringIO((EXAMPLES / name / "expected.csv").read_text())))
    width = len(expected[0])
    assert [row[:width] for row in run.table] == expected
    assert run.document["status"] == "SUCCEEDED"


def test_the_output_document_and_the_summary_say_what_the_run_did_and_cost(deployment: Deployment) -> None:
    document = {"target": {"type": "tool", "name": "echo"}, "notification_config": {"batch_name": "nightly"}}
    run = deployment.run(document, csv_bytes([["a"], ["1"], ["2"]])).assert_succeeded()
    assert set(run.document) >= DOCUMENT_KEYS
    assert run.document["total_rows"] == run.document["succeeded"] == 2
    assert run.document["output_s3_uri"].endswith(f"/results/{run.name}/output.csv")
    assert run.summary["schema_version"] == 1
    tags = deployment.s3.get_object_tagging(
        Bucket=deployment.outputs["results_bucket"], Key=f"results/{run.name}/output.csv"
    )["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "execution_id": run.name,
        "batch_name": "nightly",
        "target": "echo",
    }


def test_another_state_machine_can_start_a_batch_and_wait_for_it(deployment: Deployment) -> None:
    machines = deployment.states.get_paginator("list_state_machines").paginate()
    parents = [
        machine["stateMachineArn"]
        for page in machines
        for machine in page["stateMachines"]
        if "parent" in machine["name"]
    ]
    assert len(parents) == 1
    uri = deployment.upload(csv_bytes([["text"], ["a"], ["b"]]))
    arn = deployment.states.start_execution(
        stateMachineArn=parents[0],
        name=f"test-{uuid.uuid4()}",
        input=json.dumps({"csv_s3_uri": uri, "target": {"type": "tool", "name": "echo"}}),
    )["executionArn"]
    description = deployment.wait(arn)
    assert description["status"] == "SUCCEEDED", description
    output = json.loads(description["output"])
    assert set(output) >= DOCUMENT_KEYS
    assert output["succeeded"] == 2


def execution_of(deployment: Deployment, batch_name: str) -> str:
    """The ARN of the execution whose input names the batch; "" while there is none."""
    listed = deployment.states.list_executions(stateMachineArn=deployment.machine, maxResults=20)["executions"]
    for arn in (one["executionArn"] for one in listed):
        if batch_name in deployment.states.describe_execution(executionArn=arn)["input"]:
            return str(arn)
    return ""


@pytest.mark.local_only("it lists and starts the account's schedules")
def test_a_schedule_starts_a_batch_by_its_own_role(deployment: Deployment) -> None:
    scheduler = deployment.client("scheduler")
    (listed,) = scheduler.list_schedules()["Schedules"]
    schedule = scheduler.get_schedule(Name=listed["Name"])
    assert schedule["State"] == "DISABLED"
    batch_name = f"nightly-{uuid.uuid4().hex[:8]}"
    document = {
        "csv_s3_uri": deployment.upload(csv_bytes([["text"], ["a"], ["b"]])),
        "target": {"type": "tool", "name": "echo"},
        "notification_config": {"batch_name": batch_name},
    }
    kept = {name: schedule[name] for name in ("Name", "FlexibleTimeWindow", "ScheduleExpression", "State", "Target")}
    now = {
        "ScheduleExpression": f"at({datetime.now(UTC):%Y-%m-%dT%H:%M:%S})",
        "State": "ENABLED",
        "Target": schedule["Target"] | {"Input": json.dumps(document)},
    }
    try:
        scheduler.update_schedule(**kept | now)
        started = eventually(lambda: execution_of(deployment, batch_name))
    finally:
        scheduler.update_schedule(**kept)

    assert started, "no execution was started within a minute"
    description = deployment.wait(started)
    assert description["status"] == "SUCCEEDED", description
    assert json.loads(description["output"])["succeeded"] == 2
