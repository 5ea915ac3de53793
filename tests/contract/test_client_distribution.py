"""`pip install ./client` gives the whole client, with the core's packages and what they import."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fresh_environments import CLIENT, VERSIONS, installed, run
from tests.support.terraform_files import REPOSITORY

PROJECT = tomllib.loads((CLIENT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = {
    "batch_processor_client": CLIENT,
    **dict.fromkeys(("foundation", "row_batches", "bedrock_batches"), REPOSITORY / "layers" / "core" / "python"),
}
OF_OTHERS = {"aws_lambda_powertools", "IPython"}
"""What only handlers and their log lines import, and what a notebook has."""
BROUGHT = {
    "anyio": "starlette",
    "botocore": "boto3",
    "s3transfer": "boto3",
    "urllib3": "boto3",
    "pydantic_core": "pydantic",
    "iregexp_check": "jsonpath-rfc9535",
}
"""Packages that come with another one."""
IMPORTS_EVERYTHING = """
import importlib, pkgutil, batch_processor_client as client
for module in pkgutil.walk_packages(client.__path__, "batch_processor_client."):
    # The command itself, and modules that need an extra.
    if module.name.split(".")[1] not in ("__main__", "lake", "console", "mcp_server"):
        importlib.import_module(module.name)
"""


def imported() -> Iterator[str]:
    """The top-level packages that a module of the distribution imports, also inside functions."""
    for package, folder in PACKAGES.items():
        for path in (path for path in (folder / package).rglob("*.py") if "templates" not in path.parts):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield node.module.partition(".")[0]
                elif isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)


def declared() -> set[str]:
    project = PROJECT["project"]
    requirements = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    return {re.split(r"[<>=!~\[ ]", requirement)[0].lower() for requirement in requirements}


def test_whatever_the_distribution_imports_is_a_dependency() -> None:
    distributions = importlib.metadata.packages_distributions()
    ours = sys.stdlib_module_names | PACKAGES.keys() | OF_OTHERS
    used = {BROUGHT.get(name, name) for name in imported() if name not in ours and not name.startswith("mypy_boto3_")}
    missing = {name for name in used if not {name, *map(str.lower, distributions.get(name, []))} & declared()}
    assert missing == set()


def test_the_extra_for_the_lake_has_the_versions_of_the_functions() -> None:
    pinned = (REPOSITORY / "requirements" / "duckdb-layer.in").read_text(encoding="utf-8")
    lines = {line for line in pinned.splitlines() if line and not line.startswith("#")}
    assert set(PROJECT["project"]["optional-dependencies"]["lake"]) == lines


@pytest.mark.parametrize("python", VERSIONS)
def test_it_installs_into_a_fresh_environment_and_runs(python: str, tmp_path: Path) -> None:
    programs = installed(python, tmp_path)
    said = run(str(programs / "batch-processor"), "--help", folder=tmp_path)
    assert "Operate a deployment of Batch Processor" in said
    run(str(programs / "python"), "-W", "error", "-c", IMPORTS_EVERYTHING, folder=tmp_path)
