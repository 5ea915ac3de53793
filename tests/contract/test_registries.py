"""Every class of a kind is in the registry of its kind: nothing is written and then left out."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any

import pytest

import bedrock_batches
import foundation
import row_batches
from bedrock_batches.api.routes import ROUTES, Route
from row_batches.extraction.methods import METHODS, ExtractionMethod
from row_batches.files.writer import Writer
from row_batches.files.writers import WRITERS
from row_batches.mapping.transformations import TRANSFORMATIONS, Transformation
from row_batches.targets.kind import TargetKind
from row_batches.targets.kinds import KINDS

PACKAGES = (foundation, row_batches, bedrock_batches)
NAMES = {package.__name__ for package in PACKAGES}


def written(kind: type[Any]) -> set[type[Any]]:
    """The classes of a kind in any module of the core layer, without those that only others derive from."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    return {one for one in derived(kind) if not one.__subclasses__()}


def derived(kind: type[Any]) -> set[type[Any]]:
    """The classes that derive from a kind, but not those that tests define."""
    own = {one for one in kind.__subclasses__() if one.__module__.partition(".")[0] in NAMES}
    return own | {found for one in own for found in derived(one)}


@pytest.mark.parametrize(
    ("kind", "name", "members"),
    [
        (Transformation, "TRANSFORMATIONS", TRANSFORMATIONS),
        (ExtractionMethod, "METHODS", METHODS),
        (Writer, "WRITERS", [type(one) for one in WRITERS]),
        (TargetKind, "KINDS", [type(one) for one in KINDS]),
        (Route, "ROUTES", ROUTES),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_class_of_a_kind_is_in_its_registry(kind: type[Any], name: str, members: Sequence[Any]) -> None:
    left_out = sorted(one.__name__ for one in written(kind) - set(members))
    assert not left_out, f"add {left_out} to {name}: nothing uses a class that is not in it"
