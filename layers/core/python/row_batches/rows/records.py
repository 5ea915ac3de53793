"""A finished row: what is kept of it, and what the aggregator reads of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NotRequired, TypedDict


class RowStatus(StrEnum):
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"


Usage = dict[str, dict[str, int | float]]
"""What answers said they used: by model (``""`` where none is named) ``input_tokens, output_tokens, cost_usd``."""


class RowRecord(TypedDict):
    """What is kept of one finished row, beside its answer.

    ``csv`` is the finished line of the output, with its line end. ``failed_csv`` is the line of ``failed_rows.csv``, on
    rows that are not SUCCESS. Times in milliseconds, ``started_ms`` since the epoch. ``hash`` is the SHA-256 of the
    mapped input. ``attempts`` 0: not attempted; ``throttles``: calls that did not come to an attempt. ``notes`` counts
    what was odd about the answer, by the name of a ``targets.notes.Note``; ``usage`` is that of all attempts.
    ``throttled_ms`` is how long it paused because the target throttled.
    ``target_version`` is the ``TargetVersion`` that answered, as text: rows of earlier releases have the registered one
    alone, or "".

    ``cast_failures`` are the mapped columns whose value could not be cast, each with that value, shortened. ``missing``
    are those that matched nothing: a row that is FAILED has them when it failed for them alone. ``answer_keys`` are the
    keys that the answer has where their paths end, by place. ``off_protocol`` is the beginning of an answer that does
    not follow the target's protocol.

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
    cast_failures: dict[str, str]
    notes: NotRequired[dict[str, int]]
    usage: NotRequired[Usage]
    throttled_ms: NotRequired[int]
    missing: NotRequired[list[str]]
    answer_keys: NotRequired[dict[str, list[str]]]
    off_protocol: NotRequired[str]
    target_version: str
    csv: str
    failed_csv: NotRequired[str]
    error: NotRequired[str]


@dataclass(frozen=True, slots=True)
class FinishedRow:
    """A row that is over: its cells as the user wrote them, its record, and the JSON text of the target's raw answer.

    The answer is ``null`` when there is none. It is a text already, so that nobody holds the objects in it.
    """

    cells: Sequence[str]
    record: RowRecord
    answer: bytes

    @property
    def row(self) -> int:
        return self.record["row"]

    @property
    def has_failed(self) -> bool:
        return self.record["status"] is not RowStatus.SUCCESS


def consecutive_runs(rows: Sequence[FinishedRow]) -> Iterator[list[FinishedRow]]:
    """Cut ascending rows where a row number is left out."""
    run: list[FinishedRow] = []
    for finished in rows:
        if run and finished.row != run[-1].row + 1:
            yield run
            run = []
        run.append(finished)
    if run:
        yield run


class RowFailure(TypedDict):
    """A row that is not SUCCESS: its message, its line of ``failed_rows.csv``, and whether its letter is sent."""

    row: int
    status: RowStatus
    error: str
    csv: str
    letter_sent: bool


class RowDetails(TypedDict):
    """What few rows have: see ``RowRecord``. Rows that an earlier release wrote lack what is not required."""

    row: int
    notes: dict[str, int]
    usage: Usage
    cast_failures: NotRequired[dict[str, str]]
    throttled_ms: NotRequired[int]
    missing: NotRequired[list[str]]
    answer_keys: NotRequired[dict[str, list[str]]]
    off_protocol: NotRequired[str]


def details_of(records: Iterable[RowRecord]) -> list[RowDetails]:
    """Those of the rows that have some."""
    found: list[RowDetails] = []
    for record in records:
        if record["cast_failures"] or any(name in record for name in ("notes", "usage", "throttled_ms", "missing")):
            details: RowDetails = {
                "row": record["row"],
                "notes": record.get("notes", {}),
                "usage": record.get("usage", {}),
                "cast_failures": record["cast_failures"],
                "throttled_ms": record.get("throttled_ms", 0),
            }
            if "missing" in record:
                details["missing"], details["answer_keys"] = record["missing"], record.get("answer_keys", {})
            if "off_protocol" in record:
                details["off_protocol"] = record["off_protocol"]
            found.append(details)
    return found


class RowColumns(TypedDict):
    """What the aggregator needs of consecutive finished rows: fields of ``RowRecord``, a value for each row.

    ``failures`` has elements only for rows that are not SUCCESS, ``details`` only for rows with some.
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
    target_version: list[str]
    failures: list[RowFailure]
    details: list[RowDetails]


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A finished row with its answer: None on a row that is not SUCCESS, whose ``error`` says why.

    ``unmatched``: the row is FAILED only because mapped columns matched nothing, and ``answer`` is what it answered.
    """

    row: int
    status: RowStatus
    started_ms: int
    ended_ms: int
    attempts: int
    error: str
    answer: Any
    unmatched: bool = False


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer of a row that was SUCCESS, as JSON text, with the hash of the input that it answers."""

    row: int
    hash: str
    target_version: str
    answer: bytes
