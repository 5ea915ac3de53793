"""The finished row, as workers write it and the aggregator reads it.

A rows object holds a run of consecutive rows, and its key carries the first and the last of them. So keys list in row
order, a gap shows in the listing, and concatenating the objects gives the output in input order.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NotRequired, TypedDict


class RowStatus(StrEnum):
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"


Usage = dict[str, dict[str, int | float]]
"""What answers said they used: by model (``""`` where none is named) ``input_tokens, output_tokens, cost_usd``."""


class RowRecord(TypedDict):
    """One finished row.

    ``csv`` is the finished line of the output, with its line end. ``failed_csv`` is the line of ``failed_rows.csv``, on
    rows that are not SUCCESS. ``answer`` is the raw answer of the target (``None`` when there is none). Times in
    milliseconds, ``started_ms`` since the epoch. ``hash`` is the SHA-256 of the mapped input. ``attempts`` 0: not
    attempted; ``throttles``: calls that did not come to an attempt. ``notes`` counts what was odd about the answer, by
    the name of a ``targets.notes.Note``; ``usage`` is that of all attempts.

    ``worker_ms`` is the time that a worker of many rows took since it last wrote, ``worker_calls`` 1 when it wrote for
    the first time: on the first row of what it writes, else 0. What a worker costs is its own time, not its rows'.
    """

    row: int
    status: RowStatus
    hash: str
    attempts: int
    throttles: int
    started_ms: int
    duration_ms: int
    worker_ms: int
    worker_calls: int
    cast_failures: int
    notes: NotRequired[dict[str, int]]
    usage: NotRequired[Usage]
    csv: str
    failed_csv: NotRequired[str]
    error: NotRequired[str]
    answer: Any


class RowFailure(TypedDict):
    """A row that is not SUCCESS: its message, and its line of ``failed_rows.csv``."""

    row: int
    status: RowStatus
    error: str
    csv: str


class RowDetails(TypedDict):
    """What few rows have: their notes and their usage."""

    row: int
    notes: dict[str, int]
    usage: Usage


class RowColumns(TypedDict):
    """What the aggregator needs of consecutive finished rows: fields of ``RowRecord``, a value for each row.

    ``failures`` has elements only for rows that are not SUCCESS, ``details`` only for rows with notes or usage. Rows of
    an earlier release have no ``details``.
    """

    csv: list[str]
    status: list[RowStatus]
    attempts: list[int]
    throttles: list[int]
    started_ms: list[int]
    duration_ms: list[int]
    worker_ms: list[int]
    worker_calls: list[int]
    cast_failures: list[int]
    failures: list[RowFailure]
    details: NotRequired[list[RowDetails]]
