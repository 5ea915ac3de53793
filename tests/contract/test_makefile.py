"""`make help`, the Makefile and the documents speak of the same commands."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
REFERENCE = (REPOSITORY / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
PROMISED = {
    *("demo", "test", "test-full", "up", "down", "run", "stop", "remap", "output", "test-batch-processor"),
    *("plan", "apply", "destroy", "package", "state-bucket", "deploy-shared", "deploy-tool"),
    *("bench", "lint", "format", "help", "clean"),
}
OUR_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def helped() -> set[str]:
    """The targets that `make help` lists."""
    listed = subprocess.run(["make", "help"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"^  (?:\x1b\[36m)?([a-z][a-z-]*) ", listed, re.MULTILINE))


def named_in(document: str) -> set[str]:
    """The targets that a document names: ``make x`` in code."""
    code = re.findall(r"```.*?```|`[^`\n]+`", document, re.DOTALL)
    return {target for part in code for target in re.findall(r"\bmake ([a-z][a-z-]*)", part)}


def test_help_lists_every_promised_command() -> None:
    assert PROMISED - helped() == set()


def test_every_command_of_help_is_in_the_reference() -> None:
    assert helped() - named_in(REFERENCE) == set()


@pytest.mark.parametrize("document", [README, REFERENCE], ids=["README", "reference"])
def test_every_command_of_a_document_exists(document: str) -> None:
    assert named_in(document) - set(OUR_TARGET.findall(MAKEFILE)) == set()


def test_every_target_is_phony_or_a_file() -> None:
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE) for name in line.split()}
    assert set(OUR_TARGET.findall(MAKEFILE)) == phony


def test_help_is_what_make_shows_by_itself() -> None:
    assert ".DEFAULT_GOAL := help" in MAKEFILE


def commands(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What make would run."""
    return subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("target", ["run", "stop", "seed-lake", "destroy", "bench", "demo"])
def test_what_a_command_acts_on_does_not_come_from_the_shell(target: str) -> None:
    own = re.findall(r"^GIVEN := ((?:[A-Z_ ]|\\\n\t)+)$", MAKEFILE, re.MULTILINE)[0].replace("\\", "").split()
    assert {"NAME", "INPUT", "CSV", "FILE", "FOLLOW", "EXECUTION", "GRACE"} <= set(own)
    assert commands(target, **dict.fromkeys(own, "of-the-shell")).stdout == commands(target).stdout


AWKWARD = [
    "it's.csv",
    'a "quoted" one',
    "$HOME and $5",
    "$(shell echo no)",
    "`echo no`",
    "a\\b",
    "# no comment",
    "-x",
    "a;b|c&d",
]


def test_tags_with_commas_between_them_reach_the_command_one_by_one(tmp_path: Path) -> None:
    command = tmp_path / "command"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    make = ["make", "--no-print-directory", "edit-content", f"DEV={command}", "RUNTIME=", "RECORD=OSHA-1"]

    def arguments(*given: str) -> list[str]:
        return subprocess.run(
            [*make, *given], cwd=REPOSITORY, check=True, capture_output=True, text=True
        ).stdout.splitlines()[arguments_before:]

    arguments_before = 0
    arguments_before = arguments().index("edit-content") + 1
    assert arguments("TAGS=fall hazard,$HOME") == ["--tag=fall hazard", "--tag=$HOME", "--", "OSHA-1"]
    assert arguments() == ["--", "OSHA-1"]


@pytest.mark.parametrize(
    ("target", "variable", "option"),
    [
        *(("run", name, option) for name, option in [("INPUT", "--input"), ("CSV", "--csv"), ("NAME", "--name")]),
        *(("run", "FOLLOW", "--"), ("run", "ENV", "--env")),
        *(("stop", "EXECUTION", "--"), ("stop", "GRACE", "--grace"), ("remap", "OUTPUT", "--output")),
        *(("rows", "EXECUTION", "--"), ("reparse", "JOB", "--"), ("config-check", "FILE", "--")),
        *(("export-job", "JOB", "--"), ("edit-content", "RECORD", "--"), ("edit-content", "TITLE", "--title")),
        *(("schema-try", "AGENT", "--"), ("schema-guess", "ANSWERS", "--"), ("schema-guess", "AGENT", "--agent")),
        *(
            ("seed-lake", "FILE", "--file"),
            ("resync", "FILE", "--file"),
            ("bench", "ONLY", "--only"),
        ),
        *((target, "ENV", "--env") for target in ("output", "package", "plan", "apply", "destroy", "state-bucket")),
    ],
)
def test_a_value_reaches_its_command_as_it_is(target: str, variable: str, option: str, tmp_path: Path) -> None:
    command = tmp_path / "command"
    command.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n', encoding="utf-8")
    command.chmod(0o755)

    for value in AWKWARD:
        done = subprocess.run(
            ["make", "--no-print-directory", target, f"DEV={command}", "RUNTIME=", f"{variable}={value}"],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, variable: "of-the-shell"},
        )
        arguments = done.stdout.split("\0")
        given = [argument.removeprefix(f"{option}=") for argument in arguments if argument.startswith(f"{option}=")]
        assert given == [value] or arguments[arguments.index(option) + 1] == value


def test_the_confirmation_reaches_destroy_in_the_environment(tmp_path: Path) -> None:
    command = tmp_path / "command"
    command.write_text('#!/bin/sh\nprintf "%s" "$CONFIRM"\n', encoding="utf-8")
    command.chmod(0o755)
    arguments = ["destroy", f"DEV={command}", "RUNTIME=", "CONFIRM=1'2"]
    done = subprocess.run(["make", *arguments], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert done.stdout == "1'2"


def seen_by_commands(tmp_path: Path, variable: str, *arguments: str, **environment: str) -> str:
    """The value of an environment variable for the commands that make runs; empty without it."""
    probe = tmp_path / "probe.mk"
    probe.write_text(f"probe:\n\t@printf '%s' \"$${{{variable}:-}}\"\n")
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", "Makefile", "-f", str(probe), "probe", *arguments],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != variable} | environment,
    )
    return done.stdout


@pytest.mark.parametrize(("environment", "expected"), [("local", "true"), ("stage", ""), ("prod", "")])
def test_credentials_of_an_instance_are_refused_for_the_local_aws_only(
    environment: str, expected: str, tmp_path: Path
) -> None:
    """On EC2, CodeBuild or Cloud9 the instance's role is how an account is reached."""
    assert seen_by_commands(tmp_path, "AWS_EC2_METADATA_DISABLED", f"ENV={environment}") == expected


def test_commands_store_the_bytecode_of_what_they_import(tmp_path: Path) -> None:
    """Many images for containers set the variable. The local AWS then takes four times as long to start."""
    assert seen_by_commands(tmp_path, "PYTHONDONTWRITEBYTECODE", PYTHONDONTWRITEBYTECODE="1") == ""


@pytest.mark.parametrize("environment", [".venv", ".venv-emulator", ".venv-checkov"])
def test_a_machine_without_python_is_told_so(environment: str) -> None:
    done = commands("--always-make", f"{environment}/.made", "PYTHON=")
    assert done.returncode != 0
    assert "make … PYTHON=<path>" in done.stderr


def test_the_tests_of_row_batches_leave_out_those_of_bedrock_batches() -> None:
    pytest_command = commands("test-batch-processor").stdout
    ignored = re.findall(r"--ignore (\S+)", pytest_command)
    ours = {path for suite in ("integration", "e2e") for path in (REPOSITORY / "tests" / suite).rglob("*bedrock*")}
    left = {path for path in ours if not any(path.is_relative_to(REPOSITORY / folder) for folder in ignored)}
    assert "tests/integration tests/e2e" in pytest_command
    assert {path.name for path in left if path.suffix == ".py" or path.is_dir()} == set()


def test_format_fails_when_the_linter_cannot_run() -> None:
    assert "||" not in commands("format").stdout


def test_an_unknown_tool_is_refused_before_anything_is_deployed() -> None:
    done = subprocess.run(
        ["make", "deploy-tool", "TOOL_NAME=other"], cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "TOOL_NAME=batch_processor" in done.stderr
