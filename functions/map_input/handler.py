"""Makes the first call of an agent from a row."""

from __future__ import annotations

from typing import Any

from foundation import invocation
from row_batches.rows.work import execution_of
from row_batches.run import wiring
from row_batches.run.map_input import map_input
from row_batches.run.messages import MapInputRequest
from row_batches.run.settings import MapInputSettings


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """``MapInputRequest`` to ``MapInputResponse`` (row_batches.run.messages).

    Raises MappingError, NotAttemptedError, TakenOverError.
    """
    request = MapInputRequest.model_validate(event)
    settings = invocation.begin(
        MapInputSettings, context, execution_id=execution_of(request.BatchInput.plan_key), row_id=request.Row.get("r")
    )
    response = map_input(request, batches=wiring.batches(settings.results_bucket), clock=invocation.clock)
    return response.model_dump(mode="json")
