"""What `make up` says in the end."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from batch_processor_client.deployment import Deployment
from tests.unit.client.fakes import MACHINE, OUTPUTS
from tools import local_aws, up

README = Path(__file__).resolve().parents[3] / "README.md"


def test_it_applies_what_is_there_now_and_no_plan_that_was_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command[2:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setenv("LOCAL_AWS_DIR", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", run)
    up.deploy(Console(file=io.StringIO()))
    assert commands[-1] == ["tools.terraform", "apply", "--env", "local", "--plan-anew"]


def test_every_variable_of_the_readmes_commands_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_aws, "start", lambda *, keep: keep)
    monkeypatch.setattr(local_aws, "endpoint_url", lambda: "http://127.0.0.1:4566")
    monkeypatch.setattr(up, "deploy", lambda console: None)
    monkeypatch.setattr(up, "deployment_of", lambda _: Deployment.model_validate(OUTPUTS))
    printed = io.StringIO()

    up.up(Console(file=printed, soft_wrap=True))

    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    used = {name for block in blocks for name in re.findall(r"\$\{?([A-Z_]+)", block)}
    assert used <= set(re.findall(r"export (\w+)=", printed.getvalue()))
    assert f"export STATE_MACHINE_ARN={MACHINE}" in printed.getvalue()
