"""The format of a rows object, which holds consecutive finished rows. The aggregator parses only its first line.

The first line is a JSON object with ``schema_version`` and a list for each field that the output or a count needs
(``RowColumns``). Each row has one more line with the rest: ``{"row", "hash", "answer"}``.

Version 1 has no ``schema_version``, no ``target_version`` and sometimes no ``details``. Its workers sent dead letters
before they wrote rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import orjson

from foundation.errors import DeploymentError
from row_batches.rows.proof_rows import ROW_CHARACTERS, proof_of_line
from row_batches.rows.records import FinishedRow, RowColumns, columns_of

ROWS_SCHEMA_VERSION = 2
SPARSE = frozenset({"failures", "details"})
"""The columns in which most rows have no element, so each element has its row number."""


def encode_rows(rows: Sequence[FinishedRow]) -> bytes:
    """The text of a rows object with these consecutive rows."""
    columns = columns_of([finished.record for finished in rows])
    parts = [orjson.dumps({"schema_version": ROWS_SCHEMA_VERSION, **columns}), b"\n"]
    for finished in rows:
        row_hash = finished.record["hash"].encode()
        parts += (_answer_start(finished.row), row_hash, b'","answer":', finished.answer, b"}\n")
    return b"".join(parts)


def _answer_start(row: int) -> bytes:
    return b'{"row":%d,"hash":"' % row


def split_answer(row: int, line: bytes) -> tuple[str, bytes]:
    """Hash and answer (as JSON text) from the line of ``row``, without parsing the answer."""
    row_hash, _, answer = line[len(_answer_start(row)) :].partition(b'","answer":')
    return row_hash.decode(), answer.rstrip(b"\n")[:-1]


def first_line(body: bytes) -> bytes:
    """The first line of a rows object, the input of ``read_columns``."""
    return body[: body.index(b"\n")]


def read_columns(
    lines: Sequence[bytes], row: int, skip: int, letter_is_sent: Callable[[int], bool] = lambda _: False
) -> RowColumns:
    """The rows from ``row`` on of the objects that begin with ``lines``, which is without their first ``skip`` rows.

    ``letter_is_sent`` is called for each failed row, ascending. Raises ``DeploymentError`` for rows of a newer form.
    """
    columns, *more = [_parse(line) for line in lines]
    for part in more:
        for name, values in part.items():
            columns[name] += values
    if skip > 0:
        kept = {name: [of for of in columns[name] if of["row"] >= row] for name in SPARSE}
        proof = columns["proof"][skip * ROW_CHARACTERS :]
        columns = {name: values[skip:] for name, values in columns.items()} | kept | {"proof": proof}
    for failure in columns["failures"]:
        failure["letter_sent"] = failure.get("letter_sent") or letter_is_sent(failure["row"])
    return cast("RowColumns", columns)


def _parse(line: bytes) -> dict[str, Any]:
    columns: dict[str, Any] = orjson.loads(line)
    version = columns.pop("schema_version", 1)
    if version > ROWS_SCHEMA_VERSION:
        raise DeploymentError(
            f"These rows were written in form {version}, by a newer release; this one reads forms up to "
            f"{ROWS_SCHEMA_VERSION}. Deploy that release again, or a newer one."
        )
    if "proof" not in columns:
        columns["proof"] = "".join(map(proof_of_line, columns["csv"]))
    if "extraction" not in columns:
        columns["extraction"] = [""] * len(columns["status"])
    if version == 1:
        columns["target_version"] = [""] * len(columns["status"])
        columns.setdefault("details", [])
        for failure in columns["failures"]:
            failure["letter_sent"] = True
    return columns
