"""Writes content into an agency's table of the lake.

DuckDB 1.5 does not repeat a commit that lost against another writer. The caller does, ``COMMIT_ATTEMPTS`` times.
"""

# ruff: noqa: S608 (identifiers are checked, values are bound)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedrock_batches.lake.sql import rows_statement
from bedrock_batches.sync.lake_content import ContentUpdate
from bedrock_batches.violations import COLUMNS, CONTENT, KEY

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COMMIT_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge: each update is in exactly one of the five.

    ``updated``: rows written. ``unchanged``: rows that had this content or newer content already. ``missing``: ids that
    the table does not have. ``verified``: ids of verified rows whose update is not verified and has no time for that.
    ``repeated``: ids that several rows share. The last three are not written.
    """

    updated: int
    unchanged: int
    missing: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()


_TYPES = {column.name: column.type for column in COLUMNS}
_STATE = (("bedrock_generated_at", "generated_at"), ("is_verified", "is_verified"), ("verified_at", "verified_at"))
"""Column of the table, and attribute of ``ContentUpdate``."""
_WRITTEN = (*((field.column, field.name) for field in CONTENT), *_STATE)
_INCOMING = ((KEY, "VARCHAR"), *((name, _TYPES[column]) for column, name in _WRITTEN))
_NEVER = "-9223372036854775807"
"""Older than any time, in microseconds: content can be from before 1970."""
_VERIFIED = f"""(
    coalesce(target.is_verified, false) AND NOT incoming.is_verified
    AND coalesce(epoch_us(incoming.verified_at), {_NEVER}) <= coalesce(epoch_us(target.verified_at), {_NEVER}))
"""
"""A person verified the row, and the update does not say when that was withdrawn."""
_OUTDATED = f"""(
    row(coalesce(epoch_us(target.bedrock_generated_at), {_NEVER}), coalesce(epoch_us(target.verified_at), {_NEVER}))
        <= row(epoch_us(incoming.generated_at), coalesce(epoch_us(incoming.verified_at), {_NEVER}))
    AND ({" OR ".join(f"target.{column} IS DISTINCT FROM incoming.{name}" for column, name in _WRITTEN)}))
"""
_COMPARED = f"""
SELECT incoming.{KEY},
    CASE WHEN count(target.{KEY}) = 0 THEN 'missing'
        WHEN count(target.{KEY}) > 1 THEN 'repeated'
        WHEN bool_or({_VERIFIED}) THEN 'verified'
        WHEN bool_or({_OUTDATED}) THEN 'outdated'
        ELSE 'unchanged' END
FROM incoming LEFT JOIN {{table}} AS target ON target.{KEY} = incoming.{KEY}
GROUP BY incoming.{KEY}
"""
_MERGE = f"""
MERGE INTO {{table}} AS target USING incoming ON target.{KEY} = incoming.{KEY}
WHEN MATCHED AND {_OUTDATED} AND NOT {_VERIFIED} AND NOT list_contains($repeated::VARCHAR[], incoming.{KEY})
THEN UPDATE SET {", ".join(f"{column} = incoming.{name}" for column, name in _WRITTEN)}
"""


def merge_updates(connection: DuckDBPyConnection, table: str, updates: Sequence[ContentUpdate]) -> Merged:
    """Write the updates in one transaction. ``table`` is its name in SQL. ``updates`` have each violation once."""
    incoming = rows_statement(_INCOMING, map(_row, updates))
    connection.execute(f"CREATE TEMP TABLE incoming AS {incoming.sql}", incoming.parameters)
    connection.execute("BEGIN")
    found = connection.execute(_COMPARED.format(table=table)).fetchall()
    by_fate: dict[str, list[str]] = {}
    for violation_id, fate in found:
        by_fate.setdefault(fate, []).append(violation_id)
    named = {fate: tuple(sorted(by_fate.get(fate, ()))) for fate in ("missing", "verified", "repeated")}
    updated = len(by_fate.get("outdated", ()))
    if updated:
        connection.execute(_MERGE.format(table=table), {"repeated": list(named["repeated"])})
    connection.execute("COMMIT")
    return Merged(updated, len(by_fate.get("unchanged", ())), **named)


def _row(update: ContentUpdate) -> dict[str, Any]:
    return {KEY: update.violation_id, **update.content, **{name: getattr(update, name) for _, name in _STATE}}
