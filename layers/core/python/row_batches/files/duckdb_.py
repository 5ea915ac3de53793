"""Opens DuckDB for a file, within bounds. It loads no extension: Parquet is part of it.

Imported at first use, because DuckDB takes 60 ms and only Parquet needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

Error = duckdb.Error
OutOfMemory = duckdb.OutOfMemoryException
_ROWS_AT_ONCE = 128


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
