"""The client on a deployment: a run without a document, its progress, the list of runs, a notebook."""

from __future__ import annotations

import json
from pathlib import Path

import pandas

from batch_processor_client.deployment import Deployment as Outputs
from batch_processor_client.notebook import Deployment as Notebook
from batch_processor_client.runs import status
from tests.support.client import run_client
from tests.support.deployment import Deployment

ROWS = 12


def test_a_file_and_a_target_are_a_run_and_its_output_is_saved(deployment: Deployment, tmp_path: Path) -> None:
    # Given a file of a person's own
    rows, saved = tmp_path / "my rows.csv", tmp_path / "out.csv"
    rows.write_text("body,note\n" + "".join(f"text {number},n\n" for number in range(ROWS)))
    # When it is run without a document
    arguments = ["--csv", str(rows), "--target", "echo", "--columns", "body=text", "--concurrency", "5"]
    done = run_client(deployment, "run", *arguments, "--output", str(saved))
    # Then what is sent is said first, the first rows are shown, and the output is there
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["target       echo", "field        text from column body", "not sent     note"]
    assert "text 4" in done.stdout
    header, *output = saved.read_text().splitlines()
    assert header.startswith("body,note,result,")
    assert len(output) == ROWS
    # And the run is in the list, with all rows counted
    name = lines[3].removeprefix("Execution ")
    listed = json.loads(run_client(deployment, "runs", "--json", "--target", "echo").stdout)["runs"]
    assert name in [run["execution"] for run in listed]
    counts = json.loads(run_client(deployment, "status", "--json", name).stdout)["counts"]
    assert counts["succeeded"] == ROWS


def test_a_data_frame_runs_from_a_notebook(deployment: Deployment, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps(deployment.outputs))
    frame = pandas.DataFrame({"body": [f"text {number}" for number in range(ROWS)]})
    run = Notebook(outputs=outputs).run(frame, target="echo", columns={"body": "text"}).wait()
    assert list(run.df()["body"]) == list(frame["body"])
    assert run.failures().empty
    assert run.progress.done == run.progress.total == ROWS
    assert status(Outputs.read(outputs), run.name).counts.succeeded == ROWS
