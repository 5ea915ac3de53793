"""Express agents: state machines that are called synchronously."""

from __future__ import annotations

from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Target
from row_batches.targets.agent_kind import AgentKind
from row_batches.targets.kind import ClientFactory
from row_batches.targets.ports import FunctionSettings, TargetInvoker
from row_batches.targets.worker_kind import WorkerKind

MAX_SECONDS = 300
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html, Express workflows."""


class ExpressAgent(AgentKind, WorkerKind):
    """An agent that is called by ``states:StartSyncExecution``."""

    name = "express"
    most_timeout_seconds = MAX_SECONDS
    timeout_reason = f"an Express agent runs for {MAX_SECONDS} seconds at most"
    call_actions = ("states:StartSyncExecution",)

    def call_seconds(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> int:  # noqa: ARG002
        return MAX_SECONDS

    def invoker(self, make_client: ClientFactory) -> TargetInvoker:
        from row_batches.targets.stepfunctions import ExpressInvoker  # noqa: PLC0415 (as in lambda_function)

        return ExpressInvoker(lambda seconds: make_client("stepfunctions", seconds))
