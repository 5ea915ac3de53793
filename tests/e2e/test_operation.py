"""What operators rely on: the commands, a second apply, a redrive, the aggregator's memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from statistics import median

import pytest

from tests.support.deployment import Deployment, Run, csv_bytes, scaled, terraform
from tests.support.iam import without_grants
from tests.support.local_aws import REPOSITORY

CLIENT = os.pathsep.join(str(REPOSITORY / folder) for folder in ("client", "layers/core/python"))


def command(deployment: Deployment, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ``batch-processor`` as ``make`` does."""
    return subprocess.run(
        [sys.executable, "-m", "batch_processor_client", "--env", deployment.environment, name, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.variables, "PYTHONPATH": CLIENT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_run_uploads_follows_and_shows_the_end(deployment: Deployment) -> None:
    name = f"sample-{uuid.uuid4()}"
    arguments = ["--input", "tests/sample-batch-config.json", "--csv", "tests/sample.csv", "--name", name]
    done = command(deployment, "run", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCEEDED" in done.stdout
    run = Run(deployment, deployment.machine.replace(":stateMachine:", ":execution:") + f":{name}", {}, "")
    assert [row["label"] for row in run.rows] == ["Lamp (2024) / A-1", "Desk / A-2", 'Chair "X" (1999) / A-3']
    assert run.rows[1]["prompt"] == "Describe Desk in {braces} for people, at home"
    assert [row["colour"] for row in run.rows] == ["red", "none", "black"]
    assert [row["year"] for row in run.rows] == ["2024", "0", "1999"]
    assert json.loads(run.rows[0]["all"])["limits"] == {"words": 50}


def test_make_run_names_mistakes_before_anything_starts(deployment: Deployment, tmp_path: Path) -> None:
    document = tmp_path / "batch.json"
    document.write_text(json.dumps({"csv_s3_uri": "s3://b/k.csv", "target": {"type": "tool"}, "max_concurrency": 5}))
    done = command(deployment, "run", "--input", str(document))
    assert done.returncode != 0
    assert "target.name" in done.stdout + done.stderr
    assert "max_concurrency" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_apply_would_change_nothing(deployment: Deployment) -> None:
    assert "No changes" in terraform(["plan", "--env", deployment.environment], deployment.variables)


@pytest.mark.local_only("it takes grants away from a role that others use")
def test_a_redrive_after_a_failed_aggregation_runs_no_row_again(deployment: Deployment) -> None:
    batch_name = f"redrive{uuid.uuid4().hex[:8]}"
    document = {
        "csv_s3_uri": deployment.upload(csv_bytes([["mode", "n"], *[["ok", "1"]] * 5])),
        "target": {"type": "agent", "name": "chaos_agent"},
        "notification_config": {"batch_name": batch_name},
    }
    with without_grants(deployment, "aggregate_results", "s3"):
        arn = deployment.start(document)
        failed = Run(deployment, arn, deployment.wait(arn), "")
    assert (failed.status, failed.error) == ("FAILED", "DeploymentError")
    deployment.states.redrive_execution(executionArn=arn)
    run = Run(deployment, arn, deployment.wait(arn), "").assert_succeeded()
    assert run.document["succeeded"] == 5
    assert len(deployment.states.list_map_runs(executionArn=arn)["mapRuns"]) == 1
    assert len(deployment.agent_executions(batch_name)) == 5


MEASURE = """
import json, sys
sys.path[:0] = ["functions/aggregate_results", "layers/core/python"]
from handler import handler
from tests.support.memory import peak_kilobytes

class Context:
    aws_request_id = "measured"
    function_name = "aggregate_results"
    memory_limit_in_mb = "1024"
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:aggregate_results"
    def get_remaining_time_in_millis(self):
        return 900_000

answer = handler(json.loads(sys.argv[1]), Context())
assert answer["done"], answer
print(peak_kilobytes())
"""


def peak_kilobytes(deployment: Deployment, run: Run) -> int:
    """Peak memory of a fresh process that aggregates the run once more, with the function's own event and settings."""
    assert deployment.local_aws is not None
    function = deployment.client("lambda").get_function_configuration(
        FunctionName=deployment.function("aggregate_results")
    )
    deployment.s3.delete_object(Bucket=deployment.outputs["results_bucket"], Key=f"work/{run.name}/aggregate.json")
    event = {"action": "AGGREGATE", "plan_key": f"work/{run.name}/plan.json", "manifests": []}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(event)],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **function["Environment"]["Variables"], **deployment.local_aws.environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.local_only("the function's process can be measured there only")
def test_the_aggregators_memory_does_not_grow_with_the_rows(deployment: Deployment) -> None:
    document = {"target": {"type": "tool", "name": "echo"}, "execution_config": {"max_concurrency": 10}}
    text = "x" * scaled(400, 4_000)  # so that few rows are many bytes

    def peak(rows: int) -> float:
        body = csv_bytes([["id", "text"], *[[str(i), f"text {i} {text}"] for i in range(rows)]])
        run = deployment.run(document, body, timeout=900).assert_succeeded()
        return median([peak_kilobytes(deployment, run) for _ in range(3)])

    assert peak(scaled(20_000, 2_000)) <= 1.2 * peak(scaled(2_000, 400))
