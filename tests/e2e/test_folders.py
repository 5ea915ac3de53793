"""A folder of files is one batch, and rows without content are listed and cost no call."""

from __future__ import annotations

import gzip
import uuid

import pytest

from tests.support.deployment import Deployment, csv_bytes

HEADER = ["id", "text"]


@pytest.mark.parametrize("storage_mode", ["s3", "dynamodb"])
def test_a_folder_with_lines_of_commas_runs_its_rows_and_lists_all(deployment: Deployment, storage_mode: str) -> None:
    folder = f"folders/{uuid.uuid4().hex}/"
    first = csv_bytes([HEADER, ["1", "one"], *[["", ""]] * 300, ["2", "two"]])
    second = gzip.compress(csv_bytes([["text", "id"], ["three", "3"], *[["", ""]] * 300]))
    for name, body in (("a.csv", first), ("b.csv.gz", second), ("_SUCCESS", b"")):
        deployment.upload(body, folder + name)
    document = {
        "input_s3_uri": f"s3://{deployment.outputs['input_bucket']}/{folder}",
        "target": {"type": "tool", "name": "echo"},
        "input_format": {"source_column": "file"},
        "execution_config": {"storage_mode": storage_mode},
    }

    run = deployment.run(document).assert_succeeded()

    assert run.summary["attempts"] == 3
    assert [run.summary[name] for name in ("total_rows", "succeeded", "failed", "skipped")] == [603, 3, 0, 600]
    rows = run.rows
    assert [row["_row_id"] for row in rows] == [str(number) for number in range(1, 604)]
    sent = [(row["id"], row["text"], row["file"]) for row in rows if row["_status"] == "SUCCESS"]
    assert sent == [("1", "one", "a.csv"), ("2", "two", "a.csv"), ("3", "three", "b.csv.gz")]
    assert {row["_status"] for row in rows} == {"SUCCESS", "SKIPPED"}
    assert "600 rows have no content and are skipped." in run.summary["warnings"]
