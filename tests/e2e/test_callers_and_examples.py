"""The examples of the product, and who may start a batch."""

from __future__ import annotations

import csv
import io
import json
import uuid

import pytest

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
