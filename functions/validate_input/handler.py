"""Checks the document and the CSV, stages the rows and plans the execution."""

from __future__ import annotations

from typing import Any

from foundation import invocation
from row_batches.run import wiring, wiring_input
from row_batches.run.input_messages import ValidateRequest
from row_batches.run.settings import ValidateInputSettings
from row_batches.run.validate_input import validate_input


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """``ValidateRequest`` to ``ValidateResponse`` (row_batches.run.input_messages); raises InvalidInputError.

    Call it again until ``done``.
    """
    request = ValidateRequest.model_validate(event)
    settings = invocation.begin(ValidateInputSettings, context, execution_id=request.execution.name)
    response = validate_input(
        request,
        inputs=wiring_input.inputs(),
        work=wiring_input.work(settings.results_bucket),
        targets=wiring_input.targets(settings.registry_table),
        functions=wiring_input.functions(),
        machines=wiring_input.machines(),
        runs=wiring.runs(settings.runs_table),
        executions=wiring_input.executions(),
        input_buckets=settings.input_buckets,
        outputs=wiring.outputs(settings.results_bucket),
        output_buckets=settings.output_buckets,
        work_retention_days=settings.work_retention_days,
        deadline=invocation.InvocationDeadline(context),
    )
    return response.model_dump(mode="json")
