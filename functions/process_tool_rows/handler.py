"""Runs a batch of rows through a tool or an Express agent."""

from __future__ import annotations

from typing import Any

from foundation import invocation
from row_batches.rows.work import execution_of
from row_batches.run import wiring
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.settings import WorkerSettings
from row_batches.run.tool_messages import ToolRowsRequest


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """``ToolRowsRequest`` to ``ToolRowsResponse`` (row_batches.run.tool_messages)."""
    invocation.limit_heap()
    request = ToolRowsRequest.model_validate(event)
    settings = invocation.begin(WorkerSettings, context, execution_id=execution_of(request.BatchInput.plan_key))
    response = process_tool_rows(
        request,
        batches=wiring.batches(settings.results_bucket, settings.results_table, settings.answers_table),
        invoker=wiring.invoker(),
        dead_letters=wiring.dead_letters(settings.dead_letter_queue),
        ownership=wiring.ownership(settings.runs_table, context),
        clock=invocation.clock,
        deadline=invocation.InvocationDeadline(context),
    )
    return response.model_dump(mode="json")
