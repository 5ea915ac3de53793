"""Reads a Parquet file as a table, with DuckDB.

The description of a Parquet file is at its end, so the file is first copied to /tmp. Its rows are then read page by
page. Numbers, booleans and lists keep their types on the way to the target, decimals have all their digits, dates and
times become ISO 8601 text. Columns whose values JSON does not have, such as structs, are refused by name.
Memory: DuckDB's share of the function's memory, and as much for its rows, whatever the size of the file.
"""

# ruff: noqa: S608 (names of columns are quoted, values are bound)

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import InvalidInputError, Problem
from foundation.functions import function_sizes
from foundation.problems import listed, shown
from row_batches.files.staged_copy import staged_cell
from row_batches.files.table import PATH, InputFile, ResumableTable, bounded, refuse
from row_batches.mapping.cells import JsonCell

MAX_PARQUET_BYTES = 4_000_000_000
"""The largest file. It must fit into the function's /tmp. Most files of this size exceed 10 GB unpacked anyway."""
_LONGEST_CELL = 199_000
"""A longer cell makes its row too long in any case, so only this much of it is read."""
_NULL = staged_cell(JsonCell("null"))
_WRITE_AGAIN = "write the file again and upload it"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the values of a column become cells. ``types`` is a pattern of DuckDB's names of types.

    ``sql`` gives a value's text, with ``{c}`` for the column. ``cell`` gives the staged form of that text. A text
    without quotes and CR, and with only so many ``backslashes``, is its own staged form; None if it never is.
    """

    types: str
    sql: str
    cell: Callable[[str], str] = '"{}"'.format
    backslashes: int | None = 0


_WHOLE = "U?(?:TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)"
_TYPED = r"'\\j' || CAST({c} AS VARCHAR)"
_MOMENT = "regexp_replace(CAST({c} AS VARCHAR), ' ', 'T')"
_KINDS = (
    _Kind(
        "VARCHAR|JSON",
        f"CASE WHEN strlen({{c}}) > {_LONGEST_CELL} THEN left({{c}}, {_LONGEST_CELL}) ELSE {{c}} END",
        staged_cell,
    ),
    _Kind(f"{_WHOLE}|BOOLEAN", _TYPED, backslashes=2),
    # Without a whole part, DuckDB writes .5, which is not JSON.
    _Kind(r"DECIMAL\(.*\)", rf"regexp_replace({_TYPED}, 'j(-?)\.', 'j\10.')", backslashes=2),
    _Kind("FLOAT|DOUBLE", f"CASE WHEN isfinite({{c}}) THEN {_TYPED} ELSE CAST({{c}} AS VARCHAR) END", backslashes=2),
    _Kind("DATE|TIME|TIME_NS|UUID|INTERVAL", "CAST({c} AS VARCHAR)"),
    _Kind("TIMESTAMP(?:_S|_MS|_NS)?", _MOMENT),
    _Kind("(?:TIMESTAMP|TIME) WITH TIME ZONE", rf"regexp_replace({_MOMENT}, '\+00$', '+00:00')"),
    _Kind("BLOB", "decode({c})", staged_cell),
    _Kind(
        rf"(?:{_WHOLE}|VARCHAR|BOOLEAN)\[\]",
        "CAST(to_json({c}) AS VARCHAR)",
        lambda text: staged_cell(JsonCell(text)),
        backslashes=None,
    ),
)
"""The kinds of columns. A column of another type, such as a struct, is refused."""


def stage_parquet(file: InputFile) -> ResumableTable:
    """Prepare to stage a Parquet file. Raises InvalidInputError if it cannot be read.

    Another call continues after a number of rows. These cost little: their pages are read, but not converted to cells.
    """
    parquet = _Parquet(file)
    return ResumableTable(file, parquet.header, parquet.rows_after)


class _Parquet:
    """A Parquet file in /tmp. It is removed when its rows have been read, or when the object is deleted."""

    def __init__(self, file: InputFile) -> None:
        chunks = bounded(file, "the Parquet file", MAX_PARQUET_BYTES, "split it")
        self._folder = Path(tempfile.mkdtemp(prefix="parquet-"))
        self._path = self._folder / "input.parquet"
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        try:
            with self._path.open("wb") as target:
                for chunk in chunks:
                    target.write(chunk)
            self.header, self._columns = self._read_header()
        except BaseException:
            self._remove()
            raise

    def _read_header(self) -> tuple[list[str], list[tuple[str, _Kind]]]:
        with self._rows_of("SELECT name, num_children FROM parquet_schema($file)") as rows:
            names = _top_names(list(rows))
        if not names:
            refuse("", "the Parquet file has no columns", _WRITE_AGAIN)
        columns = []
        unreadable = []
        self._bytes: list[str] = []
        """The columns of bytes, which are read as UTF-8."""
        with self._rows_of("DESCRIBE SELECT * FROM read_parquet($file)") as rows:
            # DuckDB has names of its own for columns with equal names.
            for name, (column, type_, *_) in zip(names, rows, strict=True):
                kind = next((one for one in _KINDS if re.fullmatch(one.types, type_)), None)
                if kind is None:
                    unreadable.append(f"{shown(name)} ({shown(type_)})")
                else:
                    columns.append((column, kind))
                if type_ == "BLOB":
                    self._bytes.append(name)
        if unreadable:
            fix = "write each of its fields as a column, or the whole as JSON text; or leave the column out"
            refuse(", ".join(unreadable[:5]), "a column of the Parquet file has nested or unknown values", fix)
        return names, columns

    def rows_after(self, skipped: int) -> Iterator[tuple[str, str]]:
        """The rows after the first ones: the place of each, such as "row 7", and its staged cells."""
        expressions = ", ".join(kind.sql.format(c=_quoted(column)) for column, kind in self._columns)
        statement = f"SELECT {expressions} FROM read_parquet($file) OFFSET $skipped"
        makers = [kind.cell for _, kind in self._columns]
        template = ",".join(['"%s"'] * len(makers))
        quotes = 2 * len(makers)
        expected = [kind.backslashes for _, kind in self._columns]
        backslashes = -1 if None in expected else sum(filter(None, expected))
        try:
            with self._rows_of(statement, skipped=skipped) as rows:
                for number, values in enumerate(rows, skipped + 1):
                    cells = template % values
                    # Most rows need no escaping, and counting signs tells so faster than a look at each cell.
                    if (
                        cells.count('"') != quotes
                        or cells.count("\\") != backslashes
                        or "\r" in cells
                        or None in values
                    ):
                        pairs = zip(makers, values, strict=True)
                        cells = ",".join(_NULL if value is None else maker(value) for maker, value in pairs)
                    yield f"row {number}", cells
        finally:
            self._remove()

    @contextmanager
    def _rows_of(self, statement: str, **values: int) -> Iterator[Iterator[tuple[Any, ...]]]:
        """The rows of a query about the file ``$file``. Raises InvalidInputError for DuckDB's errors."""
        from row_batches.files import duckdb_  # noqa: PLC0415  # DuckDB takes 60 ms, and only Parquet needs it

        # It holds a page of each column, packed and unpacked, and 2,048 rows.
        memory_mb = function_sizes("row_batches")["validate_input"].duckdb_memory_mb
        try:
            with duckdb_.connected(self._folder, memory_mb) as connection:
                yield duckdb_.fetched(connection, statement, {"file": str(self._path), **values})
        except duckdb_.OutOfMemory:
            fix = "write it with smaller row groups and pages, and with rows of less than 100,000 bytes"
            refuse("", f"a part of the Parquet file does not fit into {memory_mb} MB", fix)
        except duckdb_.Error as error:
            raise InvalidInputError([self._problem(str(error))]) from None

    def _problem(self, said: str) -> Problem:
        if "UTF8" in said or "Invalid string encoding" in said:  # DuckDB's message would show the cell.
            fix = "write its texts as UTF-8, and its bytes in Base64; or leave the column out"
            place = f"columns of bytes: {listed(self._bytes)}" if self._bytes else ""
            return Problem(PATH, place, "the Parquet file has a text that is not UTF-8", fix)
        if "encrypt" in said.lower():
            return Problem(PATH, "", "the Parquet file is encrypted", "write it without encryption")
        reason = said.replace(str(self._path), "the file").partition("\n")[0][:200]
        return Problem(PATH, "", f"the Parquet file is damaged: {reason}", _WRITE_AGAIN)


def _top_names(schema: Sequence[tuple[str, int | None]]) -> list[str]:
    """The names of a file's columns. ``schema`` has the file itself, and each element followed by those inside it."""
    names = []
    inside = 0
    for name, children in schema[1:]:
        if inside:
            inside -= 1
        else:
            names.append(name)
        inside += children or 0
    return names


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
