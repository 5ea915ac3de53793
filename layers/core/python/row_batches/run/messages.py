"""What the state machine says to the functions and they to it. The ASL is compared with these by a test."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from row_batches.rows.records import Usage
from row_batches.targets.kind import Processor


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)  # a function needs two of these models


# --- ValidateInput


class ExecutionReference(Message):
    arn: str
    name: str
    started_at: datetime


class ValidateRequest(Message):
    execution: ExecutionReference
    input: Any


class ObjectVersion(Message):
    bucket: str
    key: str
    version_id: str


class MapSettings(Message):
    """The numbers that the map states need: children at once, rows a child."""

    max_concurrency: int
    batch_size: int


class BatchReference(Message):
    """What every child gets beside its rows."""

    plan_key: str


class ValidateResponse(Message):
    execution_id: str
    plan_key: str
    processor: Processor
    dry_run: bool
    total_rows: int
    staged: ObjectVersion
    map: MapSettings
    map_prefix: str
    inline: bool = False
    """The execution runs its rows itself, without children of a map: ``items``, as a child would get them."""
    items: list[dict[str, str]] = []
    document: dict[str, Any] | None = None
    """The execution's output, of a dry run only."""


# --- ProcessToolRows (tools and Express agents).
# A row is {"r": "<row number>", "c1": "...", ...}, as the native CSV reader gives it.


class ToolRowsRequest(Message):
    BatchInput: BatchReference
    Items: list[dict[str, str]]


class ToolRowsResponse(Message):
    """Counts only; the rows themselves are in the rows objects. ``remaining`` > 0: call again with the same items.

    ``come_again_in_seconds`` > 0: another call owns these rows, and this one did nothing. Call again after that time.
    """

    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    not_attempted: int = 0
    remaining: int = 0
    come_again_in_seconds: int = 0


# --- MapRows, MapOutput (Standard agents)


class CaughtError(Message):
    """What a Catch sees: ``$states.errorOutput``."""

    Error: str = ""
    Cause: str = ""


class AgentCall(Message):
    """One attempt at one row, handed from MapRows through the state machine to MapOutput, and on for a retry.

    ``used_ms`` of the row's time are used before it: by earlier attempts and the pauses after them. ``timeout_seconds``
    is what is left for this attempt. ``usage`` is that of the attempts before. ``input_bytes``: of the agent's input.

    ``earlier``: places in the plan's ``resume_from``. The first of these executions may have started the row without
    having come to its end: the attempt has the name of that one's attempt ``earlier_attempt``, so that an answer that
    is paid is taken, and starts the agent where there is none.
    """

    row: int
    attempt: int
    throttles: int = 0
    used_ms: int = 0
    timeout_seconds: int
    wait_seconds: int = 0
    hash: str
    name: str
    agent_arn: str
    input_bytes: int
    usage: Usage = {}
    earlier: list[int] = []
    earlier_attempt: int = 1
    child: str = ""
    permit: str = ""
    last: bool = False
    expected_tokens: int = 0
    token_ms: float = 0


class AgentRow(Message):
    """A row to run: its call, and the agent's input ``{"batchContext": …, "input": …}``."""

    call: AgentCall
    input: dict[str, Any]


class Waiting(Message):
    """What a child has waited for: ``times`` for a permit; the start that is reserved for its rows (0: none is)."""

    times: int = 0
    starts_ms: int = 0
    expected_tokens: int = 0


class MapRowsRequest(Message):
    """``Child`` names the child. ``Again``: calls that are due in this round, with their attempt; other rows begin."""

    BatchInput: BatchReference
    Items: list[dict[str, str]]
    Child: str
    Again: list[AgentCall] = []
    Waited: Waiting = Waiting()


class MapRowsResponse(Message):
    """The rows to run now; ``remaining`` ones did not fit: call again with the same items.

    ``come_again_in_seconds`` > 0: no row may start before. Call again after that time, with ``again`` and ``waited``.
    """

    rows: list[AgentRow] = []
    remaining: int = 0
    come_again_in_seconds: int = 0
    again: list[AgentCall] = []
    waited: Waiting = Waiting()


class MapOutputRequest(Message):
    """One attempt, from ``Began`` to ``Ended``: one of ``Result``, ``Description`` and ``ErrorOutput`` is given.

    ``Result`` is the agent's parsed answer. ``Description`` is ``{"Status", "Input", "Output", "Error",
    "Cause"}`` of an execution that was looked up, ``Input`` and ``Output`` as JSON texts.
    """

    BatchInput: BatchReference
    Row: dict[str, str]
    Call: AgentCall
    Began: datetime
    Ended: datetime
    Result: Any = None
    Description: dict[str, Any] | None = None
    ErrorOutput: CaughtError | None = None

    @property
    def has_answer(self) -> bool:
        """Whether the call simply ended: the state MapOutput asks, not RecordFailure."""
        return self.ErrorOutput is None and self.Description is None


class MapOutputResponse(Message):
    """``again`` is the row's next attempt; without it, the row is finished.

    ``stop``: the child must start no further row.
    """

    row: int
    again: AgentCall | None = None
    stop: bool = False


# --- The finishing machine, for a run that has ended


class ExecutionStatus(StrEnum):
    """How Step Functions says that an execution ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    ABORTED = "ABORTED"

    @property
    def stopped(self) -> bool:
        """Whether the execution was ended from outside, in the middle of whatever it did."""
        return self in (ExecutionStatus.TIMED_OUT, ExecutionStatus.ABORTED)


class EndedRun(Message):
    """``ended_ms`` is the execution's stop date in milliseconds since the epoch.

    ``batch_name`` and ``target`` are those that the input document gives; a run with a plan has its names there.
    ``document`` is the output. ``again``: an earlier attempt at finishing this run failed, and said so.
    """

    execution_arn: str
    execution: str
    plan_key: str
    status: ExecutionStatus
    ended_ms: int
    error: str = ""
    cause: str = ""
    batch_name: str = ""
    target: str = ""
    document: dict[str, Any] = {}
    again: bool = False

    @property
    def finishing_name(self) -> str:
        """The name of the execution that finishes this run: the same for the same ending, however often it is told."""
        text = f"{self.execution_arn} {self.ended_ms}"
        return f"finish-{hashlib.sha256(text.encode()).hexdigest()[:48]}"


# --- AggregateResults


class AggregateAction(StrEnum):
    """FINISH: AGGREGATE if no row is missing, else FIND_MISSING."""

    FIND_MISSING = "FIND_MISSING"
    AGGREGATE = "AGGREGATE"
    FINISH = "FINISH"


class AggregateRequest(Message):
    action: AggregateAction
    plan_key: str
    manifests: list[str] = []
    """Keys of the ResultWriter manifests, one a pass, for the errors of children that died."""
    ended: EndedRun | None = None
    """From the finishing machine: the run is over, and its own aggregation perhaps never was."""


class AggregateResponse(Message):
    """FIND_MISSING: ``missing`` rows, staged in ``missing_input``. AGGREGATE: call again until ``done``.

    ``come_again_in_seconds`` > 0: rows, or the aggregation, still have another owner. Call again after that time.
    ``error`` is set when the execution must end in Fail; ``document`` is the output document. ``redriven``: the
    execution was redriven after the ending that is being finished, and announces its next ending instead.
    """

    done: bool = True
    redriven: bool = False
    come_again_in_seconds: int = 0
    missing: int = 0
    max_concurrency: int = 1
    """Children at once of the pass over the missing rows, one row each."""
    missing_input: ObjectVersion | None = None
    error: CaughtError | None = None
    document: dict[str, Any] | None = None
