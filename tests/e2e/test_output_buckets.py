"""Results in several formats at once, and copied to a bucket of the user's, which has a key and a policy of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from python_calamine import CalamineWorkbook

from tests.e2e.test_bad_input import assert_refused
from tests.support.client import run_client
from tests.support.deployment import Deployment, Run, csv_bytes
from tests.support.iam import role_of
from tests.support.notifications import Subscription
from tests.support.output_bucket import MISSING_BUCKET, OUTPUT_BUCKET

pytestmark = pytest.mark.local_only("the bucket and its key are made for the local AWS")

ALL_FORMATS = ["csv", "xlsx", "jsonl", "parquet"]
FILES = [
    "failed_rows.csv",
    "output.csv",
    "output.jsonl",
    "output.xlsx",
    "output/part-00001.parquet",
    "proof.json",
    "proof_rows.b64",
    "summary.json",
]
BODY = csv_bytes([["mode", "n", "text"], ["ok", "1", "007"], ["fail", "0", "=1+1"], ["ok", "3", "emoji 🎉"]])


@pytest.fixture(autouse=True)
def _bucket_is_allowed(deployment: Deployment) -> None:
    if "TF_VAR_output_buckets" not in deployment.variables:
        pytest.skip("this deployment was applied without the bucket")


def document(folder: str = "tickets", bucket: str = OUTPUT_BUCKET, **changes: Any) -> dict[str, Any]:
    return {
        "target": {"type": "tool", "name": "chaos"},
        "output_s3_uri": f"s3://{bucket}/{folder}/",
        "output_mapping": {"columns": [{"name": "value", "source": "$.value", "type": "string", "default": "none"}]},
        "execution_config": {"retry_policy": {"max_attempts": 1}},
        **changes,
    }


def delivered(deployment: Deployment, run: Run, folder: str = "tickets") -> dict[str, bytes]:
    """The objects in the user's folder of a run, by name."""
    prefix = f"{folder}/{run.name}/"
    listed = deployment.s3.list_objects_v2(Bucket=OUTPUT_BUCKET, Prefix=prefix).get("Contents", [])
    return {item["Key"].removeprefix(prefix): deployment.read(OUTPUT_BUCKET, item["Key"]) for item in listed}


@contextmanager
def denied(deployment: Deployment, function: str, action: str) -> Iterator[None]:
    """The bucket's policy denies the role of a function an action."""
    role = deployment.client("iam").get_role(RoleName=role_of(deployment, function))["Role"]["Arn"]
    statement = {"Effect": "Deny", "Principal": {"AWS": role}, "Action": action}
    statement["Resource"] = f"arn:aws:s3:::{OUTPUT_BUCKET}/*"
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    deployment.s3.put_bucket_policy(Bucket=OUTPUT_BUCKET, Policy=json.dumps(policy))
    try:
        yield
    finally:
        deployment.s3.delete_bucket_policy(Bucket=OUTPUT_BUCKET)


def test_all_formats_have_the_same_rows_and_each_file_is_copied_as_it_is(
    deployment: Deployment, tmp_path: Path
) -> None:
    # Given a run that writes every format and wants the results in a bucket of the user's
    with Subscription(deployment) as subscription:
        run = deployment.run(document(output_format={"type": ALL_FORMATS}), BODY).assert_succeeded()
        message = json.loads(subscription.message_of(run.name)["Message"])

    # Then the formats have the same rows
    names = run.table[0]
    shown = [[row[name] for name in ("mode", "n", "text", "value", "_row_id", "_status")] for row in run.rows]
    lines = [json.loads(line) for line in run.result("output.jsonl").splitlines()]
    assert [
        [str(line[name]) for name in ("mode", "n", "text", "value", "_row_id", "_status")] for line in lines
    ] == shown
    workbook = CalamineWorkbook.from_filelike(io.BytesIO(run.result("output.xlsx")))
    sheet = workbook.get_sheet_by_index(0).to_python()
    assert sheet[0] == names
    assert [row[:3] for row in sheet[1:]] == [row[:3] for row in run.table[1:]]
    part = tmp_path / "part.parquet"
    part.write_bytes(run.result("output/part-00001.parquet"))
    found = duckdb.sql(
        f"SELECT mode, n, text, value, _row_id::VARCHAR, _status FROM '{part}' ORDER BY _row_id"
    ).fetchall()
    assert [list(row) for row in found] == shown

    # And each file is in the user's bucket, under the key of that bucket
    copies = delivered(deployment, run)
    assert sorted(copies) == FILES
    assert copies == {name: run.result(name) for name in FILES}
    key = f"tickets/{run.name}/output.csv"
    assert deployment.s3.head_object(Bucket=OUTPUT_BUCKET, Key=key)["ServerSideEncryption"] == "aws:kms"
    address = f"s3://{OUTPUT_BUCKET}/tickets/{run.name}/"
    for told in (run.document, run.summary, message):
        assert told["delivery"] == {"s3_uri": address, "status": "COPIED", "reason": ""}

    # And the command shows the address, and a remap writes, names and copies every format anew
    assert address in run_client(deployment, "results", run.name).stdout
    batch = tmp_path / "batch.json"
    batch.write_text(json.dumps({"output_mapping": {"columns": [{"name": "whole", "source": "$"}]}}))
    done = run_client(deployment, "remap", "--input", str(batch), run.name)
    assert done.returncode == 0, done.stdout + done.stderr
    remapped = {name for name in delivered(deployment, run) if name.startswith("remapped/")}
    written = ("output.csv", "output.jsonl", "output.xlsx", "output/part-00001.parquet")
    assert {name.split("/", 2)[2] for name in remapped} == set(written)
    (folder,) = {name.split("/")[1] for name in remapped}
    results = f"s3://{deployment.outputs['results_bucket']}/results/{run.name}/remapped/{folder}/"
    for name in ("output.csv", "output.xlsx", "output.jsonl", "output/"):
        assert results + name in done.stdout
    assert f"{address}remapped/{folder}/" in done.stdout


def test_a_place_that_cannot_be_written_is_refused_before_a_row_runs(deployment: Deployment) -> None:
    missing = deployment.run(document(bucket=MISSING_BUCKET), BODY)
    assert_refused(missing, "output_s3_uri", "the bucket does not exist")
    for action in ("s3:PutObject", "s3:AbortMultipartUpload"):
        with denied(deployment, "validate_input", action):
            assert_refused(
                deployment.run(document(), BODY), "output_s3_uri", f"{action} is denied", "the bucket's policy"
            )


def test_a_copy_that_is_refused_at_the_end_is_a_warning_of_a_run_that_succeeds(deployment: Deployment) -> None:
    with denied(deployment, "aggregate_results", "s3:PutObject"), Subscription(deployment) as subscription:
        run = deployment.run(document(), BODY).assert_succeeded()
        message = json.loads(subscription.message_of(run.name)["Message"])

    assert len(run.rows) == 3
    assert delivered(deployment, run) == {}
    for told in (run.document, run.summary, message):
        assert told["delivery"]["status"] == "FAILED"
        assert "s3:PutObject is denied" in told["delivery"]["reason"]
    for warnings in (run.summary["warnings"], message["warnings"]):
        assert any("The results were not copied" in warning and "aws s3 cp" in warning for warning in warnings)
