"""docs/reference/terraform.md and the root module know the same variables, defaults and outputs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.terraform_files import REPOSITORY, parsed, plain
from tools.kept import BUCKETS, LAKE, TABLES

PAGE = (REPOSITORY / "docs" / "reference" / "terraform.md").read_text(encoding="utf-8")
ENVIRONMENTS = REPOSITORY / "terraform" / "envs"


def rows(section: str) -> dict[str, list[str]]:
    """The other cells of a section's table, by the name in the first."""
    lines = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {first.strip("`"): rest for first, *rest in cells}


def blocks(kind: str) -> dict[str, dict[str, Any]]:
    found = parsed(REPOSITORY / "terraform" / f"{kind}s.tf")[kind]
    return {name: body for block in found for name, body in block.items()}


def test_every_variable_is_in_the_page_and_no_other() -> None:
    assert set(rows("Variables")) == set(blocks("variable"))


def test_every_output_is_in_the_page_and_no_other() -> None:
    assert set(rows("Outputs")) == set(blocks("output"))


@pytest.mark.parametrize("name", sorted(blocks("variable")))
def test_a_plain_default_is_the_one_of_the_page(name: str) -> None:
    variable, told = blocks("variable")[name], rows("Variables")[name][0]
    if "default" not in variable:
        assert told == "required"
        return
    default = plain(variable["default"])
    if default is None:
        assert told == "none"
    elif isinstance(default, str):
        assert told == f"`{default}`"
    elif isinstance(default, bool | int) or not default:
        assert told == f"`{json.dumps(default)}`"
    else:  # a list or a map: the page has its items or says how many
        assert told == ", ".join(f"`{item}`" for item in default)


def test_outputs_that_a_destroy_asks_about_exist() -> None:
    assert {*BUCKETS, *TABLES, LAKE} <= set(blocks("output"))


@pytest.mark.parametrize("environment", ["local", "stage", "prod"])
def test_the_state_lies_in_the_region_of_the_environment(environment: str) -> None:
    in_backend = re.search(r'^region\s*=\s*"(.+)"', (ENVIRONMENTS / f"{environment}.s3.tfbackend").read_text(), re.M)
    in_variables = re.search(r'^region\s*=\s*"(.+)"', (ENVIRONMENTS / f"{environment}.tfvars").read_text(), re.M)
    default = plain(blocks("variable")["region"]["default"])
    assert in_backend
    assert in_backend.group(1) == (in_variables.group(1) if in_variables else default)
