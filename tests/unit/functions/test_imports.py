"""A cold start imports only what most calls of a function use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
RARE = (
    "boto3",
    "difflib",
    "duckdb",
    "foundation.prices",
    "mmap",
    "row_batches.files.json_reader",
    "row_batches.files.parquet_reader",
    "row_batches.files.workbook",
    "row_batches.run.agent_messages",
    "row_batches.run.cures",
    "row_batches.run.earlier_execution",
    "row_batches.run.end_messages",
    "row_batches.run.fan_out",
    "row_batches.run.input_messages",
    "row_batches.run.tool_messages",
    "row_batches.targets.usage",
    "tempfile",
    "zipfile",
)
"""Modules for mistakes in a document, prices, formats besides CSV, duplicates, earlier runs and the admin API; the
messages of other functions; and the SDK, which the first client imports."""
PRICES = ("foundation.prices", "row_batches.targets.usage")


@pytest.mark.parametrize(
    ("function", "used"),
    [
        ("process_tool_rows", ("row_batches.run.tool_messages",)),
        ("map_input", ("row_batches.run.agent_messages",)),
        ("map_output", ("row_batches.run.agent_messages",)),
        ("notify", ("row_batches.run.end_messages",)),
        ("finish_run", ("row_batches.run.end_messages",)),
        ("validate_input", ("row_batches.run.input_messages", *PRICES)),  # it estimates the cost
        ("aggregate_results", ("row_batches.run.end_messages", *PRICES)),  # it sums up the cost
    ],
)
def test_a_handler_does_not_import_what_few_calls_use(function: str, used: tuple[str, ...]) -> None:
    paths = [str(REPOSITORY / "layers" / "core" / "python"), str(REPOSITORY / "functions" / function)]
    program = f"import sys; sys.path[:0] = {paths!r}; import handler; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert sorted(set(done.stdout.split()) & set(RARE)) == sorted(used)
