"""Tools: Lambda functions."""

from __future__ import annotations

from typing import Any

from row_batches.document.batch_config import MAX_TOOL_TIMEOUT_SECONDS, BatchConfig
from row_batches.document.plan import Target
from row_batches.targets.kind import ClientFactory, RowCall
from row_batches.targets.ports import FunctionSettings, MachineSettings, TargetInvoker
from row_batches.targets.protocol import Outcome, read_tool_answer, tool_request
from row_batches.targets.worker_kind import WorkerKind


class LambdaFunction(WorkerKind):
    """``{"name", "input", "id"}`` to ``{"type": "tool_result", "tool_use_id", "content"}``, by ``lambda:Invoke``."""

    name = "lambda"
    type = "tool"
    arn_pattern = r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[^\s:*]+(:[^\s:*]+)?"
    arn_example = "arn:aws:lambda:<region>:<account>:function:<name>"
    resource = "a Lambda function"
    most_timeout_seconds = MAX_TOOL_TIMEOUT_SECONDS
    timeout_reason = f"a tool's row has at most {MAX_TOOL_TIMEOUT_SECONDS} seconds"
    call_actions = ("lambda:InvokeFunction",)
    inspect_actions = ("lambda:GetFunctionConfiguration",)

    def request(self, call: RowCall, row_input: dict[str, Any]) -> dict[str, Any]:
        return tool_request(call.target, row_input, call.id)

    def read(self, answer: Any, call: RowCall) -> Outcome:
        return read_tool_answer(answer, call.id)

    def read_kept(self, answer: Any) -> Outcome:
        """Read a stored answer. The id of the call is not checked again, because another execution can have called."""
        return read_tool_answer(answer, answer.get("tool_use_id", "") if isinstance(answer, dict) else "")

    def code(self, target: Target, functions: FunctionSettings, machines: MachineSettings) -> str:  # noqa: ARG002
        return functions.code(target.arn)

    def warnings(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> list[str]:
        seconds, own = config.execution_config.timeout_seconds, functions.timeout_seconds(target.arn)
        if own <= seconds:
            return []
        return [
            f"The function's own time-out is {own} s, longer than timeout_seconds ({seconds}): a call that times out "
            "keeps running, and costs money, until then."
        ]

    def call_seconds(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> int:  # noqa: ARG002
        return functions.timeout_seconds(target.arn)

    def invoker(self, make_client: ClientFactory) -> TargetInvoker:
        from row_batches.targets.lambda_ import LambdaInvoker  # noqa: PLC0415 (the SDK is loaded by those who call)

        return LambdaInvoker(lambda seconds: make_client("lambda", seconds))
