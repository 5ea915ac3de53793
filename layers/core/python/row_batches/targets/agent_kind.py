"""The shared part of agents, which are state machines: their ARN, their protocol, the identifier of their code."""

from __future__ import annotations

from typing import Any

from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Target
from row_batches.targets.kind import RowCall, TargetKind
from row_batches.targets.ports import FunctionSettings, MachineSettings
from row_batches.targets.protocol import Outcome, agent_request, read_agent_answer


class AgentKind(TargetKind):
    """A state machine from ``{"batchContext", "input"}`` to ``{"result", "data", "metadata"}``."""

    type = "agent"
    arn_pattern = r"arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:stateMachine:[^\s:*]+(:[^\s:*]+)?"
    arn_example = "arn:aws:states:<region>:<account>:stateMachine:<name>"
    resource = "a state machine"
    inspect_actions = ("states:DescribeStateMachine", "states:DescribeStateMachineAlias")

    def request(self, call: RowCall, row_input: dict[str, Any]) -> dict[str, Any]:
        return agent_request(call.execution, call.row, call.total_rows, row_input)

    def read(self, answer: Any, call: RowCall) -> Outcome:  # noqa: ARG002 (an agent's answer names no call)
        return read_agent_answer(answer)

    def read_kept(self, answer: Any) -> Outcome:
        return read_agent_answer(answer)

    def code(self, target: Target, functions: FunctionSettings, machines: MachineSettings) -> str:  # noqa: ARG002
        return machines.code(target.arn)

    def warnings(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> list[str]:  # noqa: ARG002
        return []
