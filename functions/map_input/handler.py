"""Makes the first call of an agent from a row."""

from __future__ import annotations

from typing import Any

from batch_processor.app.map_input import map_input
from batch_processor.app.work import execution_of
from batch_processor.domain.messages import MapInputRequest
from batch_processor.runtime import wiring
from batch_processor.runtime.settings import MapInputSettings


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """``MapInputRequest`` to ``MapInputResponse`` (domain.messages).

    Raises MappingError, NotAttemptedError, TakenOverError.
    """
    request = MapInputRequest.model_validate(event)
    settings = wiring.begin(
        MapInputSettings, context, execution_id=execution_of(request.BatchInput.plan_key), row_id=request.Row.get("r")
    )
    response = map_input(request, batches=wiring.batches(settings.results_bucket), clock=wiring.clock)
    return response.model_dump(mode="json")
