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


class RowRecord(TypedDict):
    """One finished row.

    ``csv`` is the finished line of the output, with its line end. ``failed_csv`` is the line of ``failed_rows.csv``, on
    rows that are not SUCCESS. ``answer`` is the raw answer of the target (``None`` when there is none). Times in
    milliseconds, ``started_ms`` since the epoch. ``hash`` is the SHA-256 of the mapped input. ``attempts`` 0: not
    attempted; ``throttles``: calls that did not come to an attempt.

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


class RowColumns(TypedDict):
    """What the aggregator needs of consecutive finished rows: fields of ``RowRecord``, a value for each row.

    ``failures`` has an element for each row that is not SUCCESS only.
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
