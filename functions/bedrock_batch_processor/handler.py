"""Creates a Bedrock batch job, or estimates one."""

from __future__ import annotations

from typing import Any

from batch_processor.app.bedrock.process import process
from batch_processor.runtime import wiring, wiring_bedrock
from batch_processor.runtime.settings_bedrock import BedrockBatchProcessorSettings


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """``{"jobId"}``, from the admin API, or the older ``{"config", "dryRun"}``; answers with the body of the API."""
    settings = wiring.begin(BedrockBatchProcessorSettings, context, job_id=event.get("jobId"))
    services = wiring_bedrock.create_services(settings, context)
    return process(event, services, default_model=settings.default_model)
