"""Express agents: state machines that are called synchronously."""

from __future__ import annotations

from typing import Any

from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Target
from row_batches.targets.kind import ClientFactory, RowCall
from row_batches.targets.ports import FunctionSettings, MachineSettings, TargetInvoker
from row_batches.targets.protocol import Outcome, agent_request, read_agent_answer
from row_batches.targets.worker_kind import WorkerKind

MAX_SECONDS = 300
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html, Express workflows."""


class ExpressAgent(WorkerKind):
    """``{"batchContext", "input"}`` to ``{"result", "data", "metadata"}``, by ``states:StartSyncExecution``."""

    name = "express"
    type = "agent"
    arn_pattern = r"arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:stateMachine:[^\s:*]+(:[^\s:*]+)?"
    arn_example = "arn:aws:states:<region>:<account>:stateMachine:<name>"
    resource = "a state machine"
    most_timeout_seconds = MAX_SECONDS
    timeout_reason = f"an Express agent runs for {MAX_SECONDS} seconds at most"
    call_actions = ("states:StartSyncExecution",)
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

    def call_seconds(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> int:  # noqa: ARG002
        return MAX_SECONDS

    def invoker(self, make_client: ClientFactory) -> TargetInvoker:
        from row_batches.targets.stepfunctions import ExpressInvoker  # noqa: PLC0415 (as in lambda_function)

        return ExpressInvoker(lambda seconds: make_client("stepfunctions", seconds))
