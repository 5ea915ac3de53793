"""The registry of metadata columns: what the output says of each row beside its data.

To add one: an entry in ``METADATA``. The names, the output, the checks and the reference page follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What is known of a finished row. ``row`` is the 1-based data row; times in milliseconds, since the epoch."""

    execution: str
    row: int
    status: str
    error_message: str
    attempts: int
    started_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class MetadataColumn:
    """A metadata column. ``cell`` gives its text. ``on_request``: only a list in ``add_metadata`` adds it."""

    name: str
    cell: Callable[[RowFacts], str]
    doc: str
    on_request: bool = False


def timestamp(milliseconds: int) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-01-31T12:00:00.000Z``."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


METADATA = (
    MetadataColumn("_execution_id", lambda row: row.execution, "name of the execution"),
    MetadataColumn("_row_id", lambda row: str(row.row), "number of the data row in the CSV; the first is 1"),
    MetadataColumn("_status", lambda row: row.status, "`SUCCESS`, `FAILED` or `TIMEOUT`"),
    MetadataColumn("_error_message", lambda row: row.error_message, "why the row is not `SUCCESS`; else empty"),
    MetadataColumn(
        "_execution_time_ms",
        lambda row: str(row.ended_ms - row.started_ms),
        "milliseconds from the row's first attempt to its end, pauses included",
    ),
    MetadataColumn("_timestamp", lambda row: timestamp(row.ended_ms), "when the row ended: ISO 8601, UTC"),
    MetadataColumn(
        "_attempts",
        lambda row: str(row.attempts),
        "calls of the target that count as attempts; `0`: not attempted, or taken over from an earlier execution",
        on_request=True,
    ),
)
"""In the order of the output."""

METADATA_COLUMN_OF = {column.name: column for column in METADATA}
METADATA_COLUMNS = tuple(METADATA_COLUMN_OF)
DEFAULT_METADATA_COLUMNS = tuple(column.name for column in METADATA if not column.on_request)
"""The columns of every output that does not say otherwise. Input columns with these names are not mapped and are
replaced in the output; those with another metadata name are, in an earlier output."""
