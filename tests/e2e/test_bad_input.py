"""Bad input is refused before any row runs, with every mistake named: place, value, fix."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.deployment import Deployment, Run, csv_bytes

GOOD_CSV = csv_bytes([["id", "text"], ["1", "x"], ["2", "y"]])


def document(**changes: Any) -> dict[str, Any]:
    return {"target": {"type": "tool", "name": "echo"}, **changes}


def assert_refused(run: Run, *expected: str) -> None:
    assert (run.status, run.error) == ("FAILED", "InvalidInputError"), f"{run.status} {run.error}: {run.cause}"
    for text in expected:
        assert text in run.cause, f"{text!r} is not in: {run.cause}"
    assert "Fix:" in run.cause
    assert run.deployment.states.list_map_runs(executionArn=run.arn)["mapRuns"] == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"id,text\n1,x\n2,y,z\n3\n", ["csv_s3_uri", "line 3", "line 4"], id="ragged rows"),
        pytest.param(b'id,text\n1,x"y\n', ["line 2", "quote"], id="bare quote"),
        pytest.param(b'id,text\n1,"x"y\n', ["line 2", "quote"], id="text after a closing quote"),
        pytest.param("id,text\n1,café à gogo\n".encode() + b"2,\xff\n", ["line 3", "UTF-8"], id="damaged UTF-8"),
        pytest.param(b"", ["empty"], id="empty file"),
    ],
)
def test_a_csv_that_cannot_be_trusted_is_refused(deployment: Deployment, body: bytes, expected: list[str]) -> None:
    assert_refused(deployment.run(document(), body), *expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"output_mapping": {"columns": [{"name": f"c{i}", "source": "$.x"} for i in range(1001)]}},
            ["output_mapping.columns", "1,000"],
            id="1,001 output columns",
        ),
        pytest.param(
            {"target": {"type": "tool", "name": "ecko"}}, ["target.name", "ecko", "echo"], id="unknown target"
        ),
        pytest.param(
            {"target": {"type": "tool", "name": "retired"}}, ["target.name", "disabled"], id="disabled target"
        ),
        pytest.param(
            {
                "target": {
                    "type": "tool",
                    "name": "echo",
                    "arn": "arn:aws:lambda:us-east-1:000000000000:function:somebody-elses",
                }
            },
            ["target.arn", "somebody-elses", "targets"],
            id="arn not allowed",
        ),
        pytest.param(
            {"input_mapping": {"column_mappings": {"txet": "a"}}},
            ["input_mapping.column_mappings", "txet", "text"],
            id="unknown column",
        ),
        pytest.param(
            {"output_mapping": {"columns": [{"name": "a", "source": "$..["}]}},
            ["output_mapping.columns[0].source", "$..["],
            id="bad JSONPath",
        ),
        pytest.param({"ouput_mapping": {}}, ["ouput_mapping", "output_mapping"], id="unknown field"),
        pytest.param(
            {"execution_config": {"timeout_seconds": "300"}},
            ["execution_config.timeout_seconds", "300"],
            id="wrong type",
        ),
        pytest.param(
            {"execution_config": {"max_concurrency": 0}}, ["execution_config.max_concurrency", "0"], id="no concurrency"
        ),
    ],
)
def test_a_wrong_document_is_refused_by_path_and_value(
    deployment: Deployment, changes: dict[str, Any], expected: list[str]
) -> None:
    assert_refused(deployment.run(document(**changes), GOOD_CSV), *expected)


def test_three_mistakes_are_named_at_once(deployment: Deployment) -> None:
    run = deployment.run(
        document(
            execution_config={"max_concurrency": 0},
            input_mapping={"column_mappings": {"txet": "a"}},
            outputs={},
        ),
        GOOD_CSV,
    )
    assert_refused(run, "3 problems", "execution_config.max_concurrency", "txet", "outputs")


def test_a_missing_object_is_named(deployment: Deployment) -> None:
    uri = f"s3://{deployment.outputs['input_bucket']}/not/there.csv"
    assert_refused(deployment.run(document(csv_s3_uri=uri)), "csv_s3_uri", "not/there.csv")


def test_a_bucket_that_the_deployment_does_not_read_is_refused_by_the_variables_name(deployment: Deployment) -> None:
    assert_refused(deployment.run(document(csv_s3_uri="s3://elsewhere/x.csv")), "csv_s3_uri", "input_buckets")


def test_a_document_that_is_no_object_is_refused(deployment: Deployment) -> None:
    arn = deployment.start(["not", "an", "object"])
    assert_refused(Run(deployment, arn, deployment.wait(arn), ""))


def test_a_dry_run_estimates_and_runs_nothing(deployment: Deployment) -> None:
    run = deployment.run(document(dry_run=True), GOOD_CSV).assert_succeeded()
    assert run.document["status"] == "DRY_RUN"
    assert run.document["total_rows"] == 2
    assert run.document["estimate"]["total"]["best"] > 0
    assert deployment.states.list_map_runs(executionArn=run.arn)["mapRuns"] == []
