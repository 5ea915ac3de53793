"""Writes the results of Bedrock batch inference to VentureOS-Violations."""

from __future__ import annotations

from typing import Any

from bedrock_batches.results.messages import ReparseJob, take_objects_message
from bedrock_batches.results.reparse import reparse
from bedrock_batches.results.take_results import take_objects
from bedrock_batches.settings import BedrockBatchResultSettings
from bedrock_batches.wiring_results import result_services
from foundation import invocation


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """Handle an S3 notification or ``{"takeObjects": [<key>, …]}``; returns the outcome of each object. Or handle
    ``{"reparse": {"jobId", "dryRun"}}``; returns how many stored answers can be read now."""
    settings = invocation.begin(BedrockBatchResultSettings, context)
    services = result_services(settings, context)
    if "reparse" in event:
        asked = ReparseJob.model_validate(event).reparse
        return reparse(asked.job_id, services, dry_run=asked.dry_run, after=asked.after).document()
    message = take_objects_message(event, settings.data_bucket)
    taken = take_objects(message.keys, services)
    return {"objects": [each.document() for each in taken]}
