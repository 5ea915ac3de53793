"""The admin API: creates, estimates, lists, follows, stops and retries Bedrock batch jobs."""

from __future__ import annotations

from typing import Any

from bedrock_batches import wiring
from bedrock_batches.settings import BedrockAdminApiSettings
from foundation import invocation


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """An HTTP API's event, payload format 2.0, to its response."""
    invocation.begin(BedrockAdminApiSettings, context, route=event.get("routeKey"))
    response: dict[str, Any] = wiring.admin_app().resolve(event, context)
    return response
