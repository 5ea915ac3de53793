"""Standard agents: state machines that the batch's own state machine follows."""

from __future__ import annotations

import re
from typing import Any

from foundation.errors import DeploymentError
from row_batches.document.batch_config import MAX_AGENT_TIMEOUT_SECONDS, BatchConfig
from row_batches.document.plan import Concurrency, Target
from row_batches.targets.kind import Processor, RowCall, TargetKind
from row_batches.targets.ports import FunctionSettings
from row_batches.targets.protocol import (
    Outcome,
    agent_failure,
    agent_request,
    read_agent_answer,
    throttled,
    timed_out,
    too_large,
    unanswered,
)
from row_batches.targets.usage import CHILD_START_TRANSITIONS, RunCounts, Usage, size_of

ROW_TRANSITIONS = 3
"""MapInput, InvokeAgent, MapOutput."""
FAILURE_TRANSITIONS = 4
"""A failed attempt that is tried again: InvokeAgent, RecordFailure, ChooseRetry, WaitBeforeRetry."""
FAILED_ROW_TRANSITIONS = 5
"""A row that fails at its last attempt: MapInput, InvokeAgent, RecordFailure, ChooseRetry, RowDone."""
UNMAPPED_ROW_TRANSITIONS = 4
"""A row that cannot be mapped: MapInput, RecordFailure, ChooseRetry, RowDone."""
IDLE_ROW_TRANSITIONS = 2
"""A row that finds the brake pulled, or is taken over from an earlier execution: MapInput, RowDone."""
STEP_SECONDS = 0.05
"""Of each call of ``map_input`` and ``map_output``, an assumption."""

DEPLOYMENT_ERRORS = frozenset(
    {
        "AccessDenied",
        "InvalidArn",
        "KmsAccessDenied",
        "KmsInvalidState",
        "StateMachineDeleting",
        "StateMachineDoesNotExist",
    }
)
"""``StepFunctions.AccessDeniedException`` and the like, without prefix and ``Exception``: the agent cannot be called at
all (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html)."""
REFUSALS = frozenset({"ExecutionDoesNotExist", "InvalidExecutionInput", "InvalidName", "Validation"})
"""The same page: no execution has this attempt's name. After other errors of the call there may be one."""
CALL_PREFIXES = ("StepFunctions.", "Sfn.")
"""Names with these come from the call itself; the agent's own errors are inside ``States.TaskFailed``."""
DENIED = re.compile(r"is not authorized to perform|Error Code: (AccessDenied|UnrecognizedClient)")
RATE_EXCEEDED = re.compile(r"Rate exceeded|Error Code: Throttl")
"""Errors that are common to all services have the service's own name (``StepFunctions.AWSStepFunctionsException``,
``Sfn.SfnException``): only the cause tells them apart."""


class StandardAgent(TargetKind):
    """``{"batchContext", "input"}`` to ``{"result", "data", "metadata"}``, by ``states:startExecution.sync:2``.

    An attempt has a name of its own (``agent_execution_name``), so that Step Functions starts none twice.
    """

    name = "standard"
    type = "agent"
    processor = Processor.AGENT
    arn_pattern = r"arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:stateMachine:[^\s:*]+(:[^\s:*]+)?"
    arn_example = "arn:aws:states:<region>:<account>:stateMachine:<name>"
    resource = "a state machine"
    most_timeout_seconds = MAX_AGENT_TIMEOUT_SECONDS
    timeout_reason = "a Standard agent runs for a year at most"
    call_actions = ("states:StartExecution",)
    execution_actions = ("states:DescribeExecution", "states:StopExecution")
    cost_assumption = "an agent's own transitions and functions are part of the target's cost"

    def request(self, call: RowCall, row_input: dict[str, Any]) -> dict[str, Any]:
        return agent_request(call.execution, call.row, call.total_rows, row_input)

    def read(self, answer: Any, call: RowCall) -> Outcome:  # noqa: ARG002 (an agent's answer names no call)
        return read_agent_answer(answer)

    def read_kept(self, answer: Any) -> Outcome:
        return read_agent_answer(answer)

    def read_error(self, error: str, cause: str, timeout_seconds: int) -> Outcome:
        """The outcome of what a Catch around the call saw; the attempt had ``timeout_seconds``.

        Raises ``DeploymentError`` when the agent cannot be called at all.
        """
        if error.startswith(CALL_PREFIXES):
            return _read_call_error(error, cause)
        if error == "States.Timeout":  # of the call: the agent's own is inside States.TaskFailed
            return timed_out(f"no answer within the {timeout_seconds} s that were left for the row")
        if error == "States.DataLimitExceeded":
            return too_large("with the row it is over the 256 KiB (262,144 bytes) that Step Functions allows")
        return agent_failure(error, cause)

    def warnings(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> list[str]:  # noqa: ARG002
        return []

    def concurrency(self, config: BatchConfig, total_rows: int, row_bytes: int) -> Concurrency:  # noqa: ARG002
        """One row a child, so as many children as rows in flight."""
        return Concurrency(children=config.execution_config.max_concurrency, threads=1, batch_size=1)

    def assumed(
        self,
        config: BatchConfig,
        concurrency: Concurrency,  # noqa: ARG002 (a child is a row)
        total_rows: int,
        staged_bytes: int,  # noqa: ARG002
        *,
        all_fail: bool,
    ) -> RunCounts:
        attempts = config.execution_config.retry_policy.max_attempts if all_fail else 1
        return RunCounts(
            rows=total_rows,
            attempts=total_rows * attempts,
            retries=total_rows * (attempts - 1),
            failed_rows=total_rows if all_fail else 0,
            rows_objects=total_rows,
        )

    def usage(self, counts: RunCounts) -> Usage:
        """A row: its child's start, 3 transitions and 2 requests; an attempt that is tried again adds 4 and 1. A failed
        row: its count and a request to the queue."""
        succeeded = max(0, counts.rows - counts.failed_rows)
        called_and_failed = max(0, counts.failed_rows - counts.unmapped_rows)
        again = counts.retries + counts.throttles
        steps = 2 * counts.rows + again + counts.idle_rows
        return Usage(
            transitions=(counts.rows + counts.idle_rows) * CHILD_START_TRANSITIONS
            + counts.idle_rows * IDLE_ROW_TRANSITIONS
            + succeeded * ROW_TRANSITIONS
            + called_and_failed * FAILED_ROW_TRANSITIONS
            + counts.unmapped_rows * UNMAPPED_ROW_TRANSITIONS
            + again * FAILURE_TRANSITIONS,
            lambda_requests=steps,
            lambda_gb_seconds=steps * STEP_SECONDS * size_of("map_output").memory_gb,
            s3_puts=counts.rows_objects + counts.failed_rows,
            s3_gets=steps + counts.rows_objects,
            sqs_requests=counts.failed_rows,
            dynamodb_writes=counts.rows,  # live counts
            calls=counts.attempts,
        )


def _read_call_error(error: str, cause: str) -> Outcome:
    """The call failed, not the agent. It may have started the execution all the same, so it is made again by its name:
    Step Functions then starts nothing twice."""
    name = error.rpartition(".")[2].removesuffix("Exception")
    if name in DEPLOYMENT_ERRORS or DENIED.search(cause):
        raise DeploymentError(f"the agent cannot be called: {error}: {cause}")
    if RATE_EXCEEDED.search(cause):
        return throttled(cause)
    outcome = agent_failure(error, cause)
    return outcome if name in REFUSALS or outcome.throttled else unanswered(outcome.error_message)
