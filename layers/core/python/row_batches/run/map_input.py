"""Makes the calls of an agent from rows of the staged input."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from foundation.errors import MappingError
from foundation.json_text import parse_json, render_json
from foundation.ports import Clock
from row_batches.rows.records import FinishedRow
from row_batches.run.agent_messages import AgentCall, AgentRow, MapRowsRequest, MapRowsResponse
from row_batches.run.batch import Batch, Batches, input_hash
from row_batches.run.cached_answers import take_cached
from row_batches.run.child_trace import ChildTrace
from row_batches.run.commit import Commit
from row_batches.run.earlier_answers import take_over
from row_batches.run.ports import DeadLetters
from row_batches.run.runs import BestEffort
from row_batches.run.spending import count_rows
from row_batches.run.starts import Starts
from row_batches.targets.protocol import agent_execution_name, mapping_failed

LOGGER = logging.getLogger("batch_processor.map_input")
MOST_INPUT_BYTES = 200 * 1024
"""The agent's input passes through states, whose input can be up to 256 KiB (dg/service-quotas)."""
MOST_ROUND_BYTES = 180_000
"""The size of the calls and inputs of one round, if it has several. The rest comes in the next round."""


def map_rows(
    request: MapRowsRequest,
    *,
    batches: Batches,
    dead_letters: DeadLetters,
    notes: BestEffort,
    starts: Starts,
    clock: Clock,
) -> MapRowsResponse:
    """The calls of the rows that still need one. There are none if the brake is pulled or no row may start yet.

    Finished rows are left out. Rows that an earlier execution or batch answered are written, and rows that cannot be
    mapped are written as failed. ``remaining`` rows did not fit.
    """
    batch = batches.open(request.BatchInput.plan_key)
    if batch.work.brake(fresh=batch.has_brake_of_its_own) is not None:
        return MapRowsResponse()
    items = _unfinished(batch, request)
    trace = ChildTrace(batch, notes, request.Child)
    again = {call.row: call for call in request.Again}
    ended = _answered(batch, items, again)
    for taken in ended:
        del items[taken.row]
    rows, refused, remaining = _mapped(batch, items, again, trace, clock)
    ended += refused
    if ended:
        ended.sort(key=lambda finished: finished.row)
        storing_ms = clock.now_ms()
        Commit(batch, dead_letters).write(ended)
        trace.stored(ended, storing_ms)
        count_rows(batch, notes, ended)
    if not rows:
        trace.send()
        return MapRowsResponse()
    admitted = starts.admit(batch, request, rows)
    admitted = _traced(admitted, trace)
    trace.send()
    return admitted.model_copy(update={"remaining": admitted.remaining + remaining})


def _unfinished(batch: Batch, request: MapRowsRequest) -> dict[int, dict[str, str]]:
    """The staged rows of the child that are not finished, by number."""
    items = {int(item["r"]): item for item in request.Items}
    for finished in list(batch.rows.finished(min(items), max(items))):
        for row in range(finished.first, finished.last + 1):
            items.pop(row, None)
    return items


def _answered(batch: Batch, items: dict[int, dict[str, str]], again: Mapping[int, AgentCall]) -> list[FinishedRow]:
    """The rows that an earlier execution or batch answered. Those that are called ``again`` take no kept answer."""
    ended = list(take_over(batch, items))
    taken = {finished.row for finished in ended}
    left = {row: item for row, item in items.items() if row not in taken and row not in again}
    return [*ended, *take_cached(batch, left)]


def _mapped(
    batch: Batch,
    items: Mapping[int, dict[str, str]],
    again: Mapping[int, AgentCall],
    trace: ChildTrace,
    clock: Clock,
) -> tuple[list[AgentRow], list[FinishedRow], int]:
    """The calls of one round, the rows that cannot be mapped, and how many rows are left for another round."""
    begun = _may_have_begun(batch, items)
    rows: list[AgentRow] = []
    refused: list[FinishedRow] = []
    size = remaining = 0
    for row, item in sorted(items.items()):
        began_ms = clock.now_ms()
        try:
            agent_row, text = _agent_row(batch, row, item, again.get(row), begun.get(row, []))
        except MappingError as error:
            refused.append(batch.finish_uncalled(row, batch.cells(item), mapping_failed(str(error))))
            continue
        trace.mapped(row, began_ms)
        size += len(text)
        if rows and size > MOST_ROUND_BYTES:
            remaining += 1
        else:
            rows.append(agent_row)
    return rows, refused, remaining


def _traced(admitted: MapRowsResponse, trace: ChildTrace) -> MapRowsResponse:
    """The rows with the trace of this round; a row that is called again keeps its first one."""
    rows = []
    for row in admitted.rows:
        call = row.call.model_copy(update={"trace": row.call.trace or trace.of_call(row.call.row)})
        rows.append(row.model_copy(update={"call": call}))
    return admitted.model_copy(update={"rows": rows})


def _may_have_begun(batch: Batch, rows: Collection[int]) -> dict[int, list[int]]:
    """For each row, the places in ``resume_from`` of the executions that left it unfinished, the oldest first.

    Each execution gave its first attempt at a row the name that the oldest one had given it. An execution that finished
    a row has already taken earlier attempts into account.
    """
    begun: dict[int, list[int]] = {row: [] for row in rows}
    left = set(rows)
    for place, earlier in enumerate(batch.plan.resume_from if rows else []):
        for finished in batch.rows_of(earlier).finished(min(rows), max(rows)):
            left -= set(range(finished.first, finished.last + 1))
        if earlier.batch_name:
            for row in left:
                begun[row].insert(0, place)
    return begun


def _agent_row(
    batch: Batch, row: int, item: dict[str, str], again: AgentCall | None, earlier: list[int]
) -> tuple[AgentRow, bytes]:
    """The row's first call, or ``again``, with its input, and the input as JSON. Raises ``MappingError``."""
    row_input = batch.input_mapper.map(batch.cells(item))
    sent: dict[str, Any] = batch.kind.request(batch.call(row, again.attempt if again else 1), row_input)
    text = render_json(sent)
    size = len(text.encode())
    if size > MOST_INPUT_BYTES:
        raise MappingError(f"the agent's input has {size:,} bytes and can have up to {MOST_INPUT_BYTES:,}")
    call = again or _first_call(batch, row, input_hash(row_input), size, earlier)
    LOGGER.debug("row sent", extra={"row_id": row, "attempt": call.attempt, "sent": sent})
    # Parsed from the rendered text, because half an emoji in a cell would break Lambda's own JSON.
    agent_row = AgentRow(call=call, input=parse_json(text))
    return agent_row, agent_row.model_dump_json().encode()


def _first_call(batch: Batch, row: int, row_hash: str, input_bytes: int, earlier: list[int]) -> AgentCall:
    call = AgentCall(
        row=row,
        attempt=1,
        timeout_seconds=batch.plan.config.execution_config.timeout_seconds,
        hash=row_hash,
        name="",
        agent_arn=batch.plan.target.arn,
        input_bytes=input_bytes,
        earlier=earlier,
    )
    return call.model_copy(update={"name": execution_name(batch, call)})


def execution_name(batch: Batch, call: AgentCall) -> str:
    """The execution name of an attempt at a row. It is always the same, so Step Functions starts it only once."""
    plan = batch.plan
    if not call.earlier:
        return agent_execution_name(plan.config.batch_name, plan.execution.arn, call.row, call.attempt)
    earlier = plan.resume_from[call.earlier[0]]
    arn = f"{plan.execution.arn.rpartition(':')[0]}:{earlier.name}"
    return agent_execution_name(earlier.batch_name, arn, call.row, call.earlier_attempt)
