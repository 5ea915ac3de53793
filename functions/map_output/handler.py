"""Ends an attempt of an agent at a row."""

from __future__ import annotations

from typing import Any

from batch_processor.app.map_output import map_output
from batch_processor.app.work import execution_of
from batch_processor.domain.messages import MapOutputRequest
from batch_processor.runtime import wiring
from batch_processor.runtime.settings import MapOutputSettings


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """``MapOutputRequest`` to ``MapOutputResponse`` (domain.messages); raises RetryableAnswerError."""
    request = MapOutputRequest.model_validate(event)
    settings = wiring.begin(
        MapOutputSettings, context, execution_id=execution_of(request.BatchInput.plan_key), row_id=request.Row.get("r")
    )
    response = map_output(
        request,
        batches=wiring.batches(settings.results_bucket),
        dead_letters=wiring.dead_letters(settings.dead_letter_queue_url),
        clock=wiring.clock,
    )
    return response.model_dump(mode="json")
