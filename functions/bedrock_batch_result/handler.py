"""Takes the results of Bedrock batch inference into VentureOS-Violations."""

from __future__ import annotations

from typing import Any

from bedrock_batches.results.messages import take_objects_message
from bedrock_batches.results.take_results import take_objects
from bedrock_batches.settings import BedrockBatchResultSettings
from bedrock_batches.wiring_results import result_services
from foundation import invocation


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """An S3 notification, or ``{"takeObjects": [<key>, …]}``; answers what became of each object."""
    settings = invocation.begin(BedrockBatchResultSettings, context)
    message = take_objects_message(event, settings.data_bucket)
    taken = take_objects(message.keys, result_services(settings, context))
    return {"objects": [each.document() for each in taken]}
