"""`reparse`: it says first what would be read, and stores nothing without a yes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from batch_processor_client import cli, jobs
from batch_processor_client.cli import jobs as cli_jobs
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from tests.support.terraform_files import REPOSITORY
from tests.unit.client.fakes import OUTPUTS

FUNCTION = "ventureos-bedrock-batch-result-stage"
JOB = "batch-1790000000-0123abcd"
FOUND = {"jobId": JOB, "answers": 74, "read": 61, "repaired": 3, "costUSD": 0.0, "complete": True, "last": "part-9"}


class FakeFunction:
    """Answers as given, one after the other."""

    def __init__(self, *answers: dict[str, Any], failed: bool = False) -> None:
        self.answers = list(answers)
        self.failed = failed
        self.events: list[dict[str, Any]] = []

    def invoke(self, **request: Any) -> dict[str, Any]:
        assert request["FunctionName"] == FUNCTION
        self.events.append(json.loads(request["Payload"])["reparse"])
        failed = {"FunctionError": "Unhandled"} if self.failed else {}
        return {"Payload": io.BytesIO(json.dumps(self.answers.pop(0)).encode()), **failed}


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps({**OUTPUTS, "bedrock_function_names": {"bedrock_batch_result": FUNCTION}}))
    return path


def run(
    monkeypatch: pytest.MonkeyPatch, outputs: Path, function: FakeFunction, *options: str
) -> tuple[str, list[bool]]:
    """What the command prints, and for each call whether it was a dry run."""
    monkeypatch.setattr(Deployment, "client", lambda *_: function)
    done = CliRunner().invoke(cli.app, ["--outputs", str(outputs), "reparse", JOB, *options], catch_exceptions=False)
    assert done.exit_code == 0
    assert all(event["jobId"] == JOB for event in function.events)
    return done.output, [event["dryRun"] for event in function.events]


def test_what_would_be_read_is_said_and_nothing_is_stored_without_a_yes(
    monkeypatch: pytest.MonkeyPatch, outputs: Path
) -> None:
    shown, dry_runs = run(monkeypatch, outputs, FakeFunction(FOUND))
    assert dry_runs == [True]
    assert shown.splitlines() == [
        "61 of 74 would now be read, 0.00 USD.",
        "Nothing was stored. To store the content: YES=1 with make, or --yes.",
    ]


def test_with_a_yes_it_is_stored_in_as_many_calls_as_it_takes(monkeypatch: pytest.MonkeyPatch, outputs: Path) -> None:
    first = {**FOUND, "read": 40, "complete": False, "last": "part-1"}
    function = FakeFunction(FOUND, first, {**FOUND, "read": 21})
    shown, dry_runs = run(monkeypatch, outputs, function, "--yes")
    assert dry_runs == [True, False, False]
    assert [event["after"] for event in function.events] == ["", "", "part-1"]
    assert shown.splitlines()[-1] == "61 records have content now. The sync brings it into the lake."


def test_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, outputs: Path) -> None:
    monkeypatch.setattr(cli_jobs, "has_terminal", lambda: True)
    monkeypatch.setattr(Deployment, "client", lambda *_: function)
    for answer, dry_runs in (("n\n", [True]), ("y\n", [True, False])):
        function = FakeFunction(FOUND, FOUND)
        done = CliRunner().invoke(cli.app, ["--outputs", str(outputs), "reparse", JOB], input=answer)
        assert "Store their content? [y/N]" in done.output
        assert [event["dryRun"] for event in function.events] == dry_runs


def test_as_json_it_asks_nothing(monkeypatch: pytest.MonkeyPatch, outputs: Path) -> None:
    shown, dry_runs = run(monkeypatch, outputs, FakeFunction(FOUND), "--json")
    assert dry_runs == [True]
    assert json.loads(shown) == {"job_id": JOB, "answers": 74, "read": 61, "cost_usd": 0.0, "stored": False}


def test_when_nothing_can_be_read_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, outputs: Path) -> None:
    shown, dry_runs = run(monkeypatch, outputs, FakeFunction({**FOUND, "read": 0}), "--yes")
    assert (shown.splitlines(), dry_runs) == (["0 of 74 would now be read, 0.00 USD."], [True])


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (FakeFunction({**FOUND, "complete": False, "last": ""}), "no time for a single object"),
        (
            FakeFunction({"errorType": "InvalidInputError", "errorMessage": "no such job"}, failed=True),
            "InvalidInputError: no such job",
        ),
    ],
    ids=["no time", "failed"],
)
def test_a_function_that_cannot_do_it_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, outputs: Path, function: FakeFunction, said: str
) -> None:
    monkeypatch.setattr(Deployment, "client", lambda *_: function)
    with pytest.raises(ClientError, match=said):
        jobs.reparse(Deployment.read(outputs), JOB, store=False)


def test_a_deployment_without_bedrock_batches_is_named() -> None:
    with pytest.raises(ClientError, match="stage has no Bedrock batches"):
        jobs.reparse(Deployment.model_validate(OUTPUTS), JOB, store=False)


@pytest.mark.parametrize(("yes", "given"), [("1", True), ("", False), ("0", False)])
def test_make_gives_the_job_and_the_yes_and_leaves_the_terminal_to_the_question(
    tmp_path: Path, yes: str, given: bool
) -> None:
    command = tmp_path / "python"
    command.write_text('#!/bin/sh\necho "$(cat)|$*"\n', encoding="utf-8")
    command.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "reparse", f"DEV={command}", "RUNTIME=", f"JOB={JOB}", f"YES={yes}"],
        cwd=REPOSITORY,
        input="typed",
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    arguments = f"-m batch_processor_client --env local reparse{' --yes' if given else ''} -- {JOB}"
    assert done.stdout.strip() == f"typed|{arguments}"
