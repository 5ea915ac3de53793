"""Standard agents: state machines that the batch's own state machine follows."""

from __future__ import annotations

import re
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from foundation.errors import DeploymentError
from row_batches.document.batch_config import MAX_AGENT_TIMEOUT_SECONDS, BatchConfig
from row_batches.document.plan import Concurrency, Plan, Target
from row_batches.targets.agent_kind import AgentKind
from row_batches.targets.kind import Processor
from row_batches.targets.ports import FunctionSettings
from row_batches.targets.protocol import (
    Outcome,
    agent_failure,
    throttled,
    timed_out,
    too_large,
    unanswered,
)
from row_batches.targets.retry import MAX_THROTTLES

if TYPE_CHECKING:
    from row_batches.targets.usage import Load, RunCounts, Usage

MOST_ROWS_A_CHILD = 20
CHILD_SECONDS = 300
"""The expected time of all rows of a child. It limits the loss when a child dies. It also limits the delay of a change
of the map run's concurrency, which takes effect when children end."""
UNKNOWN_ROWS_A_CHILD = 5
"""Rows a child if the registry does not say how long a row takes."""
ROW_SECONDS = 1.0
"""The assumed least time of a row."""
MOST_SECONDS_OF_SEVERAL = 900
"""A row whose ``timeout_seconds`` is longer has a child of its own."""
MOST_EVENTS = 20_000
"""The planned events of a history, which can hold 25,000 (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""
EVENTS_AN_ATTEMPT = 20
"""The events of a failed attempt: InvokeAgent 7, RecordFailure 6, ChooseRetry 2, WaitBeforeRetry 2, the iteration 3."""
EVENTS_A_ROUND = 13
"""The events of a round of an inline child: MapRows 5, RunRows 4, AgentRowsRemain 2, WaitBeforeRound 2."""
EVENTS_A_CHILD = 8
"""The events of an inline child besides its rounds: the iteration 2, RunAgentRows 4, AgentRowsDone 2."""
EVENTS_A_RUN = 50
"""The events of an inline execution besides its children; about 30 without retries."""
SPARE_EVENTS = 4_000
"""The events of an inline execution for throttled calls, above ``MOST_EVENTS``."""
MOST_INLINE_CHILDREN = 40
"""An INLINE map runs up to 40 iterations at once (https://docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html)."""

CHILD_TRANSITIONS = 4
"""MapRows, RunRows, AgentRowsRemain, AgentRowsDone. An inline child has RunAgentRows instead of its start."""
ROW_TRANSITIONS = 2
"""InvokeAgent, MapOutput."""
FAILURE_TRANSITIONS = 4
"""A failed attempt that is tried again: InvokeAgent, RecordFailure, ChooseRetry, WaitBeforeRetry."""
FAILED_ROW_TRANSITIONS = 4
"""A row that fails at its last attempt: InvokeAgent, RecordFailure, ChooseRetry, RowDone."""
WAIT_TRANSITIONS = 4
"""A child whose rows may not start yet: RunRows, AgentRowsRemain, WaitBeforeRound, MapRows."""
STEP_SECONDS = 0.05
"""The assumed duration of a call of ``map_input`` or ``map_output``."""

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
"""Errors that mean that the agent cannot be called at all, like ``StepFunctions.AccessDeniedException``. They have no
prefix and no ``Exception`` here (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html)."""
REFUSALS = frozenset({"ExecutionDoesNotExist", "InvalidExecutionInput", "InvalidName", "Validation"})
"""Errors after which no execution has this attempt's name (the same page). After other errors, one can have it."""
CALL_PREFIXES = ("StepFunctions.", "Sfn.")
"""Prefixes of errors of the call itself. The agent's own errors are inside ``States.TaskFailed``."""
DENIED = r"is not authorized to perform|Error Code: (AccessDenied|UnrecognizedClient)"
RATE_EXCEEDED = r"Rate exceeded|Error Code: Throttl"
"""Errors that all services share have one name (``StepFunctions.AWSStepFunctionsException``, ``Sfn.SfnException``), so
only the cause tells them apart."""


class StandardAgent(AgentKind):
    """An agent that is called by ``states:startExecution.sync:2``.

    Each attempt has its own name (``agent_execution_name``), so that Step Functions does not start it twice.
    """

    name = "standard"
    processor = Processor.AGENT
    most_timeout_seconds = MAX_AGENT_TIMEOUT_SECONDS
    timeout_reason = "a Standard agent runs for a year at most"
    call_actions = ("states:StartExecution",)
    execution_actions = ("states:DescribeExecution", "states:StopExecution")
    row_seconds = ROW_SECONDS
    cost_assumption = "an agent's own transitions and functions are part of the target's cost"

    def read_error(self, error: str, cause: str, timeout_seconds: int, name: str, input_bytes: int) -> Outcome:
        """The outcome of an error that a Catch around the call saw.

        ``timeout_seconds`` is the attempt's time, ``name`` its execution's name, ``input_bytes`` the size of its input.

        Raises ``DeploymentError`` if the agent cannot be called at all.
        """
        if error.startswith(CALL_PREFIXES):
            return _read_call_error(error, cause)
        if error == "States.Timeout":  # The call's time-out. The agent's own one is inside States.TaskFailed.
            return timed_out(f"no answer within the {timeout_seconds} s that were left for the row")
        if error == "States.DataLimitExceeded":
            return too_large(
                f"with the row and the agent's input of {input_bytes:,} bytes it is over the 256 KiB (262,144 bytes) "
                f"that Step Functions allows; if the agent has answered, its execution {name} holds the answer"
            )
        return agent_failure(error, cause)

    def call_seconds(self, config: BatchConfig, target: Target, functions: FunctionSettings) -> int:  # noqa: ARG002
        return config.execution_config.timeout_seconds  # Then Step Functions stops the execution.

    def concurrency(self, config: BatchConfig, target: Target, total_rows: int, row_bytes: int) -> Concurrency:  # noqa: ARG002
        """As many children as rows in flight. Each runs its rows one after the other.

        A child has up to 20 rows: as many as take ``CHILD_SECONDS`` by the registry's ``expected_seconds``, else 5.
        It has fewer if the rows would not fill a batch for every child, or if failing attempts would fill
        a child's history. It has one row if a row can take long, if a rate is given, or if failed rows or the cost
        can end the run, so that no row starts after that. A rate limits the children to those that it can keep busy.
        More children would only wait for their start.
        """
        return self._concurrency(config, target, total_rows, self.rows_in_flight(config, target))

    def _concurrency(self, config: BatchConfig, target: Target, total_rows: int, children: int) -> Concurrency:
        settings = config.execution_config
        rates = [rate for rate in (settings.rate, target.rate) if rate is not None]
        busy_seconds = min(settings.timeout_seconds, 2 * (target.expected_seconds or settings.timeout_seconds))
        for rate in rates:
            if rate.rows_per_minute is not None:
                children = min(children, 1 + ceil(rate.rows_per_minute * busy_seconds / 60))
        rows = UNKNOWN_ROWS_A_CHILD
        if target.expected_seconds is not None:
            rows = min(MOST_ROWS_A_CHILD, max(1, int(CHILD_SECONDS / target.expected_seconds)))
        has_brake = settings.failure_limit(total_rows) is not None or settings.cost_limit is not None
        alone = settings.timeout_seconds > MOST_SECONDS_OF_SEVERAL or has_brake
        if alone or rates:
            rows = 1
        rows = min(rows, ceil(total_rows / children), _attempts_of_a_child() // 2 // settings.retry_policy.max_attempts)
        return Concurrency(children=children, threads=1, batch_size=max(1, rows))

    def inline_concurrency(self, config: BatchConfig, target: Target, total_rows: int) -> Concurrency:
        """The children that the map would have, with up to 40 of them at once."""
        children = min(self.rows_in_flight(config, target), MOST_INLINE_CHILDREN)
        return self._concurrency(config, target, total_rows, children)

    def inline_refusal(self, config: BatchConfig, inline: Concurrency, total_rows: int) -> str:
        attempts = config.execution_config.retry_policy.max_attempts
        events = inline_events(total_rows, inline.batch_size, attempts)
        if events <= MOST_EVENTS:
            return ""
        return (
            f"{total_rows:,} rows of {attempts} attempts take {events:,} events in the execution's history "
            f"({EVENTS_AN_ATTEMPT} an attempt), and at most {MOST_EVENTS:,} are allowed"
        )

    def assumed(self, config: BatchConfig, concurrency: Concurrency, load: Load) -> RunCounts:
        """The time of a call costs nothing of ours, because nothing of ours is paid for while an agent runs."""
        return replace(
            load.counts(config.execution_config.retry_policy.max_attempts),
            rows_objects=load.rows,
            batch_size=concurrency.batch_size,
            waits=0 if config.execution_config.rate is None else load.rows,
        )

    def usage(self, counts: RunCounts) -> Usage:
        """The usage of children and rows.

        A child takes its start, 4 transitions, a request and a listing of finished rows. A row takes 2 transitions and
        a request, and each further attempt 4 transitions and a request. A failed row takes its count and a request to
        the queue. A child that waits for its start takes 4 transitions and a request.
        """
        from row_batches.targets.usage import CHILD_START_TRANSITIONS, Usage, size_of  # noqa: PLC0415 (few calls estimate or sum up costs)

        children = ceil((counts.rows + counts.idle_rows) / counts.batch_size)
        called = counts.rows - counts.unmapped_rows
        called_and_failed = max(0, counts.failed_rows - counts.unmapped_rows)
        succeeded = max(0, called - called_and_failed)
        again = counts.retries + counts.throttles
        ends = called + again
        memory_gb = {name: size_of(name).memory_gb for name in ("map_input", "map_output")}
        return Usage(
            transitions=children * (CHILD_START_TRANSITIONS + CHILD_TRANSITIONS)
            + succeeded * ROW_TRANSITIONS
            + called_and_failed * FAILED_ROW_TRANSITIONS
            + again * FAILURE_TRANSITIONS
            + counts.waits * WAIT_TRANSITIONS,
            lambda_requests=children + counts.waits + ends,
            lambda_gb_seconds=STEP_SECONDS
            * ((children + counts.waits) * memory_gb["map_input"] + ends * memory_gb["map_output"]),
            s3_puts=counts.failed_rows + children,
            s3_gets=children + ends,  # the brake
            sqs_requests=counts.failed_rows,
            dynamodb_writes=counts.rows + counts.waits,  # live counts; starts that are reserved
            calls=counts.attempts,
        )


def _attempts_of_a_child() -> int:
    """The number of attempts that the history of a child can hold."""
    return MOST_EVENTS // EVENTS_AN_ATTEMPT


def most_throttles(rows_a_child: int) -> int:
    """The most throttled calls of a row if a child has ``rows_a_child`` rows. Half of the history is for attempts."""
    return min(MAX_THROTTLES, _attempts_of_a_child() // 2 // rows_a_child)


def inline_events(total_rows: int, rows_a_child: int, attempts: int) -> int:
    """The most events of an inline execution whose calls are not throttled.

    A child has up to ``attempts`` rounds of calls, and waits up to once for the start that a rate lets it have.
    """
    children = ceil(total_rows / rows_a_child)
    rounds = attempts + 1
    return (
        EVENTS_A_RUN + children * (EVENTS_A_CHILD + rounds * EVENTS_A_ROUND) + total_rows * attempts * EVENTS_AN_ATTEMPT
    )


def most_inline_throttles(plan: Plan) -> int:
    """The most throttled calls of an inline row before it is left to the second pass."""
    settings, rows = plan.config.execution_config, max(1, plan.rows_sent)
    events = inline_events(rows, plan.concurrency.batch_size, settings.retry_policy.max_attempts)
    return min(MAX_THROTTLES, max(0, MOST_EVENTS + SPARE_EVENTS - events) // (rows * EVENTS_AN_ATTEMPT))


def _read_call_error(error: str, cause: str) -> Outcome:
    """The outcome of a failed call. The execution can have started even so.

    The call is repeated under the same name, so Step Functions does not start it twice.
    """
    name = error.rpartition(".")[2].removesuffix("Exception")
    if name in DEPLOYMENT_ERRORS or re.search(DENIED, cause):
        raise DeploymentError(f"the agent cannot be called: {error}: {cause}")
    if re.search(RATE_EXCEEDED, cause):
        return throttled(cause)
    outcome = agent_failure(error, cause)
    return outcome if name in REFUSALS or outcome.throttled else unanswered(outcome.error_message)
