"""What the commands take: a mistake is told in make's words, before anything is asked of AWS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools import output, package, resync, run, seed_lake, stop, terraform
from tools.command_line import readable_file, seconds
from tools.errors import CommandError
from tools.outputs import Deployment

EVERY_COMMAND = (
    *(output.main, package.main, resync.main, run.main, seed_lake.main, stop.main),
    lambda arguments: terraform.main(["plan", *arguments]),
)


@pytest.fixture(autouse=True)
def nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the deployment has not checked the command line first."""

    def looked_up(env: str) -> Deployment:
        raise AssertionError(f"{env} was looked up")

    monkeypatch.setattr(Deployment, "of", looked_up)


@pytest.mark.parametrize("main", EVERY_COMMAND)
def test_an_unknown_environment_is_refused_alike(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--env", "nope"]) == 1
    assert capsys.readouterr().err == "ENV=nope: it is local, stage or prod.\n"


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (run.main, [], "make run INPUT=batch.json"),
        (run.main, ["--input", "nope.json"], "There is no file nope.json."),
        (run.main, ["--input", "."], ". cannot be read: Is a directory."),
        (run.main, ["--input", __file__, "--csv", "nope.csv"], "There is no file nope.csv."),
        (run.main, ["--input", __file__], "is not JSON"),
        (stop.main, [], "make stop EXECUTION=<name>"),
        (stop.main, ["--execution", "x", "--grace", "soon"], "GRACE=soon: it is a number of seconds, from 0."),
        (seed_lake.main, [], "make seed-lake FILE=violations.csv"),
        (seed_lake.main, ["--file", "."], ". cannot be read: Is a directory."),
    ],
)
def test_what_is_missing_is_named_before_the_deployment_is_looked_up(
    main: Callable[[list[str]], int], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_file_that_can_be_read_is_its_path(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.touch()
    assert readable_file(str(path)) == path


@pytest.mark.parametrize(("text", "number"), [("0", 0.0), ("900", 900.0), ("1.5", 1.5)])
def test_seconds_are_a_number(text: str, number: float) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "", "ten"])
def test_seconds_that_cannot_be_waited_are_refused(text: str) -> None:
    with pytest.raises(CommandError, match=f"GRACE={text}:"):
        seconds(text)
