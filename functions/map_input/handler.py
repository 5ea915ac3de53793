"""Creates an agent's calls from rows."""

from __future__ import annotations

from typing import Any

from foundation import invocation
from row_batches.rows.work import execution_of
from row_batches.run import wiring
from row_batches.run.agent_messages import MapRowsRequest
from row_batches.run.map_input import map_rows
from row_batches.run.settings import WorkerSettings


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """``MapRowsRequest`` to ``MapRowsResponse`` (row_batches.run.agent_messages)."""
    request = MapRowsRequest.model_validate(event)
    settings = invocation.begin(
        WorkerSettings,
        context,
        execution_id=execution_of(request.BatchInput.plan_key),
        row_id=request.Items[0].get("r"),
    )
    response = map_rows(
        request,
        batches=wiring.batches(settings.results_bucket, settings.results_table, settings.answers_table),
        dead_letters=wiring.dead_letters(settings.dead_letter_queue),
        notes=wiring.notes(settings.runs_table),
        starts=wiring.starts(settings.runs_table),
        clock=invocation.clock,
    )
    return response.model_dump(mode="json")
