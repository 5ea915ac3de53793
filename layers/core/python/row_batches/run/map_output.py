"""Ends an agent's attempt at a row: writes the row, or returns the next attempt."""

from __future__ import annotations

import logging
import math
from copy import deepcopy
from typing import Any, NamedTuple

from foundation.json_text import parse_json
from row_batches.rows.records import RowStatus, Usage
from row_batches.run.agent_messages import AgentCall, MapOutputRequest, MapOutputResponse
from row_batches.run.batch import Batch, Batches, input_hash
from row_batches.run.child_trace import send_row
from row_batches.run.commit import Commit
from row_batches.run.map_input import execution_name
from row_batches.run.ports import DeadLetters
from row_batches.run.runs import BestEffort
from row_batches.run.spending import count_rows
from row_batches.run.starts import Starts
from row_batches.targets.answer import add_usage
from row_batches.targets.protocol import Outcome, read_agent_answer, read_express_answer
from row_batches.targets.retry import Final, Retry, decide
from row_batches.targets.standard_agent import StandardAgent, most_inline_throttles, most_throttles

LOGGER = logging.getLogger("batch_processor.map_output")


def map_output(
    request: MapOutputRequest, *, batches: Batches, dead_letters: DeadLetters, notes: BestEffort, starts: Starts
) -> MapOutputResponse:
    """Write the row, or answer with its next attempt.

    The answer also says if no further row may start, because the brake is pulled or the child has lost its permit to
    call the target. Raises ``DeploymentError`` if the agent cannot be called at all. Idempotent.
    """
    batch = batches.open(request.BatchInput.plan_key)
    call = request.Call
    if call.earlier and request.Description is not None and not _has_answer(request.Description, call):
        return _call_again(batch, starts, call, _look_further(batch, call, request.Description))
    attempt = _attempt(batch, request)
    decision = _decide(batch, call, attempt)
    if isinstance(decision, Retry):
        return _retry(batch, starts, request, attempt, decision.wait_seconds)
    outcome = decision.outcome
    if outcome.status is RowStatus.SUCCESS or not any(batch.rows.finished(call.row, call.row)):  # by an earlier call
        _write(batch, dead_letters, notes, request, attempt, outcome)
        starts.used(batch, call, attempt.usage)
    if batch.work.brake(fresh=True) is not None:
        starts.ends(batch, call)
        return MapOutputResponse(row=call.row, stop=True)
    return MapOutputResponse(row=call.row, stop=not _may_start_next(batch, starts, call))


class _Attempt(NamedTuple):
    """An attempt that has ended. The numbers and the usage are those of all attempts at the row so far."""

    outcome: Outcome
    usage: Usage
    throttles: int
    ended_ms: int
    elapsed_ms: int


def _attempt(batch: Batch, request: MapOutputRequest) -> _Attempt:
    call, outcome = request.Call, _read_outcome(request)
    usage = deepcopy(call.usage)
    add_usage(usage, batch.priced(outcome.usage))
    ended_ms = round(request.Ended.timestamp() * 1000)
    elapsed_ms = call.used_ms + ended_ms - round(request.Began.timestamp() * 1000)
    return _Attempt(outcome, usage, call.throttles + outcome.throttled, ended_ms, elapsed_ms)


def _decide(batch: Batch, call: AgentCall, attempt: _Attempt) -> Retry | Final:
    settings = batch.plan.config.execution_config
    return decide(
        settings.retry_policy,
        attempt.outcome,
        call.attempt,
        attempt.throttles,
        attempt.elapsed_ms,
        settings.timeout_seconds * 1000,
        max_throttles=most_throttles(1 if call.inline else batch.plan.concurrency.batch_size),
    )


def _retry(
    batch: Batch, starts: Starts, request: MapOutputRequest, attempt: _Attempt, wait_seconds: float
) -> MapOutputResponse:
    call = request.Call
    if call.inline and attempt.throttles > most_inline_throttles(batch.plan):
        starts.ends(batch, call)
        return MapOutputResponse(row=call.row, stop=True)
    again = _next_call(batch, call, attempt, wait_seconds)
    if request.has_answer:  # The agent's answer asks for the retry, which runs in another round of the child.
        return MapOutputResponse(row=call.row, again=again, stop=not _may_start_next(batch, starts, call))
    return _call_again(batch, starts, call, again)


def _write(
    batch: Batch,
    dead_letters: DeadLetters,
    notes: BestEffort,
    request: MapOutputRequest,
    attempt: _Attempt,
    outcome: Outcome,
) -> None:
    """Write the row with its final ``outcome``, and count it."""
    call = request.Call
    attempts = call.attempt - attempt.outcome.throttled
    finished = batch.finish(
        call.row,
        batch.cells(request.Row),
        outcome,
        row_hash=call.hash,
        attempts=attempts,
        throttles=attempt.throttles,
        started_ms=attempt.ended_ms - attempt.elapsed_ms,
        ended_ms=attempt.ended_ms,
        usage=attempt.usage,
        target_version=_earlier_version(batch, request),
    )
    storing_ms = batch.work.clock.now_ms()
    Commit(batch, dead_letters).write([finished])
    count_rows(batch, notes, [finished])
    send_row(batch, notes, call.trace, finished, storing_ms)
    if finished.has_failed:
        details = {"row_id": call.row, "status": finished.record["status"], "attempts": attempts}
        LOGGER.info("row not successful", extra=details)


def _call_again(batch: Batch, starts: Starts, call: AgentCall, again: AgentCall) -> MapOutputResponse:
    """The row's next attempt in the same round. Without a permit, the row is left to the second pass."""
    if starts.goes_on(batch, call, again.wait_seconds + again.timeout_seconds):
        return MapOutputResponse(row=call.row, again=again)
    return MapOutputResponse(row=call.row, stop=True)


def _may_start_next(batch: Batch, starts: Starts, call: AgentCall) -> bool:
    """Whether the round's next row may start. After the last row, it gives back the child's permit."""
    if call.last:
        starts.ends(batch, call)
        return True
    return starts.goes_on(batch, call, batch.plan.config.execution_config.timeout_seconds)


def _next_call(batch: Batch, call: AgentCall, ended: _Attempt, wait_seconds: float) -> AgentCall:
    """The next attempt. A throttled attempt keeps its number and its name."""
    throttled = ended.outcome.throttled
    wait = math.ceil(wait_seconds)  # Wait takes whole seconds
    used_ms = ended.elapsed_ms + wait * 1000
    left = batch.plan.config.execution_config.timeout_seconds - used_ms / 1000
    following = call.model_copy(
        update={
            "attempt": call.attempt if throttled else call.attempt + 1,
            "throttles": ended.throttles,
            "usage": ended.usage,
            "wait_seconds": wait,
            "used_ms": used_ms,
            "timeout_seconds": max(1, math.floor(left)),
            "earlier": call.earlier if throttled else [],
        }
    )
    return following.model_copy(update={"name": execution_name(batch, following)})


def _has_answer(description: dict[str, Any], call: AgentCall) -> bool:
    """Whether an earlier execution's attempt has an answer to the same input."""
    if description.get("Status") != "SUCCEEDED":
        return False
    try:
        sent = parse_json(description.get("Input") or "null")
        return input_hash(sent["input"]) == call.hash
    except (ValueError, KeyError, TypeError):
        return False


def _earlier_version(batch: Batch, request: MapOutputRequest) -> str | None:
    """The version of the target if its answer comes from an earlier execution; None otherwise."""
    call = request.Call
    taken = bool(call.earlier) and request.Description is not None
    return batch.plan.resume_from[call.earlier[0]].target_version if taken else None


def _look_further(batch: Batch, call: AgentCall, description: dict[str, Any]) -> AgentCall:
    """The same attempt under the next name, because the earlier execution can have repeated a failed attempt."""
    attempts = batch.plan.config.execution_config.retry_policy.max_attempts
    may_follow = description.get("Status") in ("SUCCEEDED", "FAILED") and call.earlier_attempt < attempts
    place = (
        {"earlier_attempt": call.earlier_attempt + 1}
        if may_follow
        else {"earlier": call.earlier[1:], "earlier_attempt": 1}
    )
    following = call.model_copy(update=place)
    return following.model_copy(update={"name": execution_name(batch, following)})


def _read_outcome(request: MapOutputRequest) -> Outcome:
    if request.ErrorOutput is not None:
        call = request.Call
        return StandardAgent().read_error(
            request.ErrorOutput.Error, request.ErrorOutput.Cause, call.timeout_seconds, call.name, call.input_bytes
        )
    if request.Description is not None:
        return read_express_answer(request.Description)
    return read_agent_answer(request.Result)
