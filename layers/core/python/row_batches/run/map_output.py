"""Ends an attempt of an agent at a row: the row is written, or called again after a pause."""

from __future__ import annotations

import logging
import math
from copy import deepcopy
from typing import Any

from foundation.errors import RetryableAnswerError
from foundation.json_text import parse_json, render_json
from foundation.ports import Clock
from row_batches.rows.records import RowStatus, Usage
from row_batches.run.batch import Batch, Batches
from row_batches.run.commit import Commit
from row_batches.run.map_input import execution_name
from row_batches.run.messages import AgentCall, CaughtError, MapOutputAction, MapOutputRequest, MapOutputResponse
from row_batches.run.ports import DeadLetters
from row_batches.run.runs import BestEffort
from row_batches.targets.answer import add_usage
from row_batches.targets.protocol import (
    MAPPING_ERROR,
    Outcome,
    mapping_failed,
    read_agent_answer,
    read_express_answer,
    too_large,
)
from row_batches.targets.retry import Retry, decide
from row_batches.targets.standard_agent import StandardAgent

LOGGER = logging.getLogger("batch_processor.map_output")
MOST_STATE_BYTES = 256 * 1024
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""


def map_output(
    request: MapOutputRequest, *, batches: Batches, dead_letters: DeadLetters, notes: BestEffort, clock: Clock
) -> MapOutputResponse:
    """Write the row, or answer with its next attempt.

    Raises ``RetryableAnswerError`` for an answer (``Result``) that asks to be tried again and may be, and
    ``DeploymentError`` when the agent cannot be called at all. Idempotent: called twice, it writes one row.
    """
    batch = batches.open(request.BatchInput.plan_key)
    call = request.Call
    row = int(request.Row["r"])
    now = clock.now_ms()
    outcome = _read_outcome(request, batch)
    usage = deepcopy(call.usage)
    add_usage(usage, outcome.usage)
    started_ms = call.first_started_ms or now
    reached = call.attempt - outcome.throttled if call.attempt else 0
    if call.attempt:
        decision = decide(
            batch.plan.config.execution_config.retry_policy,
            outcome,
            call.attempt,
            call.throttles + outcome.throttled,
            now - started_ms,
            max(call.deadline_ms - started_ms, 0),
        )
        if isinstance(decision, Retry):
            if request.ErrorOutput is None and request.Description is None:
                # Lambda logs what a function raises: no word of the answer. The state machine sends it back with this.
                raise RetryableAnswerError("the answer asks to be tried again")
            return MapOutputResponse(
                action=MapOutputAction.RETRY, call=_next_call(batch, call, outcome, usage, decision.wait_seconds, now)
            )
        outcome = decision.outcome
    if outcome.status is not RowStatus.SUCCESS and any(batch.rows.finished(row, row)):
        return MapOutputResponse(action=MapOutputAction.DONE)  # by an earlier call: no second dead letter
    finished = batch.finish(
        row,
        batch.cells(request.Row),
        outcome,
        row_hash=call.hash,
        attempts=reached,
        throttles=call.throttles + outcome.throttled,
        started_ms=started_ms,
        ended_ms=now,
        usage=usage,
    )
    Commit(batch, dead_letters).write([finished])
    notes.count(batch.plan.execution.name, [finished.record])
    if outcome.status is not RowStatus.SUCCESS:
        LOGGER.info("row not successful", extra={"row_id": row, "status": outcome.status, "attempts": reached})
    return MapOutputResponse(action=MapOutputAction.DONE)


def _next_call(
    batch: Batch, call: AgentCall, outcome: Outcome, usage: Usage, wait_seconds: float, now: int
) -> AgentCall:
    """The next attempt. One that the call failed of keeps its number, and its name."""
    attempt = call.attempt if outcome.throttled else call.attempt + 1
    wait = math.ceil(wait_seconds)  # Wait takes whole seconds
    left = (call.deadline_ms - now) / 1000 - wait
    return call.model_copy(
        update={
            "attempt": attempt,
            "throttles": call.throttles + outcome.throttled,
            "usage": usage,
            "wait_seconds": wait,
            "timeout_seconds": max(1, math.floor(left)),
            "name": execution_name(batch, call.row, attempt),
        }
    )


def _read_outcome(request: MapOutputRequest, batch: Batch) -> Outcome:
    if request.ErrorOutput is not None and request.ErrorOutput.Error == "States.DataLimitExceeded":
        return _over_the_joint_limit(request, batch)
    if request.ErrorOutput is not None and request.ErrorOutput.Error != RetryableAnswerError.__name__:
        return _read_error(request.ErrorOutput, request.Call)
    if request.Description is not None:
        return read_express_answer(request.Description)
    return read_agent_answer(request.Result)


def _over_the_joint_limit(request: MapOutputRequest, batch: Batch) -> Outcome:
    """Step Functions says no size. The answer is paid: it stays readable where the agent ran."""
    row_bytes = len(render_json({"Row": request.Row, "BatchInput": request.BatchInput.model_dump()}).encode())
    call = request.Call
    said = (
        f"with the row's {row_bytes:,} bytes it is over the 256 KiB ({MOST_STATE_BYTES:,} bytes) that Step Functions "
        f"allows for both, so it has some {max(0, MOST_STATE_BYTES - row_bytes):,} bytes or more"
    )
    if call.name:
        *account, _, machine = batch.plan.target.arn.split(":")[:7]
        said += f"; it is the output of {':'.join([*account, 'execution', machine, call.name])}"
    return too_large(said)


def _read_error(error: CaughtError, call: AgentCall) -> Outcome:
    if error.Error == MAPPING_ERROR:
        return mapping_failed(_function_message(error.Cause))
    return StandardAgent().read_error(error.Error, error.Cause, call.timeout_seconds)


def _function_message(cause: str) -> str:
    """The message of an error that one of our functions raised: Lambda's Cause is ``{"errorMessage", "errorType"}``."""
    try:
        described: Any = parse_json(cause)
    except ValueError:
        return cause
    return str(described.get("errorMessage", cause)) if isinstance(described, dict) else cause
