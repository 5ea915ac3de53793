"""The end-to-end tests on a real account: what only the local AWS allows is marked, and is skipped with its reason."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SUITE = REPOSITORY / "tests" / "e2e"
LOCAL_HELPERS = {"without_grants", "bedrock_fault", "bedrock_settings"}
"""They reach into the local AWS, or change roles that others use."""


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def names(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def needs_the_local_aws(name: str, of: dict[str, ast.FunctionDef]) -> bool:
    """Whether the function, or one of its file that it calls, uses a local helper or insists on the local AWS."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        seen.add(current)
        used = set(names(of[current]))
        if used & LOCAL_HELPERS or _asserts_local(of[current]):
            return True
        waiting += [other for other in used & of.keys() if other not in seen]
    return False


def _asserts_local(function: ast.FunctionDef) -> bool:
    asserts = [node for node in ast.walk(function) if isinstance(node, ast.Assert)]
    return any("local_aws" in set(names(node)) for node in asserts)


@pytest.mark.parametrize("path", sorted(SUITE.glob("test_*.py")), ids=lambda path: path.stem)
def test_what_only_the_local_aws_allows_is_marked(path: Path) -> None:
    of = functions(path)
    for name, function in of.items():
        if name.startswith("test_") and needs_the_local_aws(name, of):
            marked = any("local_only" in set(names(decorator)) for decorator in function.decorator_list)
            assert marked, f"{path.name}: {name} needs @pytest.mark.local_only with its reason"


def test_on_an_account_it_is_skipped_with_its_reason_before_anything_is_reached() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-rs", "-m", "local_only", "tests/e2e/test_crashes.py"],
        cwd=REPOSITORY,
        env={**os.environ, "BATCH_PROCESSOR_ENV": "stage"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "on the local AWS only: a worker can be killed there only" in done.stdout
    assert "passed" not in done.stdout
