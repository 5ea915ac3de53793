"""Measures the import time of each handler in a fresh interpreter, and compares it with ``import boto3``."""

from __future__ import annotations

import subprocess
import sys
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
started = time.perf_counter()
import {module}
print((time.perf_counter() - started) * 1000)
assert not {forbidden!r} & sys.modules.keys(), "imported too early"
"""


def milliseconds(module: str, paths: list[str], forbidden: set[str]) -> float:
    program = PROGRAM.format(module=module, paths=paths, forbidden=forbidden)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)


def run() -> list[dict[str, Any]]:
    """Milliseconds of each handler (ratio of times); taking turns with the peer."""
    core = str(REPOSITORY / "layers" / "core" / "python")
    handlers = sorted(path.parent for path in (REPOSITORY / "functions").glob("*/handler.py"))
    times: dict[str, list[float]] = {folder.name: [] for folder in handlers}
    peer: list[float] = []
    for _ in range(ROUNDS):
        peer.append(milliseconds("boto3", [], set()))
        for folder in handlers:
            times[folder.name].append(milliseconds("handler", [core, str(folder)], TOO_EARLY))
    return [
        {
            "name": f"import_{name}",
            "ours": median(measured),
            "peer": median(peer),
            "ratio": median(measured) / median(peer),
            "aim": AIM_MS,
            "met": median(measured) <= AIM_MS,
            "unit": "ms (ratio of times); peer: import boto3",
            "spread": (max(measured) - min(measured)) / median(measured),
        }
        for name, measured in times.items()
    ]
