"""The messages between the state machine and MapRows and MapOutput, which run Standard agents."""

from datetime import datetime
from typing import Any

from pydantic import Field

from row_batches.rows.records import Usage
from row_batches.run.messages import BatchReference, CaughtError, ChildInput, Message
from row_batches.run.traces import CallTrace


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
