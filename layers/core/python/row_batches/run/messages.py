"""The messages between the state machine and the functions. A test compares them with the ASL."""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, Field

from foundation.lazy_model import LazyModel
from row_batches.rows.records import Usage
from row_batches.run.traces import CallTrace
from row_batches.targets.kind import Processor


class Message(LazyModel):
    """A message. Its errors, which end in the logs, do not show cells."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


# --- ValidateInput


class ExecutionReference(Message):
    """The execution that asks."""

    arn: str
    name: str
    started_at: datetime


class ValidateRequest(Message):
    """``input`` is the document, of any shape."""

    execution: ExecutionReference
    input: Any


class ObjectVersion(Message):
    """One version of an object in the results bucket."""

    bucket: str
    key: str
    version_id: str


class MapSettings(Message):
    """The settings of the map states: children at once and rows in each child."""

    max_concurrency: int
    batch_size: int


class BatchReference(Message):
    """The part of every child's input that is not its rows."""

    plan_key: str


class ChildInput(Message):
    """The input of a child: its rows, as a map with an ItemBatcher gives them to it.

    A row is {"r": "<row number>", "c1": "...", ...}, as the CSV reader of Step Functions gives it.
    """

    BatchInput: BatchReference
    Items: list[dict[str, str]]


class ValidateResponse(Message):
    """The plan of the execution. If not ``done``, the input is not staged yet, and the other fields say nothing."""

    done: bool = True
    execution_id: str
    plan_key: str
    processor: Processor
    dry_run: bool
    total_rows: int
    staged: ObjectVersion
    map: MapSettings
    map_prefix: str
    inline: bool = False
    """Whether the execution runs its rows itself, without a Map Run. They are in ``children``."""
    children: list[ChildInput] = []
    document: dict[str, Any] | None = None
    """The execution's output. Set only for a dry run."""
    trial: bool = False
    """Whether some rows run before the others."""
    approval_seconds: int = 0
    """How long the execution waits for an approval after its trial."""


# --- ProcessToolRows (tools and Express agents)


class ToolRowsRequest(ChildInput):
    """The rows of a child."""


class ToolRowsResponse(Message):
    """Counts of the rows. The rows themselves are in the row store.

    If ``remaining`` > 0, call again with the same items. If ``come_again_in_seconds`` > 0, wait that long and call
    again: another call owns these rows, or no row may start yet.
    """

    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    not_attempted: int = 0
    remaining: int = 0
    come_again_in_seconds: int = 0


# --- MapRows, MapOutput (Standard agents)


class CaughtError(Message):
    """The error that a Catch gets as ``$states.errorOutput``."""

    Error: str = ""
    Cause: str = ""


class AgentCall(Message):
    """One attempt at one row. It passes from MapRows through the state machine to MapOutput, and on to a retry.

    ``used_ms`` is the part of the row's time that earlier attempts and their pauses used. ``timeout_seconds`` is the
    time left for this attempt. ``usage`` is the usage of earlier attempts. ``input_bytes`` is the size of the agent's
    input.

    ``earlier`` are places in the plan's ``resume_from`` of executions that possibly started the row without finishing
    it. The attempt takes the name of the first one's attempt ``earlier_attempt``. If that attempt has an answer, the
    row takes it and it is not paid for twice. Otherwise the agent starts.

    An ``inline`` call shares the history of the batch's execution with all other rows, so it waits for nothing that
    takes many events. Its row is then left to the second pass.
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
    trace: CallTrace | None = None
    inline: bool = False


class AgentRow(Message):
    """A row to run: its call and the agent's input ``{"batchContext": …, "input": …}``."""

    call: AgentCall
    input: dict[str, Any]


class Waiting(Message):
    """How a child waits: ``times`` it has waited for a permit, and the start reserved for its rows (0: none)."""

    times: int = 0
    starts_ms: int = 0
    expected_tokens: int = 0


class MapRowsRequest(ChildInput):
    """The rows of the child ``Child``. ``Again`` are retries that are due in this round; other rows begin."""

    Child: str
    Inline: bool = False
    Again: list[AgentCall] = []
    Waited: Waiting = Field(default_factory=Waiting)


class MapRowsResponse(Message):
    """The rows to run now. If ``remaining`` > 0, some did not fit: call again with the same items.

    If ``come_again_in_seconds`` > 0, no row may start yet: call again after that time, with ``again`` and ``waited``.
    """

    rows: list[AgentRow] = []
    remaining: int = 0
    come_again_in_seconds: int = 0
    again: list[AgentCall] = []
    waited: Waiting = Field(default_factory=Waiting)


class MapOutputRequest(Message):
    """One attempt, from ``Began`` to ``Ended``, with one of ``Result``, ``Description`` and ``ErrorOutput``.

    ``Result`` is the agent's parsed answer. ``Description`` is ``{"Status", "Input", "Output", "Error", "Cause"}`` of
    an execution that was looked up. Its ``Input`` and ``Output`` are JSON text.
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
        """Whether the call returned an answer. Then the state MapOutput calls, not RecordFailure."""
        return self.ErrorOutput is None and self.Description is None


class MapOutputResponse(Message):
    """The row's next attempt in ``again``. Without it, the row is finished.

    If ``stop``, the child must start no further row.
    """

    row: int
    again: AgentCall | None = None
    stop: bool = False


# --- The finishing machine, for a run that has ended


class ExecutionStatus(StrEnum):
    """The statuses of an ended execution in Step Functions."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    ABORTED = "ABORTED"

    @property
    def stopped(self) -> bool:
        """Whether the execution was ended from outside, at any point of its work."""
        return self in (ExecutionStatus.TIMED_OUT, ExecutionStatus.ABORTED)


class EndedRun(Message):
    """A run that has ended. ``ended_ms`` is the execution's stop date in milliseconds since the epoch.

    ``batch_name`` and ``target`` come from the input document. A run with a plan has its names in the plan.
    ``document`` is the output. ``again`` says that an earlier attempt at finishing this run failed and announced it.
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
        """The name of the execution that finishes this run. One ending always gives the same name."""
        text = f"{self.execution_arn} {self.ended_ms}"
        return f"finish-{hashlib.sha256(text.encode()).hexdigest()[:48]}"


# --- AggregateResults


class AggregateAction(StrEnum):
    """The part of AggregateResults to do. FINISH is AGGREGATE if no row is missing, else FIND_MISSING.

    The others are the steps of a trial: they answer with ``TrialResponse``.
    """

    FIND_MISSING = "FIND_MISSING"
    AGGREGATE = "AGGREGATE"
    FINISH = "FINISH"
    STAGE_TRIAL = "STAGE_TRIAL"
    REPORT_TRIAL = "REPORT_TRIAL"
    ASK_APPROVAL = "ASK_APPROVAL"
    TAKE_ANSWER = "TAKE_ANSWER"

    @property
    def of_trial(self) -> bool:
        return self not in (AggregateAction.FIND_MISSING, AggregateAction.AGGREGATE, AggregateAction.FINISH)


class AggregateRequest(Message):
    action: AggregateAction
    plan_key: str
    manifests: list[str] = []
    """Keys of the ResultWriter manifests, one for each pass. They tell why children died."""
    ended: EndedRun | None = None
    """Set by the finishing machine: the execution has ended, possibly before its own aggregation."""
    token: str = ""
    """ASK_APPROVAL: the token of the task that waits for the answer."""
    seconds: int = 0
    """ASK_APPROVAL: how long it waits."""
    approved: bool | None = None
    """TAKE_ANSWER: the answer; None if nobody answered in time."""


class AggregateResponse(Message):
    """The result of a call. FIND_MISSING staged ``missing`` rows in ``missing_input``. Call AGGREGATE until ``done``.

    If ``come_again_in_seconds`` > 0, another call owns rows or the aggregation: call again after that time. ``error``
    is set if the execution must end in Fail. ``document`` is the output document. If ``redriven``, the execution was
    redriven after the ending that is being finished. This ending is not announced; the next one is.
    """

    done: bool = True
    redriven: bool = False
    come_again_in_seconds: int = 0
    missing: int = 0
    max_concurrency: int = 1
    """The number of children at once in the pass over the missing rows. Each has one row."""
    missing_input: ObjectVersion | None = None
    error: CaughtError | None = None
    document: dict[str, Any] | None = None


class TrialResponse(Message):
    """The result of a step of a trial. STAGE_TRIAL staged its rows in ``source``, for children of ``batch_size`` rows.

    REPORT_TRIAL says whether the execution ``asks`` for an approval. After it and after TAKE_ANSWER, ``goes_on`` says
    whether the other rows run.
    """

    source: ObjectVersion | None = None
    batch_size: int = 1
    asks: bool = False
    goes_on: bool = False
