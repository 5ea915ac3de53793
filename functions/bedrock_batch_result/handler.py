"""Takes the results of Bedrock batch inference into VentureOS-Violations."""

from __future__ import annotations

from typing import Any

from batch_processor.app.bedrock.take_results import take_results
from batch_processor.runtime import wiring
from batch_processor.runtime.settings_bedrock import BedrockBatchResultSettings
from batch_processor.runtime.wiring_bedrock_results import result_services


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """An S3 notification; answers what became of each object."""
    settings = wiring.begin(BedrockBatchResultSettings, context)
    taken = take_results(event, result_services(settings, context))
    return {"objects": [each.document() for each in taken]}
