"""What a kind of target is: one class that owns everything in which the kinds differ.

A kind is a module of its own and a member of ``kinds.KINDS``. What it leaves out fails at import, where ``KINDS`` makes
it, or in tests/contract/test_target_kinds.py, by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from foundation.errors import Problem
from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Concurrency, Target
from row_batches.targets.ports import FunctionSettings, MachineSettings
from row_batches.targets.protocol import Outcome
from row_batches.targets.usage import RunCounts, Usage


class Processor(StrEnum):
    """Which branch ``ChooseProcessor`` of the state machine takes.

    TOOL: rows in batches, called by ``process_tool_rows``. AGENT: followed by the state machine itself. NONE: there is
    no row to process.
    """

    TOOL = "TOOL"
    AGENT = "AGENT"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class RowCall:
    """One attempt at one row. ``execution`` is the name of the batch's execution."""

    execution: str
    target: str
    row: int
    total_rows: int
    attempt: int

    @property
    def id(self) -> str:
        """What a tool returns as ``tool_use_id``."""
        return f"{self.execution}:{self.row}:{self.attempt}"


class TargetKind(ABC):
    """One way to call a target. Without state."""

    name: ClassVar[str]
    """``invocation`` of a registry entry."""
    type: ClassVar[str]
    """``target.type`` of a document."""
    processor: ClassVar[Processor]
    arn_pattern: ClassVar[str]
    arn_example: ClassVar[str]
    resource: ClassVar[str]
    """What the ARN is of, with its article."""
    most_timeout_seconds: ClassVar[int]
    """The most that a row's ``timeout_seconds`` can be; ``timeout_reason`` says it to the user."""
    timeout_reason: ClassVar[str]
    call_actions: ClassVar[tuple[str, ...]]
    """IAM actions on the target's ARN."""
    execution_actions: ClassVar[tuple[str, ...]] = ()
    """IAM actions on the target's executions."""
    inspect_actions: ClassVar[tuple[str, ...]]
    """IAM actions on the target's ARN that ``code`` and ``warnings`` take."""
    cost_assumption: ClassVar[str]
    row_seconds: ClassVar[float]
    """What a row takes, at the least, where the registry does not say it: for the rate at which rows are written."""

    # --- calling it

    @abstractmethod
    def request(self, call: RowCall, row_input: dict[str, Any]) -> dict[str, Any]:
        """What the target is sent."""

    @abstractmethod
    def read(self, answer: Any, call: RowCall) -> Outcome:
        """The outcome that the target's answer stands for."""

    @abstractmethod
    def read_kept(self, answer: Any) -> Outcome:
        """The outcome of an answer that is kept, of this execution or of another of the same target."""

    # --- planning

    def timeout_problem(self, seconds: int) -> Problem | None:
        """What is wrong with a row's ``timeout_seconds``."""
        if seconds <= self.most_timeout_seconds:
            return None
        fix = f"write a number from 1 to {self.most_timeout_seconds}, or use a Standard agent"
        return Problem("execution_config.timeout_seconds", str(seconds), self.timeout_reason, fix)

    def rate_problem(self, config: BatchConfig) -> Problem | None:
        """What is wrong with a rate: only workers of many rows share one."""
        if config.execution_config.rate is None or self.processor is Processor.TOOL:
            return None
        message = "a rate is not available yet for Standard agents"
        return Problem("execution_config.rate", "", message, "leave it out, and set max_concurrency")

    @abstractmethod
    def code(self, target: Target, functions: FunctionSettings, machines: MachineSettings) -> str:
        """What tells the code behind the target's ARN from another (``Target.code_version``, in full)."""

    @abstractmethod
    def warnings(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> list[str]:
        """What the user should know of the target before the run. ``functions`` tells of Lambda functions."""

    @abstractmethod
    def concurrency(self, config: BatchConfig, target: Target, total_rows: int, row_bytes: int) -> Concurrency:
        """``max_concurrency`` rows in flight, spread over children and threads; their product never exceeds it.

        ``row_bytes`` is the average size of a staged row; 0: small.
        """

    def inline_concurrency(self, config: BatchConfig, total_rows: int) -> Concurrency | None:  # noqa: ARG002 (of a kind that has it)
        """The same for an execution that runs its rows itself, without children of a map; None if this kind cannot."""
        return None

    # --- cost

    @abstractmethod
    def assumed(
        self, config: BatchConfig, concurrency: Concurrency, total_rows: int, staged_bytes: int, *, all_fail: bool
    ) -> RunCounts:
        """The counts of a run in which each row succeeds at its first attempt, or fails at its last."""

    @abstractmethod
    def usage(self, counts: RunCounts) -> Usage:
        """What the rows of a run use, beside what every execution uses."""


ClientFactory = Callable[[str, int], Any]
"""Makes the client of a service, with a read time-out in whole seconds."""
