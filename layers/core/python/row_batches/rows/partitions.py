"""Spreads the rows of an execution over the partition keys of a table."""

from __future__ import annotations

BLOCK_ROWS = 100
"""The number of consecutive rows with one partition key."""


def batch_ids_of(batch_name: str, execution: str, count: int) -> list[str]:
    """The partition keys of an execution's rows: ``<batch>#<execution>``, with ``#<nn>`` if there are several."""
    batch_id = f"{batch_name}#{execution}"
    return [batch_id] if count == 1 else [f"{batch_id}#{number:02d}" for number in range(count)]


def block_of(row: int) -> int:
    """The number of the row's block, from 0."""
    return (row - 1) // BLOCK_ROWS


def row_id(row: int) -> str:
    """The sort key of a row: ``row_000000001``."""
    return f"row_{row:09d}"
