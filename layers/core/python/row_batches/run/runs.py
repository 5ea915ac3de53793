"""The table of runs: the state and counts of each execution, and the owners of its rows.

Lists, status and history come from this table, because Step Functions forgets an execution 90 days after its end. While
a run goes on, workers add to its live counts when they write rows. A worker that cannot update them continues without.
At the end, the counts are replaced by counts of the rows themselves.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, Self

from pydantic import ConfigDict, Field

from foundation.errors import BatchProcessorError
from foundation.lazy_model import LazyModel
from row_batches.document.plan import Plan
from row_batches.mapping.models import OutputMapping
from row_batches.rows.records import RowRecord, RowStatus, Usage
from row_batches.run.blanks import Blanks, Unmatched
from row_batches.run.causes import Cause, Causes
from row_batches.run.pace import Allowance
from row_batches.run.traces import Traces
from row_batches.targets.answer import TOKENS, add_usage
from row_batches.targets.pricing import model_usd

LOGGER = logging.getLogger("batch_processor.runs")
SCHEMA_VERSION = 1
MOST_LIVE_CAUSES = 10
MOST_CAUSES_A_WRITE = 3
"""Causes that a worker counts at once. Each takes a write to the table, and the end of the run counts all of them."""
USD_DIGITS = 12
WAITING_FOR_APPROVAL = "WAITING_FOR_APPROVAL"
FEWEST_ROWS_JUDGED = 5
"""While a run goes on, no column is reported as empty before this many answers."""


class RunState(StrEnum):
    """The state of a run. STOPPED: its execution was ended from outside, or its rows were stopped by hand."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SUCCEEDED_WITH_FAILURES = "SUCCEEDED_WITH_FAILURES"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


def usage_counts(usage: Usage) -> dict[str, Any]:
    """The fields of ``Counts`` that come from the usage."""
    tokens = {name: sum(int(used[name]) for used in usage.values()) for name in TOKENS}
    return {**tokens, "model_usd": round(model_usd(usage), USD_DIGITS)}


class Counts(LazyModel):
    """The numbers of rows by outcome, and of their calls.

    ``attempts`` are calls that reached the target, ``throttles`` are calls that it refused. ``worker_ms`` is the time
    of all workers in milliseconds. A worker has several rows in flight. ``model_usd`` is the known cost of the tokens.
    """

    model_config = ConfigDict(frozen=True)

    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    not_attempted: int = 0
    attempts: int = 0
    throttles: int = 0
    worker_ms: int = 0
    worker_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    model_usd: float = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(**{name: value + getattr(other, name) for name, value in self.model_dump().items()})

    @classmethod
    def of_rows(cls, records: Iterable[RowRecord]) -> Self:
        """The counts of finished rows."""
        rows = list(records)
        statuses = Counter(record["status"] for record in rows)
        usage: Usage = {}
        for record in rows:
            add_usage(usage, record.get("usage", {}))
        return cls(
            succeeded=statuses[RowStatus.SUCCESS],
            failed=statuses[RowStatus.FAILED],
            timed_out=statuses[RowStatus.TIMEOUT],
            attempts=sum(record["attempts"] for record in rows),
            throttles=sum(record["throttles"] for record in rows),
            worker_ms=sum(record["worker_ms"] for record in rows),
            worker_calls=sum(record["worker_calls"] for record in rows),
            **usage_counts(usage),
        )


class Live(LazyModel):
    """Changes by an operator during the run; None: as planned. Rates hold for the whole run."""

    model_config = ConfigDict(frozen=True)

    max_concurrency: int | None = None
    rows_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def of(self, planned: Allowance) -> Allowance:
        """The current limits of the run."""
        return Allowance(
            self.max_concurrency or planned.rows_in_flight,
            self.rows_per_minute or planned.rows_per_minute,
            self.tokens_per_minute or planned.tokens_per_minute,
        )


class Approval(LazyModel):
    """A run that waits after its trial. ``token`` lets its execution go on (SendTaskSuccess)."""

    model_config = ConfigDict(frozen=True)

    token: str
    asked_at: datetime
    until: datetime


class RunEnding(LazyModel):
    """The end of a run. ``error`` is the name of the error that its execution failed with, "" if it succeeded."""

    model_config = ConfigDict(frozen=True)

    state: RunState
    counts: Counts
    ended_at: datetime
    cost_usd: float | None = None
    summary_key: str | None = None
    warnings: list[str] = []
    error: str = ""
    causes: list[Cause] = []
    """Why rows failed, the most frequent causes first."""


class Run(LazyModel):
    """One execution. Until ``waiting_until``, a batch waits for rows that another owner has, or had when it died."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a later release may add to the item

    schema_version: int = SCHEMA_VERSION
    execution: str
    arn: str
    batch_name: str
    target: str
    target_version: str
    total_rows: int
    plan_key: str
    started_at: datetime
    estimate_usd: float
    state: RunState = RunState.RUNNING
    counts: Counts = Field(default_factory=Counts)
    warnings: list[str] = []
    waiting_until: datetime | None = None
    throttled_since: datetime | None = None
    """When a worker's calls began to be throttled without exception; ``throttled_noted`` is its last report."""
    throttled_noted: datetime | None = None
    held_back_noted: datetime | None = None
    """When rows last waited for the limits of the target in the registry, which other runs share."""
    live: Live = Field(default_factory=Live)
    blanks: Blanks = Field(default_factory=Blanks)
    """Live counts of empty columns. They are read with a single run, not with a page of runs."""
    approval: Approval | None = None
    """Given while the run waits for an approval after its trial."""
    traces: Traces = Field(default_factory=Traces)
    """Written traces. They are read with a single run, too."""
    causes: list[Cause] = []
    """Why rows failed, the most frequent causes first. During the run, they are read with a single run only."""
    ended_at: datetime | None = None
    cost_usd: float | None = None
    """The actual cost, which is known at the end."""
    summary_key: str | None = None
    error: str = ""

    @property
    def shown_state(self) -> str:
        """The state for a person. The state ``RUNNING`` of a run that waits for an approval is shown as such."""
        waits = self.approval is not None and self.state is RunState.RUNNING
        return WAITING_FOR_APPROVAL if waits else self.state.value

    def mostly_empty(self, mapping: OutputMapping) -> list[Unmatched]:
        """The columns of the plan's ``mapping`` that are mostly empty so far; none before enough rows have ended."""
        rows = self.counts.succeeded + self.blanks.failed
        if rows < min(FEWEST_ROWS_JUDGED, self.total_rows):
            return []
        return self.blanks.mostly_empty(mapping, self.counts.succeeded)

    @classmethod
    def of_plan(cls, plan: Plan) -> Self:
        """The run of a plan when it starts."""
        return cls(
            execution=plan.execution.name,
            arn=plan.execution.arn,
            batch_name=plan.config.batch_name,
            target=plan.target.name,
            target_version=str(plan.target.answering_version),
            total_rows=plan.total_rows,
            plan_key=plan.keys.plan,
            started_at=plan.execution.started_at,
            estimate_usd=plan.estimate.total.best,
            warnings=plan.warnings,
        )


class Start(NamedTuple):
    """When rows may start, in milliseconds since the epoch, and how many tokens they are expected to use."""

    at_ms: int
    tokens: int = 0


class RunPage(NamedTuple):
    """Runs, newest first; ``cursor`` gives the next page, "" when there is none."""

    runs: list[Run]
    cursor: str


class Runs(Protocol):
    def start(self, run: Run) -> None:
        """Add a run that begins. Adding the same execution again changes nothing."""

    def count(self, execution: str, counts: Counts) -> Counts | None:
        """Add to the live counts, and return their sum; None if there was nothing to add."""

    def count_blanks(self, execution: str, blanks: Blanks) -> None:
        """Add to the live counts of empty columns. Keys that are already stored stay."""

    def count_causes(self, execution: str, causes: Sequence[Cause]) -> None:
        """Add to the live counts of causes. Once there are ``MOST_LIVE_CAUSES``, further causes are not counted."""

    def count_traces(self, execution: str, traces: Traces) -> None:
        """Add to what became of the run's traces. The refusal that came first stays."""

    def wait(self, execution: str, until_ms: int) -> None:
        """Note that a batch waits for its owner until ``until_ms`` (milliseconds since the epoch)."""

    def throttle(self, execution: str, since_ms: int, now_ms: int) -> None:
        """Note that the target throttles every call of a worker (milliseconds since the epoch)."""

    def hold_back(self, execution: str, now_ms: int) -> None:
        """Note that rows wait for the target's limits over all runs (milliseconds since the epoch)."""

    def reserve_start(self, execution: str, now_ms: int, rows: int, row_ms: float, token_ms: float) -> Start:
        """Reserve the run's next start for ``rows`` rows. Each start of a run is later than the one before.

        A row takes ``row_ms`` of the run's time, or ``token_ms`` for each token of an average row so far, whichever is
        longer. Unused time is lost: after a pause, rows start at the same pace.
        """

    def use_tokens(self, execution: str, used: int, expected: int, token_ms: float) -> None:
        """Count a row's tokens, and move the next start by the difference between used and expected tokens."""

    def set_live(self, execution: str, live: Live) -> bool:
        """Change what the run may use. False when it has ended, or is not in the table."""

    def ask(self, execution: str, approval: Approval) -> None:
        """Note that a run waits for an approval. A later question replaces it."""

    def answered(self, execution: str) -> None:
        """Note that a run no longer waits for an approval."""

    def end(self, execution: str, ending: RunEnding) -> None:
        """End a run: its counts replace the live counts. Does nothing for a run that is not in the table."""

    def reopen(self, execution: str) -> bool:
        """Set an ended run to running, with its live counts. False when it has not ended, or is not in the table."""

    def get(self, execution: str) -> Run | None: ...

    def page(self, limit: int = 50, cursor: str = "") -> RunPage:
        """Up to 50 runs, newest first. Raises ValueError for a cursor of another listing."""

    def running(self) -> Iterator[Run]:
        """The runs without an ending, oldest first."""


def lease_name(execution: str) -> str:
    """The name of an execution's leases. Their parts are ``rows_part`` and ``AGGREGATION_PART``."""
    return f"run#{execution}"


AGGREGATION_PART = "aggregation"
ROWS_PART_PREFIX = "rows#"


def rows_part(first: int) -> str:
    """The lease of the batch that begins with row ``first``."""
    return f"{ROWS_PART_PREFIX}{first:012d}"


class BestEffort:
    """Writes notes about a run. No row depends on them: if one cannot be written, it is logged and the work goes on."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._uncounted: dict[str, Counts] = {}
        """Counts by execution that could not be added. They are added with the next ones."""

    def count(self, execution: str, records: Sequence[RowRecord]) -> Counts | None:
        """Add rows to the live counts, and return their sum; None if it is not known."""
        blanks = Blanks.of_rows(records)
        added = Counts.of_rows(records) + self._uncounted.pop(execution, Counts())
        counts = None
        try:
            counts = self._runs.count(execution, added)
            if blanks.missing:
                self._runs.count_blanks(execution, blanks)
            causes = Causes.of_rows(records).most_frequent[:MOST_CAUSES_A_WRITE]
            if causes:
                self._runs.count_causes(execution, causes)
        except BatchProcessorError as error:
            if counts is None:
                self._uncounted[execution] = added
            LOGGER.warning("live counts not kept", extra={"reason": str(error)})
        return counts

    def count_traces(self, execution: str, traces: Traces) -> None:
        if traces.refused:
            LOGGER.warning("trace not written", extra={"reason": traces.refusal})
        try:
            self._runs.count_traces(execution, traces)
        except BatchProcessorError as error:
            LOGGER.warning("traces not counted", extra={"reason": str(error)})

    def get(self, execution: str) -> Run | None:
        """The run; None when it cannot be read, or is not in the table."""
        return self.refresh(execution, None, 0)

    def wait(self, execution: str, until_ms: int) -> None:
        try:
            self._runs.wait(execution, until_ms)
        except BatchProcessorError as error:
            LOGGER.warning("wait not noted", extra={"reason": str(error)})

    def start(self, run: Run) -> None:
        try:
            self._runs.start(run)
        except BatchProcessorError as error:
            LOGGER.warning("run not kept", extra={"reason": str(error)})

    def hold_back(self, execution: str, now_ms: int) -> None:
        try:
            self._runs.hold_back(execution, now_ms)
        except BatchProcessorError as error:
            LOGGER.warning("wait for the target's limits not noted", extra={"reason": str(error)})

    def use_tokens(self, execution: str, used: int, expected: int, token_ms: float) -> None:
        try:
            self._runs.use_tokens(execution, used, expected, token_ms)
        except BatchProcessorError as error:
            LOGGER.warning("tokens not counted", extra={"reason": str(error)})

    def refresh(self, execution: str, throttled_since_ms: int | None, now_ms: int) -> Run | None:
        """Note that the target throttles, and read the run; None when it cannot be read, or is not in the table."""
        try:
            if throttled_since_ms is not None:
                self._runs.throttle(execution, throttled_since_ms, now_ms)
            return self._runs.get(execution)
        except BatchProcessorError as error:
            LOGGER.warning("run not refreshed", extra={"reason": str(error)})
            return None

    def reopen(self, execution: str) -> None:
        try:
            self._runs.reopen(execution)
        except BatchProcessorError as error:
            LOGGER.warning("run not reopened", extra={"reason": str(error)})

    def end(self, execution: str, ending: RunEnding) -> None:
        """Note the end of a run. If that fails, the sweep ends the run later."""
        try:
            self._runs.end(execution, ending)
        except BatchProcessorError as error:
            LOGGER.warning("ending not kept", extra={"reason": str(error)})
