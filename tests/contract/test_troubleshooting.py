"""Every message of ours is in the page that tells its cause and its cure."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
PACKAGES = REPOSITORY / "layers" / "core" / "python"
CLIENT = REPOSITORY / "client" / "batch_processor_client"
CHECKS = {"bench.py", "demo.py", "bedrock_demo.py", "up.py", "reference.py"}
"""Commands whose messages show another command's output, or speak to who changes the code."""
NOT_SHOWN = {
    "ValueError",
    "AssertionError",
    "NotImplementedError",
    "TypeError",
    "PydanticCustomError",
    "JSONPathTypeError",
    "NoContentError",
    "MappingError",
}
"""Reasons inside the problems of a document or of a record, which bring their fix along, and mistakes in the code."""


def normalised(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("`", "")).strip(" .:,(")


def literal(node: ast.expr) -> str:
    """The longest text of a message that is always the same."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return max(map(normalised, texts), key=len, default="")


def messages() -> dict[str, str]:
    """Each message's literal, and where it is raised."""
    found = {}
    for path in [*PACKAGES.rglob("*.py"), *CLIENT.rglob("*.py"), *(REPOSITORY / "tools").glob("*.py")]:
        if path.name in CHECKS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                text = literal(node.args[0]) if re.fullmatch(r"[A-Z]\w*Error", node.func.id) else ""
                if len(text) > 5 and node.func.id not in NOT_SHOWN:
                    found[text] = str(path.relative_to(REPOSITORY))
    return found


@pytest.mark.parametrize(("message", "place"), sorted(messages().items()))
def test_each_message_of_ours_is_explained(message: str, place: str) -> None:
    assert message in normalised(PAGE), (
        f"{place}: say in docs/how-to/troubleshooting.md why this is said and what to do"
    )


def test_messages_are_found_at_all() -> None:
    assert len(messages()) > 40
