"""The registry of metadata columns, which describe how each row of the output ran.

To add one, add an entry to ``METADATA``. The names, the output, the checks and the reference page are derived from it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from row_batches.mapping.cells import CellKind


class RowFacts(NamedTuple):
    """A finished row. ``row`` is the 1-based number of the data row; times are in milliseconds since the epoch."""

    execution: str
    row: int
    status: str
    error_message: str
    attempts: int
    started_ms: int
    ended_ms: int
    extraction: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    """None if the answers report no usage."""
    cost_usd: float | None = None
    """The cost of the row's calls and tokens; None if it is not known."""


class MetadataColumn(NamedTuple):
    """A metadata column. ``cell`` gives its text, of which ``kind`` says how a format with types reads it.

    With ``on_request``, only a list in ``add_metadata`` adds the column.
    """

    name: str
    kind: CellKind
    cell: Callable[[RowFacts], str]
    doc: str
    on_request: bool = False


def timestamp(milliseconds: int) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-01-31T12:00:00.000Z``."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _usd(amount: float | None) -> str:
    """An amount with up to nine decimals, because a token costs some billionths of a dollar."""
    return "" if amount is None else f"{amount:.9f}".rstrip("0").rstrip(".")


METADATA = (
    MetadataColumn("_execution_id", CellKind.TEXT, lambda row: row.execution, "name of the execution"),
    MetadataColumn(
        "_row_id", CellKind.WHOLE, lambda row: str(row.row), "number of the data row in the CSV; the first is 1"
    ),
    MetadataColumn(
        "_status",
        CellKind.TEXT,
        lambda row: row.status,
        "`SUCCESS`, `FAILED`, `TIMEOUT`, or `SKIPPED`: not sent, as it has no content",
    ),
    MetadataColumn(
        "_error_message", CellKind.TEXT, lambda row: row.error_message, "why the row is not `SUCCESS`; otherwise empty"
    ),
    MetadataColumn(
        "_execution_time_ms",
        CellKind.WHOLE,
        lambda row: str(row.ended_ms - row.started_ms),
        "milliseconds from the row's first attempt to its end, including pauses",
    ),
    MetadataColumn(
        "_timestamp", CellKind.TIMESTAMP, lambda row: timestamp(row.ended_ms), "when the row ended, ISO 8601 in UTC"
    ),
    MetadataColumn(
        "_attempts",
        CellKind.WHOLE,
        lambda row: str(row.attempts),
        "calls of the target that count as attempts; `0` if the row was not started, or taken over from an earlier "
        "execution",
        on_request=True,
    ),
    MetadataColumn(
        "_input_tokens",
        CellKind.WHOLE,
        lambda row: _count(row.input_tokens),
        "input tokens of all attempts, from `metadata.usage` of the answers; empty if they report none",
        on_request=True,
    ),
    MetadataColumn(
        "_output_tokens",
        CellKind.WHOLE,
        lambda row: _count(row.output_tokens),
        "output tokens of all attempts, from the same place",
        on_request=True,
    ),
    MetadataColumn(
        "_cost_usd",
        CellKind.NUMBER,
        lambda row: _usd(row.cost_usd),
        "US dollars for the row's calls and tokens ([known prices](cost.md#the-target)); empty if nothing is known",
        on_request=True,
    ),
    MetadataColumn(
        "_extraction",
        CellKind.JSON,
        lambda row: row.extraction,
        'how the fields of `extraction_methods` were found: `{"methods": {field: method}, "missing": [field]}`; empty '
        "without them, and on a row that is not `SUCCESS`",
        on_request=True,
    ),
)
"""All metadata columns, in the order of the output."""

METADATA_COLUMN_OF = {column.name: column for column in METADATA}
METADATA_COLUMNS = tuple(METADATA_COLUMN_OF)
DEFAULT_METADATA_COLUMNS = tuple(column.name for column in METADATA if not column.on_request)
"""The metadata columns of an output by default. Input columns with these names are not mapped, and the output replaces
them. Input columns with the name of another metadata column are replaced if the input is an earlier output."""
