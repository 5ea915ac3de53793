"""Makes the first call of an agent from a row of the staged input."""

from __future__ import annotations

import logging

from foundation.errors import MappingError, NotAttemptedError, TakenOverError
from foundation.json_text import parse_json, render_json
from foundation.ports import Clock
from row_batches.run.batch import Batch, Batches, input_hash
from row_batches.run.earlier_answers import take_over
from row_batches.run.messages import AgentCall, MapInputRequest, MapInputResponse
from row_batches.targets.protocol import agent_execution_name

LOGGER = logging.getLogger("batch_processor.map_input")
MOST_INPUT_BYTES = 200 * 1024
"""The agent's input travels beside the row through a state's 256 KiB (dg/service-quotas)."""


def map_input(request: MapInputRequest, *, batches: Batches, clock: Clock) -> MapInputResponse:
    """Raises ``NotAttemptedError`` when the brake is pulled, ``MappingError`` when the row cannot be mapped.

    A row that an earlier execution answered is written; then ``TakenOverError`` is raised.
    """
    batch = batches.open(request.BatchInput.plan_key)
    brake = batch.work.brake(fresh=batch.failure_limit is not None)
    if brake is not None:
        raise NotAttemptedError(f"not attempted: {brake.reason}")
    plan = batch.plan
    row = int(request.Row["r"])
    for finished in take_over(batch, {row: request.Row}, clock):
        batch.rows.write([finished])
        raise TakenOverError(f"row {row} was answered in an earlier execution: its answer is taken over")
    row_input = batch.input_mapper.map(batch.cells(request.Row))
    sent = batch.kind.request(batch.call(row, 1), row_input)
    text = render_json(sent)
    size = len(text.encode())
    if size > MOST_INPUT_BYTES:
        raise MappingError(f"the agent's input has {size:,} bytes and may have {MOST_INPUT_BYTES:,}")
    now = clock.now_ms()
    budget_seconds = plan.config.execution_config.timeout_seconds
    call = AgentCall(
        row=row,
        attempt=1,
        first_started_ms=now,
        deadline_ms=now + budget_seconds * 1000,
        timeout_seconds=budget_seconds,
        hash=input_hash(row_input),
        name=execution_name(batch, row, 1),
        agent_arn=plan.target.arn,
    )
    LOGGER.debug("row sent", extra={"attempt": 1, "sent": sent})
    # Rendered and read again: half an emoji, cut off by some other program, would break Lambda's own JSON.
    return MapInputResponse(call=call, input=parse_json(text))


def execution_name(batch: Batch, row: int, attempt: int) -> str:
    """The same for the same attempt at the same row of the same execution: Step Functions then starts it only once."""
    return agent_execution_name(batch.plan.config.batch_name, batch.plan.execution.arn, row, attempt)
