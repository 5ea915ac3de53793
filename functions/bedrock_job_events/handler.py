"""Follows Bedrock batch jobs: their status, their queue, their results, their end."""

from __future__ import annotations

from typing import Any

from batch_processor.app.bedrock.reconcile import reconcile_event
from batch_processor.runtime import wiring
from batch_processor.runtime.settings_bedrock import BedrockJobEventsSettings
from batch_processor.runtime.wiring_bedrock_results import reconcile_services


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """EventBridge's "Batch Inference Job State Change", ``{"jobId"}``, or a schedule; answers what the jobs are now."""
    settings = wiring.begin(BedrockJobEventsSettings, context)
    done = reconcile_event(event, reconcile_services(settings, context))
    return {"jobs": [each.document() for each in done]}
