"""Takes the results of Bedrock batch inference into VentureOS-Violations."""

from __future__ import annotations

from typing import Any

from bedrock_batches.results.take_results import take_results
from bedrock_batches.settings import BedrockBatchResultSettings
from bedrock_batches.wiring_results import result_services
from foundation import invocation


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """An S3 notification; answers what became of each object."""
    settings = invocation.begin(BedrockBatchResultSettings, context)
    taken = take_results(event, result_services(settings, context))
    return {"objects": [each.document() for each in taken]}
