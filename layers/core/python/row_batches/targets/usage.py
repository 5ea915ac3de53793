"""The AWS usage of an execution, and its cost in US dollars by ``foundation.prices``.

AWS does not document whether the start of a child workflow is charged in addition to its states. To be safe, one
transition is added for each child.
"""

from __future__ import annotations

from dataclasses import dataclass

from foundation.functions import FunctionSize, function_sizes
from foundation.prices import PRICES, Prices

CHILD_START_TRANSITIONS = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of an execution, counted or assumed. ``calls`` are attempts that were started at the target."""

    transitions: float = 0
    lambda_requests: float = 0
    lambda_gb_seconds: float = 0
    s3_puts: float = 0
    s3_gets: float = 0
    sqs_requests: float = 0
    dynamodb_writes: float = 0
    dynamodb_reads: float = 0
    traces: float = 0
    calls: float = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            transitions=self.transitions + other.transitions,
            lambda_requests=self.lambda_requests + other.lambda_requests,
            lambda_gb_seconds=self.lambda_gb_seconds + other.lambda_gb_seconds,
            s3_puts=self.s3_puts + other.s3_puts,
            s3_gets=self.s3_gets + other.s3_gets,
            sqs_requests=self.sqs_requests + other.sqs_requests,
            dynamodb_writes=self.dynamodb_writes + other.dynamodb_writes,
            dynamodb_reads=self.dynamodb_reads + other.dynamodb_reads,
            traces=self.traces + other.traces,
            calls=self.calls + other.calls,
        )

    def parts(
        self, cost_per_call_usd: float | None = None, model_usd: float | None = None, prices: Prices = PRICES
    ) -> dict[str, float]:
        """US dollars by part: ``state_transitions, lambda, s3, sqs, dynamodb``; with traces ``xray``; the calls of the
        target and the tokens of its models, if known, ``target`` and ``model``."""
        parts = {
            "state_transitions": self.transitions * prices.state_transition,
            "lambda": self.lambda_requests * prices.lambda_request + self.lambda_gb_seconds * prices.lambda_gb_second,
            "s3": self.s3_puts * prices.s3_put + self.s3_gets * prices.s3_get,
            "sqs": self.sqs_requests * prices.sqs_request,
            "dynamodb": self.dynamodb_writes * prices.dynamodb_write + self.dynamodb_reads * prices.dynamodb_read,
        }
        if self.traces:
            parts["xray"] = self.traces * prices.xray_trace
        if cost_per_call_usd is not None:
            parts["target"] = self.calls * cost_per_call_usd
        if model_usd is not None:
            parts["model"] = model_usd
        return parts


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Counts of the rows of a run, measured or assumed."""

    rows: int
    """Rows that were run."""
    attempts: int
    """Attempts of all rows."""
    retries: int
    """Attempts after a row's first one."""
    failed_rows: int = 0
    """Rows that were run and failed."""
    unmapped_rows: int = 0
    """Failed rows that were never sent."""
    throttles: int = 0
    """Calls that did not become an attempt."""
    idle_rows: int = 0
    """Rows that were taken over, or not started because the brake was pulled."""
    batch_size: int = 1
    """Rows of a child."""
    rows_objects: int = 0
    """Writes of finished rows."""
    write_units: int = 0
    """What these writes take of a table."""
    children: int = 0
    """Children of the map; an inline run has none."""
    waits: int = 0
    """Children of an agent's run that waited because a rate let none of their rows start yet."""
    worker_calls: int = 0
    """Calls of ``process_tool_rows``."""
    worker_seconds: float = 0
    """The time that these calls took in all."""
    answers_sought: int = 0
    """Answers that were looked for among those of earlier batches."""
    answers_kept: int = 0
    """Answers that were kept for later batches."""
    traces: int = 0
    """Traces that were written to X-Ray."""


@dataclass(frozen=True, slots=True)
class Load:
    """The rows of a run that are sent, for an estimate. ``staged_bytes`` is their size in the staged copy.

    All rows succeed at the first attempt, which takes ``call_seconds``. With ``all_fail``, every row fails at its last
    attempt and takes all of its ``timeout_seconds``.
    """

    rows: int
    staged_bytes: int
    call_seconds: float
    all_fail: bool = False

    def counts(self, max_attempts: int) -> RunCounts:
        """The counts of rows and attempts."""
        attempts = max_attempts if self.all_fail else 1
        return RunCounts(
            rows=self.rows,
            attempts=self.rows * attempts,
            retries=self.rows * (attempts - 1),
            failed_rows=self.rows if self.all_fail else 0,
        )


def size_of(function: str) -> FunctionSize:
    """The size of a function of row batches."""
    return function_sizes("row_batches")[function]
