"""What `make up` says in the end."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path
from typing import TextIO

import pytest
from rich.console import Console

from batch_processor_client.deployment import Deployment
from tests.unit.client.fakes import MACHINE, OUTPUTS
from tools import local_aws, up
from tools.errors import CommandError

REPOSITORY = Path(__file__).resolve().parents[3]
PAGES = ("README.md", "docs/how-to/write-a-document.md")


class Process:
    """A started process that has ended with ``code``."""

    def __init__(self, code: int = 0) -> None:
        self.code = code

    def wait(self) -> int:
        return self.code

    def kill(self) -> None:
        """It has ended."""


def test_it_applies_what_is_there_now_and_no_plan_that_was_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps: list[list[str]] = []

    def run(command: list[str], **_: object) -> Process:
        steps.append(command[2:])
        return Process()

    def start(*, keep: bool) -> bool:
        steps.append(["start", str(keep)])
        return True

    monkeypatch.setenv("LOCAL_AWS_DIR", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", run)
    monkeypatch.setattr(local_aws, "start", start)
    up.start_and_deploy(Console(file=io.StringIO()), keep=True)
    # Packaging begins before the local AWS starts, which takes about as long.
    assert [step[0] for step in steps] == ["tools.package", "start", "tools.terraform"]
    assert steps[-1] == ["tools.terraform", "apply", "--env", "local", "--plan-anew"]


def test_a_step_that_fails_ends_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(command: list[str], stdout: TextIO, **_: object) -> Process:
        stdout.write("no compiler\n")
        stdout.flush()
        return Process(1)

    monkeypatch.setenv("LOCAL_AWS_DIR", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", run)
    monkeypatch.setattr(local_aws, "start", lambda *, keep: keep)
    with pytest.raises(CommandError, match=r"Packaging the functions failed:\nno compiler"):
        up.start_and_deploy(Console(file=io.StringIO()), keep=True)


def test_every_variable_of_the_first_commands_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_aws, "endpoint_url", lambda: "http://127.0.0.1:4566")
    monkeypatch.setattr(up, "start_and_deploy", lambda console, *, keep: None)
    monkeypatch.setattr(up, "deployment_of", lambda _: Deployment.model_validate(OUTPUTS))
    printed = io.StringIO()

    up.up(Console(file=printed, soft_wrap=True))

    pages = "".join((REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(r"```bash\n(.*?)```", pages, re.DOTALL)
    used = {name for block in blocks for name in re.findall(r"\$\{?([A-Z_]+)", block)}
    assert used <= set(re.findall(r"export (\w+)=", printed.getvalue()))
    assert f"export STATE_MACHINE_ARN={MACHINE}" in printed.getvalue()
