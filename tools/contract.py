"""Writes the JSON that Terraform reads from the Python classes.

It has the routes of the admin API with their permissions, and what a target may declare of its output. The classes are
the source. ``make package`` writes the file beside the artefacts, ``terraform test`` beside its tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bedrock_batches.api.routes import ROUTES
from row_batches.mapping.metadata_columns import METADATA_COLUMNS
from row_batches.mapping.models import MAX_OUTPUT_COLUMNS
from row_batches.mapping.output_types import OUTPUT_TYPES

NAME = "contract.json"


def contract() -> dict[str, Any]:
    """``{"routes": [{"key", "permissions": [{"action", "resource"}]}], ...}``, with resources by Terraform's names."""
    routes = [
        {"key": route.key(), "permissions": [permission._asdict() for permission in route.permissions]}
        for route in ROUTES
    ]
    return {
        "routes": routes,
        "metadata_columns": [*METADATA_COLUMNS],
        "output_types": [kind.name for kind in OUTPUT_TYPES],
        "max_output_columns": MAX_OUTPUT_COLUMNS,
    }


def write(folder: Path) -> Path:
    """Write the contract into the folder; returns its path."""
    path = folder / NAME
    path.write_text(json.dumps(contract(), indent=2) + "\n", encoding="utf-8")
    return path
