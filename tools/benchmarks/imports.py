"""Measures the CPU time of each handler's import in a fresh interpreter, and compares it with ``import boto3``.

Both sides have their bytecode, whatever ``PYTHONDONTWRITEBYTECODE`` says. CPU time, because other processes take turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
ROUNDS = 7
TOO_EARLY = {"boto3", "botocore.session", "duckdb"}
AIM_MS = 250
PROGRAM = """
import sys, time
sys.path[:0] = {paths!r}
started = time.process_time()
import {module}
print((time.process_time() - started) * 1000)
assert not {forbidden!r} & sys.modules.keys(), "imported too early"
"""


def milliseconds(module: str, paths: list[str], forbidden: set[str], bytecode: str) -> float:
    program = PROGRAM.format(module=module, paths=paths, forbidden=forbidden)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def run() -> list[dict[str, Any]]:
    """Milliseconds of each handler (ratio of times); taking turns with the peer."""
    core = str(REPOSITORY / "layers" / "core" / "python")
    handlers = sorted(path.parent for path in (REPOSITORY / "functions").glob("*/handler.py"))
    times: dict[str, list[float]] = {folder.name: [] for folder in handlers}
    peer: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-imports-") as bytecode:
        for round_ in range(-1, ROUNDS):  # The first round compiles and does not count.
            base = milliseconds("boto3", [], set(), bytecode)
            own = {
                folder.name: milliseconds("handler", [core, str(folder)], TOO_EARLY, bytecode) for folder in handlers
            }
            if round_ >= 0:
                peer.append(base)
                for name, measured in own.items():
                    times[name].append(measured)
    return [
        {
            "name": f"import_{name}",
            "ours": median(measured),
            "peer": median(peer),
            "ratio": median(measured) / median(peer),
            "aim": AIM_MS,
            "met": median(measured) <= AIM_MS,
            "unit": "ms of CPU (ratio of times); peer: import boto3",
            "spread": (max(measured) - min(measured)) / median(measured),
        }
        for name, measured in times.items()
    ]
