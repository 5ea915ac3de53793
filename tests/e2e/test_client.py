"""The client on a deployment: a run without a document, its progress, the list of runs, a notebook, an agent."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mcp import Client
from mcp.types import CallToolResult

from batch_processor_client.deployment import Deployment as Outputs
from batch_processor_client.documents import LEAST_COST_USD
from batch_processor_client.notebook import Deployment as Notebook
from batch_processor_client.runs import read_plan, status
from tests.support.client import run_client
from tests.support.deployment import Deployment
from tests.support.fresh_environments import CLIENT, VERSIONS, installed, run
from tests.support.mcp_servers import http_server, talk_over_http, talk_over_stdio
from tests.support.terraform_files import REPOSITORY

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
    assert lines[3].startswith("column       result: the whole answer")
    assert json.loads(lines[4].removeprefix("document     "))["target"] == {"type": "tool", "name": "echo"}
    assert "text 4" in done.stdout
    header, *output = saved.read_text().splitlines()
    assert header.startswith("body,note,result,")
    assert len(output) == ROWS
    # And the run is in the list, with all rows counted
    name = lines[5].removeprefix("Execution ")
    listed = json.loads(run_client(deployment, "runs", "--json", "--target", "echo").stdout)["runs"]
    assert name in [run["execution"] for run in listed]
    counts = json.loads(run_client(deployment, "status", "--json", name).stdout)["counts"]
    assert counts["succeeded"] == ROWS


SHOWS_WHAT_IS_THERE = """
assert list(output["body"]) == ["Great!", "Broken."]
assert list(output["_status"]) == ["SUCCESS", "SUCCESS"]
assert failed.empty
assert "2 of 2 rows" in run._repr_html_()
print(run.name)
"""


@pytest.mark.parametrize("python", VERSIONS)
def test_the_notebook_example_runs_in_a_fresh_environment(deployment: Deployment, python: str, tmp_path: Path) -> None:
    # Given an environment with nothing but the client and what it brings
    programs = installed(python, tmp_path, "notebook")
    # When the example of the documentation runs in it
    example = re.findall(r"```python\n(.*?)```", (CLIENT / "README.md").read_text(encoding="utf-8"), re.S)[0]
    script = tmp_path / "example.py"
    script.write_text(example + SHOWS_WHAT_IS_THERE, encoding="utf-8")
    name = run(str(programs / "python"), str(script), folder=REPOSITORY, **deployment.variables).strip()
    # Then it has the output, and the run is one like any other
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps(deployment.outputs))
    assert status(Outputs.read(outputs), name).counts.succeeded == 2


def test_a_file_runs_from_a_notebook(deployment: Deployment, tmp_path: Path) -> None:
    outputs, rows = tmp_path / "outputs.json", tmp_path / "rows.csv"
    outputs.write_text(json.dumps(deployment.outputs))
    rows.write_text("body\n" + "".join(f"text {number}\n" for number in range(ROWS)))
    started = Notebook(outputs=outputs).run(rows, target="echo", columns={"body": "text"}).wait()
    assert list(started.df()["body"]) == [f"text {number}" for number in range(ROWS)]
    assert started.failures().empty
    assert started.progress.done == started.progress.total == ROWS


CHAOS = {
    "target": {"type": "tool", "name": "chaos"},  # it has a price
    "input_mapping": {"column_mappings": {"mode": "mode"}},
    "output_mapping": {"columns": [{"name": "value", "source": "$.value"}]},
}
NO_PRICE = {"target": {"type": "tool", "name": "no_price"}}


def test_an_agent_spends_within_its_budget_and_follows_what_it_starts(deployment: Deployment, tmp_path: Path) -> None:
    # Given a server that an agent starts, with a budget that is too low for any run
    outputs, files = tmp_path / "outputs.json", tmp_path / "files"
    outputs.write_text(json.dumps(deployment.outputs))
    files.mkdir()
    (files / "rows.csv").write_text("mode\n" + "ok\n" * ROWS)
    # And a target without a price
    registry, client = deployment.outputs["registry_table"], deployment.client("dynamodb")
    echo = client.get_item(TableName=registry, Key={"name": {"S": "echo"}})["Item"]
    del echo["cost_per_call_usd"]
    client.put_item(TableName=registry, Item={**echo, "name": {"S": "no_price"}})

    async def ask(client: Client) -> list[CallToolResult]:
        given = {"file": "rows.csv"}
        return [
            await client.call_tool("estimate", {"document": CHAOS, **given}),
            await client.call_tool("start", {"document": CHAOS, "name": "agents-run", **given}),
            await client.call_tool("start", {"document": NO_PRICE, "name": "agents-run", **given}),
            await client.call_tool("status", {"execution": "agents-run"}),
        ]

    said = talk_over_stdio(outputs, ask, "--budget-usd", "0.0001", "--files", str(files))
    client.delete_item(TableName=registry, Key={"name": {"S": "no_price"}})
    # Then it is told the price, and that a person must approve; nothing was started
    planned, refused, unknown, nothing = (one.structured_content for one in said)
    assert planned["total_rows"] == ROWS
    assert planned["worst_usd"] > 0.0001
    assert (refused["started"], refused["approval_needed"]) == (False, True)
    assert (unknown["started"], unknown["worst_usd"]) == (False, None)
    assert said[3].is_error
    assert nothing is None
    # When it has a budget that suffices, over HTTP
    told: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async def run_within_budget(client: Client) -> list[CallToolResult]:
        name = {"execution": "agents-run"}
        return [
            await client.call_tool("start", {"document": CHAOS, "name": "agents-run", "file": "rows.csv"}),
            await client.call_tool("follow", name, progress_callback=note),
            await client.call_tool("results", name),
        ]

    with http_server(outputs, "--budget-usd", "1", "--files", str(files)) as address:
        started, followed, results = (one.structured_content for one in talk_over_http(address, run_within_budget))
    # Then the run ends with all rows, and was bound by what it had of the budget
    assert started["started"]
    assert (followed["ended"], followed["run"]["counts"]["succeeded"]) == (True, ROWS)
    assert [done for done, *_ in told] == sorted({done for done, *_ in told})
    assert told[-1] == (ROWS, ROWS, f"{ROWS} rows done, 0 failed")
    assert results["document"]["succeeded"] == ROWS
    plan = read_plan(Outputs.read(outputs), "agents-run")
    assert plan.config.execution_config.cost_limit == max(planned["target_worst_usd"], LEAST_COST_USD)
