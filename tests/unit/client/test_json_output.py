"""Every command can print its result as JSON, alone on standard output; and what the exit codes say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from batch_processor_client import cli, executions, files, following, stop, trials
from batch_processor_client import remap as remaps
from batch_processor_client import resync as resyncs
from batch_processor_client.deployment import Deployment
from batch_processor_client.progress import Progress
from batch_processor_client.remap import Remap
from batch_processor_client.resync import Compared, Replayed
from row_batches.rows.records import RowStatus
from row_batches.run.remap import Remapped
from row_batches.run.runs import Approval
from tests.support.local_aws import REPOSITORY
from tests.unit.client.fakes import EXECUTION, OUTPUTS

WITHOUT_JSON = {
    "api": "prints the answer, which is JSON",
    "schema guess": "prints a schema, a YAML file",
    "console": "serves until Ctrl-C",
    "mcp": "serves until Ctrl-C",
}


def commands(app: typer.Typer = cli.app, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its name on the command line."""

    def walk(command: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, one in command.commands.items():
            if hasattr(one, "commands"):
                yield from walk(one, f"{prefix}{name} ")
            else:
                yield f"{prefix}{name}", one

    yield from walk(typer.main.get_command(app), prefix)


def test_every_command_prints_json_or_says_why_not() -> None:
    without = {name for name, one in commands() if not any("--json" in option.opts for option in one.params)}
    assert without == WITHOUT_JSON.keys()


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps(OUTPUTS))
    monkeypatch.setattr(Deployment, "client", lambda *_, **__: None)
    return lambda *arguments: CliRunner().invoke(cli.app, ["--outputs", str(outputs), *arguments])


def followed(monkeypatch: pytest.MonkeyPatch, invoke: Any, last: Progress) -> Result:
    monkeypatch.setattr(executions, "describe", lambda *_: {"status": "RUNNING"})
    monkeypatch.setattr(following, "follow", lambda *_: iter([Progress(execution="night-run"), last]))
    result: Result = invoke("follow", EXECUTION, "--json")
    return result


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("ABORTED", 1)])
def test_following_prints_the_ending_alone_and_its_exit_code_says_how_it_ended(
    monkeypatch: pytest.MonkeyPatch, invoke: Any, status: str, code: int
) -> None:
    ending = executions.Ending(status=status, document={"total_rows": 3})
    done = followed(monkeypatch, invoke, Progress(execution="night-run", ending=ending))
    said = json.loads(done.stdout)
    assert (said["execution"], said["ending"]["status"]) == ("night-run", status)
    assert said["ending"]["document"] == {"total_rows": 3}
    assert done.exit_code == code
    assert "Execution night-run" in done.stderr


def test_following_a_run_that_waits_for_an_approval_asks_nothing(monkeypatch: pytest.MonkeyPatch, invoke: Any) -> None:
    now = datetime(2026, 11, 27, tzinfo=UTC)
    approval = Approval(token="secret", asked_at=now, until=now)
    monkeypatch.setattr(trials, "trial_report", lambda *_: None)
    done = followed(monkeypatch, invoke, Progress(execution="night-run", approval=approval))
    assert json.loads(done.stdout) == {
        "execution": "night-run",
        "ending": None,
        "waits_until": "2026-11-27T00:00:00Z",
        "trial": None,
    }
    assert done.exit_code == 0
    assert "secret" not in done.output


@pytest.mark.parametrize(("stage", "code"), [(stop.Stage.WRITTEN, 0), (stop.Stage.UNWRITTEN, 1)])
def test_a_stop_prints_its_last_stage_and_fails_without_an_output(
    monkeypatch: pytest.MonkeyPatch, invoke: Any, stage: stop.Stage, code: int
) -> None:
    stages = [stop.Stop(stage=stop.Stage.STOPPED), stop.Stop(stage=stage, output_s3_uri="s3://results/o")]
    monkeypatch.setattr(stop, "stop", lambda *_, **__: iter(stages))
    done = invoke("stop", "night-run", "--json")
    assert json.loads(done.stdout) == {"stage": stage.value, "ending": None, "output_s3_uri": "s3://results/o"}
    assert done.exit_code == code
    assert "Stopped. Waiting for the output" in done.stderr


def test_a_resync_prints_every_step_and_fails_if_something_is_left(
    monkeypatch: pytest.MonkeyPatch, invoke: Any
) -> None:
    steps = [Replayed(key="sync-failed/1", merged=2), Compared(compared=9, failed=1)]
    monkeypatch.setattr(resyncs, "resync", lambda *_: iter(steps))
    done = invoke("resync", "--json")
    assert [step.get("merged") for step in json.loads(done.stdout)] == [2, 0]
    assert done.exit_code == 1


def test_addresses_links_and_files_are_json(monkeypatch: pytest.MonkeyPatch, invoke: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("id\n1\n")
    monkeypatch.setattr(files, "upload", lambda *_: "s3://inputs/shared/files/rows.csv")
    monkeypatch.setattr(files, "presign", lambda *_: "https://link")
    monkeypatch.setattr(files, "download", lambda *_: rows)
    assert json.loads(invoke("upload", str(rows), "--json").stdout) == {"uri": "s3://inputs/shared/files/rows.csv"}
    assert json.loads(invoke("presign", "s3://a/b", "--json").stdout) == {"url": "https://link"}
    assert json.loads(invoke("download", "s3://a/b", str(rows), "--json").stdout) == {"file": str(rows)}


def test_what_needs_no_deployment_is_json_too(invoke: Any, tmp_path: Path) -> None:
    made = json.loads(invoke("new-target", "mine", "--from", "tool", "--folder", str(tmp_path), "--json").stdout)
    assert made["folder"] == str(tmp_path / "mine")
    assert "handler.py" in made["files"]
    (checked,) = json.loads(invoke("check-targets", "--folder", str(tmp_path), "--json").stdout)
    assert checked.startswith("mine: ")
    found = json.loads(invoke("schema", "check", "--schemas", str(REPOSITORY / "schemas"), "--json").stdout)
    assert {one["file"] for one in found} == {path.name for path in (REPOSITORY / "schemas").glob("*.yaml")}


def test_the_command_line_says_2_when_it_is_wrong_and_1_when_it_is_refused(invoke: Any) -> None:
    assert invoke("follow").exit_code == 2
    assert invoke("runs", "--limit", "0").exit_code == 2


def test_an_interrupted_following_says_130(monkeypatch: pytest.MonkeyPatch, invoke: Any) -> None:
    def interrupted(*_: Any) -> Iterator[Progress]:
        yield Progress(execution="night-run")
        raise KeyboardInterrupt

    monkeypatch.setattr(executions, "describe", lambda *_: {"status": "RUNNING"})
    monkeypatch.setattr(following, "follow", interrupted)
    assert invoke("follow", EXECUTION, "--json").exit_code == 130


def test_a_remap_is_json(monkeypatch: pytest.MonkeyPatch, invoke: Any, tmp_path: Path) -> None:
    document = tmp_path / "batch.json"
    document.write_text("{}")
    new = Remapped(key="o", columns=["mood"], counts=Counter({RowStatus.SUCCESS: 2}), first_rows=[{"mood": "glad"}])
    monkeypatch.setattr(remaps, "remap", lambda *_: Remap(output_s3_uri="s3://results/o", remapped=new))
    assert json.loads(invoke("remap", "night-run", "--input", str(document), "--json").stdout) == {
        "output_s3_uri": "s3://results/o",
        "columns": ["mood"],
        "total_rows": 2,
        "counts": {"SUCCESS": 2},
        "unfinished": 0,
        "warnings": [],
        "first_rows": [{"mood": "glad"}],
    }
