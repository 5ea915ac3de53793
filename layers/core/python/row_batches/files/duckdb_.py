"""Opens DuckDB for a file, within bounds. It loads no extension: Parquet is part of it.

Imported at first use, because DuckDB takes 60 ms and only Parquet needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

Error = duckdb.Error
OutOfMemory = duckdb.OutOfMemoryException
_ROWS_AT_ONCE = 128
_LINE_BYTES = 1_048_576
"""DuckDB takes memory for several lines of this size."""


@contextmanager
def connected(folder: Path, memory_mb: int) -> Iterator[DuckDBPyConnection]:
    """A DuckDB that reads and writes files in ``folder`` only, in this much memory.

    It has one thread, because each would hold pages of its own, and it keeps the order of rows. Beyond its memory, it
    raises ``OutOfMemory``: it writes nothing beside the files that it is told to.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "memory_limit": f"{memory_mb}MB",
        "temp_directory": "",
        "home_directory": str(folder),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with duckdb.connect(config=config) as connection:
        connection.execute("SET allowed_directories = [$folder]", {"folder": f"{folder}/"})
        connection.execute("SET enable_external_access = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # It would write into the log.
        yield connection


def fetched(connection: DuckDBPyConnection, statement: str, values: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, some at a time. Raises ``Error``."""
    cursor = connection.execute(statement, values)
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield from rows


def write_parquet(
    connection: DuckDBPyConnection,
    source: Path,
    columns: Sequence[tuple[str, str, str]],
    longest: int,
    target: Path,
) -> None:
    """Write the JSON lines ``source`` as Parquet. Raises ``Error``.

    ``columns`` has, for each column, its key in the objects, its name and its type. ``longest`` is the longest line in
    bytes. Statements cannot bind names, so the names are quoted.
    """
    types = ", ".join(f"{key}: '{kind}'" for key, _, kind in columns)
    names = ", ".join(f"{key} AS {_quoted(name)}" for key, name, _ in columns)
    size = max(_LINE_BYTES, longest + 1)
    lines = f"read_json('{source}', format = 'newline_delimited', columns = {{{types}}}, maximum_object_size = {size})"
    connection.execute(f"COPY (SELECT {names} FROM {lines}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")  # noqa: S608


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
