"""Ends an agent's attempt at a row: finishes the row, or asks for another attempt."""

from __future__ import annotations

from typing import Any

from foundation import invocation
from row_batches.rows.work import execution_of
from row_batches.run import wiring
from row_batches.run.agent_messages import MapOutputRequest
from row_batches.run.map_output import map_output
from row_batches.run.settings import WorkerSettings


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """``MapOutputRequest`` to ``MapOutputResponse`` (row_batches.run.agent_messages)."""
    request = MapOutputRequest.model_validate(event)
    settings = invocation.begin(
        WorkerSettings, context, execution_id=execution_of(request.BatchInput.plan_key), row_id=request.Row.get("r")
    )
    response = map_output(
        request,
        batches=wiring.batches(settings.results_bucket, settings.results_table, settings.answers_table),
        dead_letters=wiring.dead_letters(settings.dead_letter_queue),
        notes=wiring.notes(settings.runs_table),
        starts=wiring.starts(settings.runs_table),
    )
    return response.model_dump(mode="json", exclude_none=True)
