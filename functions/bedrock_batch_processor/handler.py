"""Creates a Bedrock batch job, or estimates one."""

from __future__ import annotations

from typing import Any

from bedrock_batches import wiring
from bedrock_batches.api.process import process
from bedrock_batches.settings import BedrockBatchProcessorSettings
from foundation import invocation


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """Handle ``{"jobId"}`` from the admin API, or the older ``{"config", "dryRun"}``; returns the body of the API."""
    settings = invocation.begin(BedrockBatchProcessorSettings, context, job_id=event.get("jobId"))
    services = wiring.create_services(settings, context)
    return process(event, services, default_model=settings.default_model)
