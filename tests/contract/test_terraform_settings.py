"""The environment that Terraform gives each function against the settings that the function reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from batch_processor.runtime.settings import SETTINGS_BY_FUNCTION
from tests.support.terraform_files import REPOSITORY, ROW_BATCHES, local_value, plain

FUNCTIONS: dict[str, Any] = plain(local_value(ROW_BATCHES / "functions.tf", "functions"))
COMMON: dict[str, Any] = plain(local_value(ROW_BATCHES / "functions.tf", "common_environment"))
STATEMENTS: dict[str, Any] = plain(local_value(ROW_BATCHES / "policies.tf", "function_statements"))
DEFINITION = (REPOSITORY / "asl" / "batch_processor.asl.json").read_text()


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_terraform_sets_exactly_the_variables_that_the_function_reads(function: str) -> None:
    set_by_terraform = {*COMMON, *plain(FUNCTIONS[function]["environment"])}
    read_by_function = {field.upper() for field in SETTINGS_BY_FUNCTION[function].model_fields}
    assert set_by_terraform == read_by_function


def test_every_folder_of_functions_is_deployed_and_has_settings_and_statements() -> None:
    folders = {handler.parent.name for handler in (REPOSITORY / "functions").glob("*/handler.py")}
    assert set(FUNCTIONS) == set(SETTINGS_BY_FUNCTION) == set(STATEMENTS) == folders


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_memory_and_time_out_are_within_lambdas_limits_and_each_has_its_reason(function: str) -> None:
    settings = FUNCTIONS[function]
    assert 128 <= settings["memory_mb"] <= 10_240
    assert settings["timeout_seconds"] <= 900
    text = (ROW_BATCHES / "functions.tf").read_text()
    block = text[text.index(f"    {function} = {{") :]
    for field in ("memory_mb", "timeout_seconds"):
        lines = block[: block.index(f"{field} ")].splitlines()
        assert lines[-2].strip().startswith("#"), f"{function}: say why {field} is {settings[field]}"


def test_a_task_waits_as_long_as_its_function_may_run() -> None:
    def tasks(machine: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for state in machine["States"].values():
            if state["Type"] == "Task":
                found.append(state)
            if "ItemProcessor" in state:
                found += tasks(state["ItemProcessor"])
        return found

    for task in tasks(json.loads(DEFINITION)):
        function = re.fullmatch(r"\$\{(\w+)_arn\}", str(task["Arguments"].get("FunctionName", "")))
        if function:
            assert task["TimeoutSeconds"] >= FUNCTIONS[function.group(1)]["timeout_seconds"]


def template_call(path: Path) -> set[str]:
    """The variables that the templatefile call of a file gives."""
    call = re.search(r"templatefile\(.*?, \{\n(.*?)\n\s*\}\)", path.read_text(), re.DOTALL)
    assert call, f"{path} calls templatefile"
    return set(re.findall(r"^\s*(\w+)\s*=", call.group(1), re.MULTILINE))


@pytest.mark.parametrize(
    ("template", "caller"),
    [
        ("asl/batch_processor.asl.json", "terraform/modules/row_batches/state_machine.tf"),
        ("examples/callers/parent_state_machine/parent.asl.json", "examples/callers/parent_state_machine/main.tf"),
    ],
)
def test_terraform_gives_exactly_the_variables_that_the_definition_uses(template: str, caller: str) -> None:
    used = set(re.findall(r"\$\{(\w+)\}", (REPOSITORY / template).read_text()))
    assert template_call(REPOSITORY / caller) == used


def test_the_machine_may_invoke_exactly_the_functions_that_it_names() -> None:
    named = set(re.findall(r"\$\{(\w+)_arn\}", DEFINITION))
    text = (ROW_BATCHES / "policies.tf").read_text()
    granted = re.search(r'Sid\s*=\s*"InvokeFunctions".*?for name in (\[.*?\])', text, re.DOTALL)
    assert granted
    assert set(re.findall(r'"(\w+)"', granted.group(1))) == named
