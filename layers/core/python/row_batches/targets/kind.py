"""A kind of target: one class owns everything that differs between the kinds.

Each kind is a module of its own and a member of ``kinds.KINDS``. A missing part fails by name: at import, where
``KINDS`` creates the kind, or in tests/contract/test_target_kinds.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from foundation.errors import Problem
from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Concurrency, Target
from row_batches.targets.ports import FunctionSettings, MachineSettings
from row_batches.targets.protocol import Outcome

if TYPE_CHECKING:
    from row_batches.targets.usage import Load, RunCounts, Usage


class Processor(StrEnum):
    """The branch that ``ChooseProcessor`` of the state machine takes.

    TOOL: ``process_tool_rows`` calls the target, with rows in batches. AGENT: the state machine itself starts and
    follows the target. NONE: there are no rows to process.
    """

    TOOL = "TOOL"
    AGENT = "AGENT"
    NONE = "NONE"


class RowCall(NamedTuple):
    """One attempt at one row. ``execution`` is the name of the batch's execution."""

    execution: str
    target: str
    row: int
    total_rows: int
    attempt: int

    @property
    def id(self) -> str:
        """The id of the call, which a tool returns as ``tool_use_id``."""
        return f"{self.execution}:{self.row}:{self.attempt}"


class TargetKind(ABC):
    """One way to call a target. It has no state."""

    name: ClassVar[str]
    """``invocation`` of a registry entry."""
    type: ClassVar[str]
    """``target.type`` of a document."""
    processor: ClassVar[Processor]
    arn_pattern: ClassVar[str]
    arn_example: ClassVar[str]
    resource: ClassVar[str]
    """The resource that the ARN names, with its article."""
    most_timeout_seconds: ClassVar[int]
    """The largest ``timeout_seconds`` of a row. ``timeout_reason`` explains it to the user."""
    timeout_reason: ClassVar[str]
    call_actions: ClassVar[tuple[str, ...]]
    """IAM actions on the target's ARN."""
    execution_actions: ClassVar[tuple[str, ...]] = ()
    """IAM actions on the target's executions."""
    inspect_actions: ClassVar[tuple[str, ...]]
    """IAM actions on the target's ARN that ``code`` and ``warnings`` need."""
    cost_assumption: ClassVar[str]
    row_seconds: ClassVar[float]
    """The assumed time of a call if the registry does not give one. It limits the rate at which rows are written."""

    # --- calling it

    @abstractmethod
    def request(self, call: RowCall, row_input: dict[str, Any]) -> dict[str, Any]:
        """The request to the target."""

    @abstractmethod
    def read(self, answer: Any, call: RowCall) -> Outcome:
        """The outcome of the target's answer."""

    @abstractmethod
    def read_kept(self, answer: Any) -> Outcome:
        """The outcome of a stored answer, from this execution or another one with the same target."""

    # --- planning

    def timeout_problem(self, seconds: int) -> Problem | None:
        """The problem with a row's ``timeout_seconds``; None if there is none."""
        if seconds <= self.most_timeout_seconds:
            return None
        fix = f"write a number from 1 to {self.most_timeout_seconds}, or use a Standard agent"
        return Problem("execution_config.timeout_seconds", str(seconds), self.timeout_reason, fix)

    @abstractmethod
    def code(self, target: Target, functions: FunctionSettings, machines: MachineSettings) -> str:
        """An identifier of the code behind the target's ARN. Other code has another one (``Target.code_version``)."""

    @abstractmethod
    def warnings(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> list[str]:
        """Warnings about the target before the run. ``functions`` reads the settings of Lambda functions."""

    @abstractmethod
    def call_seconds(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> int:
        """The longest time that a call can run, even if its caller ends earlier."""

    def rows_in_flight(self, config: BatchConfig, target: Target) -> int:
        """The most rows in flight: ``max_concurrency`` of the document or of the registry, whichever is less."""
        asked = config.execution_config.max_concurrency
        return asked if target.max_concurrency is None else min(asked, target.max_concurrency)

    @abstractmethod
    def concurrency(self, config: BatchConfig, target: Target, total_rows: int, row_bytes: int) -> Concurrency:
        """The rows in flight, spread over children and threads. Their product never exceeds ``rows_in_flight``.

        ``row_bytes`` is the average size of a staged row; 0 means small.
        """

    @abstractmethod
    def inline_concurrency(self, config: BatchConfig, target: Target, total_rows: int) -> Concurrency:
        """The concurrency of an execution that runs its rows itself, without a Map Run."""

    def inline_refusal(self, config: BatchConfig, inline: Concurrency, total_rows: int) -> str:  # noqa: ARG002
        """Why an execution cannot run its rows itself, with the figure that is too large; "" if it can.

        The size of the rows is not considered.
        """
        return ""

    # --- cost

    @abstractmethod
    def assumed(self, config: BatchConfig, concurrency: Concurrency, load: Load) -> RunCounts:
        """The counts of a run with this load."""

    @abstractmethod
    def usage(self, counts: RunCounts) -> Usage:
        """The usage of a run's rows, in addition to what every execution uses."""


ClientFactory = Callable[[str, int], Any]
"""Makes the client of a service, with a read time-out in whole seconds."""
