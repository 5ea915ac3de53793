"""Writes the JSON that Terraform reads from the Python classes: routes of the admin API, and their permissions.

The classes are the source. ``make package`` writes the file beside the artefacts, ``terraform test`` beside its tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bedrock_batches.api.routes import ROUTES

NAME = "contract.json"


def contract() -> dict[str, Any]:
    """``{"routes": [{"key", "permissions": [{"action", "resource"}]}]}``; Terraform knows the resources by name."""
    routes = [
        {"key": route.key(), "permissions": [permission._asdict() for permission in route.permissions]}
        for route in ROUTES
    ]
    return {"routes": routes}


def write(folder: Path) -> Path:
    """Write the contract into the folder; returns its path."""
    path = folder / NAME
    path.write_text(json.dumps(contract(), indent=2) + "\n", encoding="utf-8")
    return path
