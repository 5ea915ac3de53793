"""Models of a finished row: the stored record, and the parts that the aggregator reads."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, NotRequired, TypedDict

from row_batches.rows.proof_rows import proof_of_line


class RowStatus(StrEnum):
    """The outcome of a row, as in the column ``_status``."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    SKIPPED = "SKIPPED"
    """The row has no content and was not sent. The aggregator writes it; the store of finished rows never has it."""


class RowOrigin(StrEnum):
    """The origin of a row's outcome if the target was not called for the row.

    Rows that were taken over from a resumed execution have none. They are SUCCESS without an attempt.
    """

    DUPLICATE = "duplicate"
    """The outcome, of any status, of the row with the same input that was sent (``execution_config.deduplicate``)."""
    CACHED = "cached"
    """The answer of an earlier batch (``execution_config.cache_days``)."""
    LEFT = "left"
    """The failure of the resumed execution, because ``execution_config.only_causes`` does not name its cause."""


Usage = dict[str, dict[str, int | float]]
"""The usage that answers report: by model (``""`` if none is named) ``input_tokens, output_tokens, cost_usd``.

``cost_usd`` is what the answer reports, or the price of its tokens (``targets.pricing``); 0 if neither is known."""


class RowRecord(TypedDict):
    """The stored record of one finished row, without its answer.

    ``csv`` is the finished line of the output, with its line end. ``failed_csv`` is the line of ``failed_rows.csv``, on
    rows that are not SUCCESS. Times are in milliseconds, ``started_ms`` since the epoch. ``hash`` is the SHA-256 of the
    mapped input. ``attempts`` is 0 if the row was not started. ``throttles`` counts calls that were throttled before
    they became an attempt. ``notes`` counts peculiarities of the answer, by the name of a ``targets.notes.Note``.
    ``usage`` is the sum over all attempts. ``throttled_ms`` is how long the row paused because the target throttled.
    ``target_version`` is the ``TargetVersion`` that answered, as text. Rows of earlier releases have the registered
    version only, or "".

    ``cast_failures`` are the mapped columns with a value that could not be cast, each with that value, shortened.
    ``missing`` are the mapped columns that matched nothing; a FAILED row has them if that is the only reason.
    ``answer_keys`` are the keys that the answer has at the end of their paths, by place. ``off_protocol`` is the
    beginning of an answer that does not follow the target's protocol.

    ``extraction`` is ``{"methods", "missing"}`` as JSON: the method of each extracted field, and the fields without.

    ``error`` is the message of a row that is not SUCCESS, and ``error_name`` the name of its error, if it has one.

    ``proof`` is the row's proof in ``proof_rows.b64``. Rows of earlier releases lack it.

    ``origin`` is given if the outcome is that of another row, or of an earlier batch.

    ``worker_ms`` is the time since the worker's last write, and ``worker_calls`` is 1 at its first write. Both are on
    the first row of a write and 0 on the others, because a worker of many rows costs its own time, not its rows' time.
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
    extraction: NotRequired[str]
    origin: NotRequired[RowOrigin]
    target_version: str
    csv: str
    proof: NotRequired[str]
    failed_csv: NotRequired[str]
    error: NotRequired[str]
    error_name: NotRequired[str]


class FinishedRow(NamedTuple):
    """A row that has ended: its original cells, its record, and the target's raw answer as JSON text.

    The answer is ``null`` if there is none. It is kept as text, because parsed objects take more memory.
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

    @property
    def has_failed_here(self) -> bool:
        """Whether it failed in this execution, and not only in the one that this execution resumes."""
        return self.has_failed and self.record.get("origin") != RowOrigin.LEFT


def consecutive_runs(rows: Sequence[FinishedRow]) -> Iterator[list[FinishedRow]]:
    """Split ascending rows where a row number is missing."""
    run: list[FinishedRow] = []
    for finished in rows:
        if run and finished.row != run[-1].row + 1:
            yield run
            run = []
        run.append(finished)
    if run:
        yield run


class RowFailure(TypedDict):
    """A row that is not SUCCESS: its message, its line of ``failed_rows.csv``, and whether its dead letter is sent.

    Rows of earlier releases lack ``error_name``.
    """

    row: int
    status: RowStatus
    error: str
    error_name: NotRequired[str]
    csv: str
    letter_sent: bool


class RowDetails(TypedDict):
    """Facts that only few rows have (see ``RowRecord``). Rows of earlier releases lack the optional fields."""

    row: int
    notes: dict[str, int]
    usage: Usage
    cast_failures: NotRequired[dict[str, str]]
    throttled_ms: NotRequired[int]
    missing: NotRequired[list[str]]
    answer_keys: NotRequired[dict[str, list[str]]]
    off_protocol: NotRequired[str]
    origin: NotRequired[RowOrigin]


DETAILS = ("notes", "usage", "throttled_ms", "missing", "origin")


def details_of(records: Iterable[RowRecord]) -> list[RowDetails]:
    """The details of the rows that have some."""
    found: list[RowDetails] = []
    for record in records:
        if record["cast_failures"] or any(name in record for name in DETAILS):
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
            if "origin" in record:
                details["origin"] = record["origin"]
            found.append(details)
    return found


class RowColumns(TypedDict):
    """The fields of consecutive finished rows that the aggregator needs. Each is a list with one value for each row.

    ``proof`` is one text. ``failures`` has elements only for rows that are not SUCCESS, ``details`` only for rows that
    have details.
    """

    csv: list[str]
    proof: str
    """The rows' proofs, joined: they all have one length (``proof_rows``)."""
    status: list[RowStatus]
    attempts: list[int]
    throttles: list[int]
    started_ms: list[int]
    duration_ms: list[int]
    worker_ms: list[int]
    worker_calls: list[int]
    cast_failures: list[int]
    target_version: list[str]
    extraction: list[str]
    """The value is "" for a row without extraction."""
    failures: list[RowFailure]
    details: list[RowDetails]


def columns_of(records: Sequence[RowRecord], letter_is_sent: Callable[[int], bool] = lambda _: False) -> RowColumns:
    """The columns of consecutive rows. ``letter_is_sent`` is asked about each failed row, ascending."""
    return {
        "csv": [record["csv"] for record in records],
        "proof": "".join([record.get("proof") or proof_of_line(record["csv"]) for record in records]),
        "status": [record["status"] for record in records],
        "attempts": [record["attempts"] for record in records],
        "throttles": [record["throttles"] for record in records],
        "started_ms": [record["started_ms"] for record in records],
        "duration_ms": [record["duration_ms"] for record in records],
        "worker_ms": [record["worker_ms"] for record in records],
        "worker_calls": [record["worker_calls"] for record in records],
        "cast_failures": [len(record["cast_failures"]) for record in records],
        "target_version": [record["target_version"] for record in records],
        "extraction": [record.get("extraction", "") for record in records],
        "failures": [
            {
                "row": record["row"],
                "status": record["status"],
                "error": record["error"],
                "error_name": record.get("error_name", ""),
                "csv": record["failed_csv"],
                "letter_sent": letter_is_sent(record["row"]),
            }
            for record in records
            if record["status"] != RowStatus.SUCCESS
        ],
        "details": details_of(records),
    }


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A finished row with its answer. A row that is not SUCCESS has an ``error`` and the answer None.

    If ``unmatched``, the row is FAILED only because mapped columns matched nothing, and ``answer`` is its answer.
    """

    row: int
    status: RowStatus
    started_ms: int
    ended_ms: int
    attempts: int
    error: str
    answer: Any
    unmatched: bool = False
    target_version: str = ""
    error_name: str = ""
    usage: Usage = field(default_factory=dict)


class KeptFailure(NamedTuple):
    """The stored failure of a row. ``error_name`` is "" if the row has none."""

    row: int
    status: RowStatus
    error_name: str
    error: str


class KeptAnswer(NamedTuple):
    """The stored answer of a row that was SUCCESS, as JSON text, with the hash of the row's mapped input."""

    row: int
    hash: str
    target_version: str
    answer: bytes
