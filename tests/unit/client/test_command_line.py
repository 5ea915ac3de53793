"""What the commands take: a mistake is told in make's words, before the deployment is looked up."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.files import readable_file
from batch_processor_client.stop import seconds
from tests.unit.client.fakes import run_command


@pytest.fixture
def nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that asks for the deployment has not checked the command line first."""

    def looked_up(environment: str, outputs: Path | None) -> Deployment:
        raise AssertionError(f"{environment} was looked up")

    monkeypatch.setattr(Deployment, "find", looked_up)


@pytest.mark.usefixtures("nothing_is_looked_up")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "make run INPUT=batch.json"),
        (["run", "--input", "nope.json"], "There is no file nope.json."),
        (["run", "--input", "."], ". cannot be read: Is a directory."),
        (["run", "--input", __file__, "--csv", "nope.csv"], "There is no file nope.csv."),
        (["run", "--input", __file__], "is not JSON"),
        (["follow", ""], "Name the execution: EXECUTION=<name>."),
        (["stop", ""], "Name the execution: EXECUTION=<name>."),
        (["stop", "--grace", "soon", "x"], "GRACE=soon: it is a number of seconds, from 0."),
        (["remap", "x"], "make remap EXECUTION=<name> INPUT=batch.json"),
        (["remap", "--output", "/no/folder/new.csv", "x"], "name a file in a folder that exists"),
        (["seed-lake"], "make seed-lake FILE=violations.csv"),
        (["seed-lake", "--file", "."], ". cannot be read: Is a directory."),
    ],
)
def test_what_is_missing_is_named_before_the_deployment_is_looked_up(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, *arguments) == 1
    assert message in capsys.readouterr().err


def test_a_command_line_that_is_wrong_ends_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "throttle", "--concurrency", "many", "x") == 2
    assert "--concurrency" in capsys.readouterr().err


def test_a_file_that_can_be_read_is_its_path(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.touch()
    assert readable_file(str(path)) == path


@pytest.mark.parametrize(("text", "number"), [("0", 0.0), ("900", 900.0), ("1.5", 1.5)])
def test_seconds_are_a_number(text: str, number: float) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "", "ten"])
def test_seconds_that_cannot_be_waited_are_refused(text: str) -> None:
    with pytest.raises(ClientError, match=f"GRACE={text}:"):
        seconds(text)
