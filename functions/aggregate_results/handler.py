"""Finds missing rows, and puts the finished ones together."""

from __future__ import annotations

from typing import Any

from batch_processor.app.aggregate_results import aggregate_results
from batch_processor.app.work import execution_of
from batch_processor.domain.messages import AggregateRequest
from batch_processor.runtime import wiring
from batch_processor.runtime.settings import AggregateResultsSettings


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """``AggregateRequest`` to ``AggregateResponse`` (domain.messages)."""
    wiring.use_one_arena()
    request = AggregateRequest.model_validate(event)
    settings = wiring.begin(AggregateResultsSettings, context, execution_id=execution_of(request.plan_key))
    response = aggregate_results(
        request,
        batches=wiring.batches(settings.results_bucket),
        dead_letters=wiring.dead_letters(settings.dead_letter_queue_url),
        metrics=wiring.metrics(settings.metrics_namespace),
        clock=wiring.clock,
        deadline=wiring.InvocationDeadline(context),
    )
    return response.model_dump(mode="json")
