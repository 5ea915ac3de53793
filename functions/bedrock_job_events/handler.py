"""Follows Bedrock batch jobs: their status, their queue, their results, their end."""

from __future__ import annotations

from typing import Any

from bedrock_batches.results.reconcile import reconcile_event
from bedrock_batches.settings import BedrockJobEventsSettings
from bedrock_batches.wiring_results import reconcile_services
from foundation import invocation


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """Handle a "Batch Inference Job State Change", ``{"jobId"}`` or a schedule; returns the new state of the jobs."""
    settings = invocation.begin(BedrockJobEventsSettings, context)
    done = reconcile_event(event, reconcile_services(settings, context))
    return {"jobs": [each.document() for each in done]}
