"""The environment that Terraform gives each function against the settings that the function reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bedrock_batches.lake.duckdb_ import Resources
from bedrock_batches.request.models import Model
from bedrock_batches.settings import SETTINGS_BY_FUNCTION as BEDROCK_SETTINGS
from bedrock_batches.submit.draft import MOST_BYTES
from bedrock_batches.submit.names import JOBS_BY_CREATED, JOBS_BY_STATUS, PREFIX
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.violations import CONTENT_SORT_KEY
from foundation.functions import function_sizes
from row_batches.document.deployment_config import KEY, DeploymentConfig
from row_batches.document.plan import Keys
from row_batches.run.settings import SETTINGS_BY_FUNCTION as ROW_BATCH_SETTINGS
from tests.support import state_machine
from tests.support.terraform_files import BEDROCK_BATCHES, REPOSITORY, ROW_BATCHES, local_value, parsed, plain
from tools.contract import contract

MODULES = (ROW_BATCHES, BEDROCK_BATCHES)
SETTINGS = {**ROW_BATCH_SETTINGS, **BEDROCK_SETTINGS}


def of_modules(file: str, name: str) -> dict[str, Any]:
    """A map of the modules with functions, put together."""
    return {key: value for module in MODULES for key, value in plain(local_value(module / file, name)).items()}


ENVIRONMENTS = of_modules("functions.tf", "environments")
STATEMENTS = of_modules("policies.tf", "function_statements")
MODULE_OF = {name: module for module in MODULES for name in plain(local_value(module / "functions.tf", "environments"))}
SIZES = {**function_sizes("row_batches"), **function_sizes("bedrock_batches")}
DEFINITION = state_machine.SOURCES["batch_processor"]


@pytest.mark.parametrize("function", sorted(ENVIRONMENTS))
def test_terraform_sets_exactly_the_variables_that_the_function_reads(function: str) -> None:
    common = plain(local_value(MODULE_OF[function] / "functions.tf", "common_environment"))
    set_by_terraform = {*common, *ENVIRONMENTS[function]}
    read_by_function = {field.upper() for field in SETTINGS[function].model_fields}
    assert set_by_terraform == read_by_function


def test_terraform_writes_the_deployments_configuration_where_the_function_reads_it() -> None:
    (config,) = [
        plain(block["aws_s3_object"]["config"])
        for block in parsed(ROW_BATCHES / "storage.tf")["resource"]
        if "aws_s3_object" in block
    ]
    assert plain(config["key"]) == KEY
    fields = re.findall(r'\["storage_mode".*?\]', (ROW_BATCHES / "variables.tf").read_text())
    assert [set(json.loads(text)) for text in fields] == [set(DeploymentConfig.model_fields)]


def test_the_processor_has_the_space_for_its_draft_and_what_duckdb_writes_beside_it() -> None:
    space = SIZES["bedrock_batch_processor"].temporary_mb * 0.9
    assert MOST_BYTES / 2**20 + Resources().temporary_mb < space


def test_every_folder_of_functions_is_deployed_and_has_sizes_settings_and_statements() -> None:
    folders = {handler.parent.name for handler in (REPOSITORY / "functions").glob("*/handler.py")}
    assert set(ENVIRONMENTS) == set(SIZES) == set(SETTINGS) == set(STATEMENTS) == folders


@pytest.mark.parametrize("function", sorted(SIZES))
def test_sizes_are_within_lambdas_limits_and_each_has_its_reason(function: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
    size = SIZES[function]
    assert 128 <= size.memory_mb <= 10_240
    assert 1 <= size.timeout_seconds <= 900
    assert 512 <= size.temporary_mb <= 10_240
    assert size.duckdb_memory_mb < size.memory_mb
    assert all(reason.endswith(".") for reason in (size.memory_reason, size.timeout_reason, size.temporary_reason))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_sizes_stand_in_the_file_alone_so_that_the_cost_model_counts_what_is_deployed(module: Path) -> None:
    text = (module / "functions.tf").read_text()
    for field in ("memory_mb", "timeout_seconds", "temporary_mb"):
        given = re.findall(rf"{field}\s*=\s*(.+)", text)
        assert given == [f"each.value.{field}"], f"write {field} into functions.json, which the cost model reads too"


def test_a_task_waits_as_long_as_its_function_may_run() -> None:
    def tasks(machine: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for state in machine["States"].values():
            if state["Type"] == "Task":
                found.append(state)
            inner = [state["ItemProcessor"]] if "ItemProcessor" in state else state.get("Branches", [])
            found += [task for part in inner for task in tasks(part)]
        return found

    definitions = [json.loads(state_machine.composed(name)) for name in state_machine.SOURCES]
    for task in [task for definition in definitions for task in tasks(definition)]:
        if task["Resource"].endswith(".waitForTaskToken"):
            continue  # It waits for a person, not for its function.
        function = re.fullmatch(r"\$\{(\w+)_arn\}", str(task["Arguments"].get("FunctionName", "")))
        if function:
            assert task["TimeoutSeconds"] >= SIZES[function.group(1)].timeout_seconds


def template_call(path: Path) -> set[str]:
    """The variables that the call of a file which renders a template gives."""
    call = re.search(r"template(?:file|string)\(.*?, \{\n(.*?)\n\s*\}\)", path.read_text(), re.DOTALL)
    assert call, f"{path} renders a template"
    return set(re.findall(r"^\s*(\w+)\s*=", call.group(1), re.MULTILINE))


@pytest.mark.parametrize(
    ("template", "caller"),
    [
        ("asl/batch_processor.asl.json", "terraform/modules/row_batches/state_machine.tf"),
        ("asl/batch_processor_finish.asl.json", "terraform/modules/row_batches/finish.tf"),
        ("examples/callers/parent_state_machine/parent.asl.json", "examples/callers/parent_state_machine/main.tf"),
    ],
)
def test_terraform_gives_exactly_the_variables_that_the_definition_uses(template: str, caller: str) -> None:
    name = Path(template).name.split(".")[0]
    text = state_machine.composed(name) if name in state_machine.SOURCES else (REPOSITORY / template).read_text()
    assert template_call(REPOSITORY / caller) == set(re.findall(r"\$\{(\w+)\}", text))


@pytest.mark.parametrize(
    ("definition", "statement"), [("batch_processor", "InvokeFunctions"), ("batch_processor_finish", "FinishRuns")]
)
def test_a_machine_may_invoke_exactly_the_functions_that_it_names(definition: str, statement: str) -> None:
    named = set(re.findall(r"\$\{(\w+)_arn\}", state_machine.composed(definition)))
    text = (ROW_BATCHES / "machine_policies.tf").read_text()
    granted = re.search(rf'Sid\s*=\s*"{statement}".*?for name in (\[.*?\])', text, re.DOTALL)
    assert granted
    assert set(re.findall(r'"(\w+)"', granted.group(1))) == named


def test_bedrock_functions_name_each_other_as_they_are_named() -> None:
    named = re.compile(r'\$\{local\.function_names\["(\w+)"\]\}')
    for function in BEDROCK_SETTINGS:
        environment = ENVIRONMENTS[function]
        callees = {key: named.fullmatch(str(value)) for key, value in environment.items() if key.endswith("_FUNCTION")}
        for variable, callee in callees.items():
            assert callee, f"{function}: {variable}"
            assert callee.group(1) in ENVIRONMENTS
            assert callee.group(1).endswith(variable.removesuffix("_FUNCTION").lower())


@pytest.mark.parametrize("path", [REPOSITORY / "terraform" / "variables.tf", BEDROCK_BATCHES / "variables.tf"])
def test_a_deployment_can_change_every_property_of_a_model_and_every_quota(path: Path) -> None:
    types = {name: str(plain(block["type"])) for part in parsed(path)["variable"] for name, block in part.items()}
    root = "bedrock_" if "bedrock_models" in types else ""
    assert set(re.findall(r"(\w+)['\"]?: ['\"]?\$\{optional", types[f"{root}models"])) == set(Model.model_fields)
    assert set(re.findall(r"(\w+)['\"]?: ['\"]?\$\{optional", types[f"{root}quotas"])) == set(Quotas.model_fields)


def test_the_columns_that_a_target_declares_are_checked_against_the_registries_of_the_code() -> None:
    text = (REPOSITORY / "terraform" / "variables.tf").read_text()
    used = set(re.findall(r"local\.contract\.(\w+)", text))
    assert used == {"metadata_columns", "output_types", "max_output_columns"}
    assert used <= set(contract())


def test_the_jobs_table_has_the_indexes_that_the_listing_asks() -> None:
    resources = parsed(BEDROCK_BATCHES / "storage.tf")["resource"]
    tables = [block["aws_dynamodb_table"] for block in resources if "aws_dynamodb_table" in block]
    jobs = next(table["jobs"] for table in tables if "jobs" in table)
    indexes = {
        plain(index["name"]): (plain(index["hash_key"]), plain(index["range_key"]))
        for index in jobs["global_secondary_index"]
    }
    assert indexes == {JOBS_BY_CREATED: ("GSI1PK", "GSI1SK"), JOBS_BY_STATUS: ("GSI2PK", "GSI1SK")}
    assert plain(plain(jobs["ttl"])["attribute_name"]) == "ttl"


def test_objects_expire_below_the_prefixes_that_the_code_writes_to() -> None:
    modules = {
        name: block for part in parsed(REPOSITORY / "terraform" / "main.tf")["module"] for name, block in part.items()
    }
    expiring = {prefix.strip('"') for prefix in plain(modules["results_bucket"]["expire_after_days"])}
    keys = Keys("execution")
    assert {key.split("/")[0] + "/" for key in (keys.work, keys.oversized)} == expiring


def test_prefix_and_sort_key_of_terraform_are_those_of_the_code() -> None:
    assert plain(local_value(BEDROCK_BATCHES / "names.tf", "prefix")) == PREFIX
    assert f'SK = {{ S = ["{CONTENT_SORT_KEY}"] }}' in (BEDROCK_BATCHES / "events.tf").read_text()
