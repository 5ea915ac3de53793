"""The faces of the client show what its operations return. None of them talks to AWS itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[2] / "client" / "batch_processor_client"
FACES = sorted([*CLIENT.glob("cli/*.py"), *CLIENT.glob("console/*.py"), *CLIENT.glob("mcp_*.py")])
SDKS = ("boto3", "botocore", "s3transfer", "urllib.request", "http.client")
EXPLAINS = "botocore.exceptions"
"""A face can tell refusals of AWS apart to say what to do."""


def imported(tree: ast.AST) -> Iterator[str]:
    """The names of the modules that are imported, at the top or within a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", FACES, ids=lambda path: str(path.relative_to(CLIENT)))
def test_a_face_calls_operations_and_no_client_of_aws(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & {"client", "session", "resource"}
    of_sdks = [name for name in imported(tree) if name.startswith(SDKS) and name != EXPLAINS]
    of_services = [name for name in imported(tree) if name.endswith(("dynamodb", ".s3", "lambda_", "duckdb_"))]
    assert [*of_sdks, *of_services] == []
