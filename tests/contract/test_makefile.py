"""`make help`, the Makefile and the README speak of the same commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PROMISED = {
    *("demo", "test", "test-full", "up", "down", "run", "stop", "output", "test-batch-processor"),
    *("plan", "apply", "destroy", "package", "deploy-shared", "deploy-tool"),
    *("bench", "lint", "format", "help", "clean"),
}
OUR_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def helped() -> set[str]:
    """The targets that `make help` lists."""
    listed = subprocess.run(["make", "help"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"^  (?:\x1b\[36m)?([a-z][a-z-]*) ", listed, re.MULTILINE))


def in_readme() -> set[str]:
    """The targets that the README names: ``make x`` in code."""
    code = re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL)
    return {target for part in code for target in re.findall(r"\bmake ([a-z][a-z-]*)", part)}


def test_help_lists_every_promised_command() -> None:
    assert PROMISED - helped() == set()


def test_every_command_of_help_is_in_the_readme() -> None:
    assert helped() - in_readme() == set()


def test_every_command_of_the_readme_exists() -> None:
    assert in_readme() - set(OUR_TARGET.findall(MAKEFILE)) == set()


def test_every_target_is_phony_or_a_file() -> None:
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE) for name in line.split()}
    assert set(OUR_TARGET.findall(MAKEFILE)) == phony


def test_help_is_what_make_shows_by_itself() -> None:
    assert ".DEFAULT_GOAL := help" in MAKEFILE


def test_an_unknown_tool_is_refused_before_anything_is_deployed() -> None:
    done = subprocess.run(
        ["make", "deploy-tool", "TOOL_NAME=other"], cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "TOOL_NAME=batch_processor" in done.stderr
