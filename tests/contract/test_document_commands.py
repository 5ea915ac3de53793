"""Every command that a page shows is one that the Makefile and the command line take."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from batch_processor_client.cli import app
from tests.support.document_commands import (
    NOT_RUN,
    NOT_RUN_PAGES,
    PAGES,
    REPOSITORY,
    RUN_FROM_A_CLONE,
    Command,
    blocks,
    commands,
    inline_commands,
)

MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = {name for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE) for name in line.split()}
GIVEN = re.findall(r"^GIVEN := ((?:[A-Z_ ]|\\\n\t)+)$", MAKEFILE, re.MULTILINE)[0].replace("\\", "").split()
VARIABLES = {*GIVEN, "ENV", "SCALE", "WORKERS", "PYTHON", "DEV"}
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What Typer raises for a command line that it does not take."""
ELSEWHERE = {
    "aws": "the AWS CLI is not a part of the repository, and most of its commands need an account",
    "pip": "tests/contract/test_client_distribution.py installs the client and its extras",
    "call": "the shell function of the admin API's page: its requests are those of tests/e2e/test_bedrock_batches.py",
    "curl": "a fault of the local AWS: emulator/tests/test_bedrock_jobs.py sets the same",
    "echo": "writes a setting into a file of the clone",
}
"""Programs of the documents that are not run by a test of the documents, each with the reason."""


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def client_arguments(words: tuple[str, ...], recorder: Path) -> list[list[str]]:
    """The command lines of the client that a ``make`` command runs, as the real Makefile builds them."""
    done = subprocess.run(
        ["make", "--no-print-directory", f"DEV={recorder}", "RUNTIME=", *words[1:]],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MAKEFLAGS": ""},
    )
    lines = [line.split("\0")[:-1] for line in done.stdout.splitlines() if "\0" in line]
    return [line[2:] for line in lines if line[:2] == ["-m", "batch_processor_client"]]


def parse(arguments: list[str]) -> None:
    """Parse a command line as the command does, and run nothing. Raises USAGE_ERROR for a wrong one."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("batch-processor", list(arguments))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place of Python: it prints its arguments on one line, each with a NUL behind it."""
    path = tmp_path_factory.mktemp("recorder") / "python"
    path.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\necho\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_command_of_a_page_names_targets_and_variables_of_the_makefile(page: Path) -> None:
    shown = [command for command in (*commands(page), *inline_commands(page)) if command.program == "make"]
    unknown = [
        str(command)
        for command in shown
        if not set(command.targets) <= TARGETS or not set(command.variables) <= VARIABLES
    ]
    assert unknown == []


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=named)
def test_every_command_of_a_page_is_taken_by_the_command_line(
    page: Path, recorder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the files that the page speaks of
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w/.-])[\w-]+\.(?:csv|json|py|yaml)\b", text):
        (tmp_path / name).touch()
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    # When each command is parsed, then none is refused
    refused = []
    for command in commands(page):
        lines = [list(command.words[1:])] if command.program == "batch-processor" else []
        if command.program == "make" and set(command.targets) & client_targets():
            lines = client_arguments(command.words, recorder)
            assert lines, command
        for line in lines:
            try:
                parse(line)
            except USAGE_ERROR as wrong:
                refused.append(f"{command}: {wrong}")
    assert refused == []


def test_a_wrong_option_and_a_wrong_variable_are_noticed() -> None:
    with pytest.raises(USAGE_ERROR):
        parse(["--env", "stage", "rows", "my-run", "--state", "FAILED"])
    assert Command("page", ("make", "rows", "EXECUTOIN=my-run")).variables.keys() - VARIABLES == {"EXECUTOIN"}


def test_every_other_program_of_the_pages_is_known_with_the_reason_why_it_is_not_run() -> None:
    programs = {command.program for page in PAGES for command in commands(page)}
    programs |= {"call" for page in PAGES for block in blocks(page.read_text(encoding="utf-8")) if "() {" in block}
    assert programs - {"make", "batch-processor"} == set(ELSEWHERE)


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "emulator" / "README.md"], ids=named)
def test_every_block_of_commands_says_that_it_is_bash(page: Path) -> None:
    """Only blocks that say so are read as commands."""
    others = re.findall(r"^ *```(?!bash)\w*\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in others for line in block.splitlines()]
    assert [line for line in lines if re.match(r"(make|batch-processor|aws|curl|pip|python) [\w-]", line)] == []


def test_every_page_with_commands_is_run_from_a_clone_or_says_why_not() -> None:
    shown = {named(page) for page in PAGES if commands(page)}
    assert shown == {"README.md", *RUN_FROM_A_CLONE, *NOT_RUN_PAGES}
    run = {str(command) for page in ("README.md", *RUN_FROM_A_CLONE) for command in commands(REPOSITORY / page)}
    assert set(NOT_RUN) <= run


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "emulator" / "README.md"], ids=named)
def test_no_page_says_on_which_port_the_local_aws_answers(page: Path) -> None:
    """It takes another port when the usual one is in use: pages use $AWS_ENDPOINT_URL, which `make up` prints."""
    assert re.findall(r"(?:127\.0\.0\.1|localhost):4566", page.read_text(encoding="utf-8")) == []


def client_targets() -> set[str]:
    """The targets of the Makefile whose recipe calls the client."""
    recipes = re.findall(r"^([a-z][a-z-]*):.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return {target for target, recipe in recipes if "$(CLIENT)" in recipe}
