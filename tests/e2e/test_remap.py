"""Other columns for a run that has ended, from the answers that are kept."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

from tests.support.client import run_client
from tests.support.deployment import METADATA, Deployment, Run, csv_bytes

HEADER = ["mode", "n", "text"]
ROWS = [
    ["ok", "1", "plain"],
    ["fail", "0", 'quotes "inside"\r\nand lines'],
    ["ok", "3", "C:\\path\\new"],
    ["ok", "x", ""],
]


def remap(
    deployment: Deployment, run: Run, output_mapping: dict[str, Any], folder: Path
) -> subprocess.CompletedProcess[str]:
    document, output = folder / "batch.json", folder / "new.csv"
    document.write_text(json.dumps({"output_mapping": output_mapping}))
    return run_client(deployment, "remap", "--input", str(document), "--output", str(output), run.name)


def table(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode(), newline=""), strict=True))


def test_a_run_gets_other_columns_and_all_else_stays(deployment: Deployment, tmp_path: Path) -> None:
    # Given a run with three answers, and a row that could not be mapped in
    document = {
        "target": {"type": "tool", "name": "echo"},
        "input_mapping": {
            "column_mappings": {"text": "text"},
            "transformations": {"n": {"type": "regex", "config": {"column": "n", "pattern": "([0-9]+)"}}},
        },
        "output_mapping": {"columns": [{"name": "echoed", "source": "$.input.text"}]},
    }
    run = deployment.run(document, csv_bytes([HEADER, *ROWS])).assert_succeeded()
    output = run.output

    # When it is mapped anew
    mapping = {
        "columns": [
            {"name": "number", "source": "$.input.n", "type": "number", "format": "%.1f", "default": None},
            {"name": "answer", "source": "$.type", "default": "no answer"},
        ]
    }
    done = remap(deployment, run, mapping, tmp_path)

    # Then the new file has the new columns, and all else as it was
    assert done.returncode == 0, done.stdout + done.stderr
    header, *rows = table((tmp_path / "new.csv").read_bytes())
    assert header == [*HEADER, "number", "answer", *METADATA]
    assert [row[:3] for row in rows] == ROWS
    assert [row[3:5] for row in rows] == [
        ["1.0", "tool_result"],
        ["0.0", "tool_result"],
        ["3.0", "tool_result"],
        ["", "no answer"],
    ]
    assert [row[5:] for row in rows] == [row[4:] for row in run.table[1:]]
    assert [row["_status"] for row in run.rows] == ["SUCCESS", "SUCCESS", "SUCCESS", "FAILED"]
    # And lies in S3, tagged, beside the original, which is as it was
    bucket = deployment.outputs["results_bucket"]
    (key,) = deployment.keys(f"results/{run.name}/remapped/")
    assert f"s3://{bucket}/{key}" in done.stdout
    assert deployment.read(bucket, key) == (tmp_path / "new.csv").read_bytes()
    assert run.result("output.csv") == output
    tags = deployment.s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "execution_id": run.name,
        "batch_name": "echo",
        "target": "echo",
    }


def test_the_same_mapping_gives_the_same_file_and_no_agent_is_called(deployment: Deployment, tmp_path: Path) -> None:
    mapping = {"columns": [{"name": "value", "source": "$.value", "default": "none"}]}
    batch_name = f"remap{uuid.uuid4().hex[:8]}"
    document = {
        "target": {"type": "agent", "name": "chaos_agent"},
        "output_mapping": mapping,
        "execution_config": {"max_concurrency": 4, "retry_policy": {"max_attempts": 1}},
        "notification_config": {"batch_name": batch_name},
    }
    rows = [["ok", "1"], ["fail", "0"], ["garbage", "0"], ["ok", "4"]]
    run = deployment.run(document, csv_bytes([["mode", "n"], *rows])).assert_succeeded()

    done = remap(deployment, run, mapping, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "new.csv").read_bytes() == run.output
    assert "FAILED" in {row["_status"] for row in run.rows}
    assert len(deployment.agent_executions(batch_name)) == len(rows)


def test_every_mistake_in_the_mapping_is_named(deployment: Deployment, tmp_path: Path) -> None:
    document = {"target": {"type": "tool", "name": "echo"}}
    run = deployment.run(document, csv_bytes([["id", "text"], ["1", "x"]])).assert_succeeded()

    done = remap(deployment, run, {"columns": [{"name": "a", "source": "$["}, {"name": "b", "sauce": "$.b"}]}, tmp_path)

    assert done.returncode == 1
    for place in ("columns[0].source", "columns[1].sauce"):
        assert f"output_mapping.{place}" in done.stderr
    assert "Traceback" not in done.stderr
    assert deployment.keys(f"results/{run.name}/remapped/") == []
