"""SQL statements with bound values, and the check of names that are written into SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from foundation.errors import DeploymentError

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""A valid name of a namespace or a table: allowed by S3 Tables, and safe in SQL."""


@dataclass(frozen=True)
class Statement:
    """SQL with named parameters (``$name``) and their values."""

    sql: str
    parameters: dict[str, Any]


def identifier(name: str) -> str:
    """Return ``name`` if it is safe in SQL. Raises DeploymentError if not, because it comes from the configuration."""
    if IDENTIFIER.fullmatch(name) is None:
        raise DeploymentError(
            f"{name!r} cannot name an agency's table or a namespace: correct the configuration of the lake "
            f"(it must match {IDENTIFIER.pattern})."
        )
    return name


def rows_statement(columns: Sequence[tuple[str, str]], rows: Iterable[Mapping[str, Any]]) -> Statement:
    """A query that returns these rows. Columns are (name, DuckDB type), amounts and times are text.

    The rows travel as one JSON parameter: DuckDB takes a hundred times longer to bind as many Python values.
    """
    types = {name: [kind.removesuffix("[]")] if kind.endswith("[]") else kind for name, kind in columns}
    return Statement(
        "SELECT entry.* FROM (SELECT unnest(from_json($rows, $types)) AS entry)",
        {"rows": orjson.dumps(list(rows)).decode(), "types": orjson.dumps([types]).decode()},
    )
