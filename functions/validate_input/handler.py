"""Checks the document and the CSV, stages the rows and plans the execution."""

from __future__ import annotations

from typing import Any

from batch_processor.app.validate_input import validate_input
from batch_processor.domain.messages import ValidateRequest
from batch_processor.runtime import wiring, wiring_input
from batch_processor.runtime.settings import ValidateInputSettings


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """``ValidateRequest`` to ``ValidateResponse`` (domain.messages); raises InvalidInputError."""
    request = ValidateRequest.model_validate(event)
    settings = wiring.begin(ValidateInputSettings, context, execution_id=request.execution.name)
    response = validate_input(
        request,
        inputs=wiring_input.inputs(),
        work=wiring_input.work(settings.results_bucket),
        targets=wiring_input.targets(settings.registry_table),
        tools=wiring_input.tools(),
        input_buckets=settings.input_buckets,
        work_retention_days=settings.work_retention_days,
    )
    return response.model_dump(mode="json")
