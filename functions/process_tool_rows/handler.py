"""Runs a batch of rows through a tool or an Express agent."""

from __future__ import annotations

from typing import Any

from batch_processor.app.process_tool_rows import process_tool_rows
from batch_processor.app.work import execution_of
from batch_processor.domain.messages import ToolRowsRequest
from batch_processor.runtime import wiring
from batch_processor.runtime.settings import ProcessToolRowsSettings


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """``ToolRowsRequest`` to ``ToolRowsResponse`` (domain.messages)."""
    wiring.use_one_arena()
    request = ToolRowsRequest.model_validate(event)
    settings = wiring.begin(ProcessToolRowsSettings, context, execution_id=execution_of(request.BatchInput.plan_key))
    response = process_tool_rows(
        request,
        batches=wiring.batches(settings.results_bucket),
        invoker=wiring.invoker(),
        dead_letters=wiring.dead_letters(settings.dead_letter_queue_url),
        clock=wiring.clock,
        deadline=wiring.InvocationDeadline(context),
    )
    return response.model_dump(mode="json")
