"""The admin API: creates, estimates, lists, follows, stops and retries Bedrock batch jobs."""

from __future__ import annotations

from typing import Any

from batch_processor.runtime import wiring, wiring_bedrock
from batch_processor.runtime.settings_bedrock import BedrockAdminApiSettings


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """An HTTP API's event, payload format 2.0, to its response."""
    wiring.begin(BedrockAdminApiSettings, context, route=event.get("routeKey"))
    response: dict[str, Any] = wiring_bedrock.admin_app().resolve(event, context)
    return response
