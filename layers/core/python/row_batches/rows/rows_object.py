"""The text of a rows object: a run of finished rows, such that the aggregator parses one line of it.

The first line is a JSON object with a list for each field that goes into the output or is counted (``RowColumns``).
A line follows for each row, with what is kept of it beside: ``{"row", "hash", "answer"}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import orjson

from foundation.json_text import render_json
from row_batches.rows.records import RowColumns, RowRecord, RowStatus

SPARSE = frozenset({"failures", "details"})
"""The columns that name their rows, since most rows have no element in them."""


def answer_start(row: int, row_hash: str) -> bytes:
    """How the line of this row begins when its input has this hash: compared without parsing the answer."""
    return b'{"row":%d,"hash":"%b","answer":' % (row, row_hash.encode())


def encode_answer(record: RowRecord) -> bytes:
    """The line of a row, with its line end."""
    return b"%b%b}\n" % (answer_start(record["row"], record["hash"]), render_json(record["answer"]).encode())


def encode_rows(records: Sequence[RowRecord], answers: Sequence[bytes]) -> bytes:
    """A rows object of consecutive rows and their ``encode_answer``."""
    columns: RowColumns = {
        "csv": [record["csv"] for record in records],
        "status": [record["status"] for record in records],
        "attempts": [record["attempts"] for record in records],
        "throttles": [record["throttles"] for record in records],
        "started_ms": [record["started_ms"] for record in records],
        "duration_ms": [record["duration_ms"] for record in records],
        "worker_ms": [record["worker_ms"] for record in records],
        "worker_calls": [record["worker_calls"] for record in records],
        "cast_failures": [record["cast_failures"] for record in records],
        "failures": [
            {
                "row": record["row"],
                "status": record["status"],
                "error": record["error"],
                "csv": record["failed_csv"],
            }
            for record in records
            if record["status"] is not RowStatus.SUCCESS
        ],
        "details": [
            {"row": record["row"], "notes": record.get("notes", {}), "usage": record.get("usage", {})}
            for record in records
            if "notes" in record or "usage" in record
        ],
    }
    return b"\n".join([orjson.dumps(columns), b"".join(answers)])


def first_line(body: bytes) -> bytes:
    """The line that ``read_columns`` takes."""
    return body[: body.index(b"\n")]


def read_columns(lines: Sequence[bytes], row: int, skip: int) -> RowColumns:
    """The rows of the objects that begin with ``lines``, but for the first ``skip`` rows: from ``row`` on."""
    parts: list[dict[str, list[Any]]] = [orjson.loads(line) for line in lines]
    columns = parts[0]
    for part in parts[1:]:
        for name, values in part.items():
            columns[name] += values
    if skip > 0:
        kept = {name: [of for of in columns[name] if of["row"] >= row] for name in SPARSE & columns.keys()}
        columns = {name: values[skip:] for name, values in columns.items()} | kept
    return cast("RowColumns", columns)
