"""The Terraform configuration as data. checkov's environment brings the HCL parser."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
ROW_BATCHES = REPOSITORY / "terraform" / "modules" / "row_batches"
BEDROCK_BATCHES = REPOSITORY / "terraform" / "modules" / "bedrock_batches"
FILES = sorted([*(REPOSITORY / "terraform").rglob("*.tf"), *(REPOSITORY / "examples").rglob("*.tf")])


@cache
def parsed(path: Path) -> dict[str, Any]:
    """One file: blocks by type, each a list; expressions are texts like ``${var.name}``."""
    interpreter = os.environ.get("CHECKOV_PYTHON") or str(REPOSITORY / ".venv-checkov" / "bin" / "python")
    program = "import hcl2, json, sys; json.dump(hcl2.load(open(sys.argv[1])), sys.stdout)"
    command = [interpreter, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    return dict(json.loads(done.stdout))


def local_value(path: Path, name: str) -> Any:
    """A local value of a file."""
    return next(block[name] for block in parsed(path)["locals"] if name in block)


def plain(value: Any) -> Any:
    """What the parser wraps into lists of one, unwrapped."""
    if isinstance(value, list) and len(value) == 1:
        return plain(value[0])
    return value
