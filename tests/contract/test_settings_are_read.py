"""Each field that a user can write is read somewhere: no setting is accepted and ignored."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from bedrock_batches.request.job_config import DirectRequest, RetryRequest
from bedrock_batches.violations import FILTERS
from foundation.validation import Part
from row_batches.document.batch_config import BatchConfig
from row_batches.document.deployment_config import DeploymentConfig
from tests.support.terraform_files import REPOSITORY

LAYER = REPOSITORY / "layers" / "core" / "python"


def models_in(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def fields_of(model: type[Part], path: str = "", above: tuple[type[Part], ...] = ()) -> Iterator[tuple[str, str]]:
    """Each field's path in the document, and its name in Python, fields of fields included."""
    for name, field in model.model_fields.items():
        place = f"{path}.{field.alias or name}" if path else (field.alias or name)
        yield place, name
        for inner in models_in(field.annotation):
            if inner not in above:
                yield from fields_of(inner, place, (*above, inner))


def attributes_read(folder: str) -> set[str]:
    """The attributes that the code of these packages reads, on whatever object."""
    nodes = (
        node
        for package in ("foundation", folder)
        for path in (LAYER / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
    )
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


@pytest.mark.parametrize(
    ("root", "folder"),
    [
        (BatchConfig, "row_batches"),
        (DeploymentConfig, "row_batches"),
        (DirectRequest, "bedrock_batches"),
        (RetryRequest, "bedrock_batches"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_field_of_a_document_is_read(root: type[Part], folder: str) -> None:
    filters = {part for one in FILTERS for part in one.name.split(".")}  # the selection reads them by their entries
    read = attributes_read(folder) | filters
    ignored = {place for place, name in fields_of(root) if name not in read}
    assert not ignored, f"{sorted(ignored)} would be accepted and ignored: no code of {folder} reads them"
