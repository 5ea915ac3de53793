"""The definition of the state machine, rendered as terraform/modules/row_batches/state_machine.tf renders it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ASL = Path(__file__).resolve().parents[2] / "asl"
SOURCES = {path.name.split(".")[0]: path.read_text() for path in sorted(ASL.glob("*.asl.json"))}
"""The definitions as they are kept: of the machine that runs batches, and of the one that finishes them."""
PARTS: dict[str, Any] = json.loads((ASL / "parts.json").read_text())


AGENT_ROWS = (ASL / "agent_rows.json").read_text()
"""The states of an agent's child, which are in the definition once for each kind of map."""


def composed(name: str = "batch_processor") -> str:
    """A definition with its parts. The names of functions, bucket and partition are still placeholders."""
    parts = {part: json.dumps(value) for part, value in PARTS.items()}
    agent_rows = _with_parts(AGENT_ROWS, parts)
    shared = {
        **parts,
        "agent_rows": agent_rows.replace("${suffix}", ""),
        "agent_rows_inline": agent_rows.replace("${suffix}", "Inline"),
    }
    return _with_parts(SOURCES[name], shared)


def _with_parts(text: str, parts: dict[str, str]) -> str:
    return re.sub(r'"\$\{(\w+)\}"', lambda match: parts.get(match.group(1), match.group()), text)


def rendered(name: str = "batch_processor") -> str:
    """A definition as the service gets it, with an invented account."""
    text = composed(name).replace("${partition}", "aws").replace("${results_bucket}", "bucket")
    return re.sub(r"\$\{\w+_arn\}", "arn:aws:lambda:us-east-1:000000000000:function:name:1", text)
