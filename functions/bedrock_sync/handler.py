"""Merges content from the stream of VentureOS-Violations into the lake; replays what could not be merged."""

from __future__ import annotations

from typing import Any

from bedrock_batches.results.settle import heal
from bedrock_batches.settings import BedrockSyncSettings
from bedrock_batches.sync.sync_lake import compare, replay, sync_stream
from bedrock_batches.wiring_results import settle_services
from foundation import invocation


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """Handle a batch of stream records or one of these messages; returns the outcome.

    ``{"heal": true}``: merge content that could not be merged before, and settle jobs. ``{"replay": "<key>"}``: merge
    an object under sync-failed/, or all of them with "". ``{"compare": "<cursor>"}``: merge a page of the table, the
    first one with "".
    """
    settings = invocation.begin(BedrockSyncSettings, context)
    services = settle_services(settings, context)
    if event.get("heal"):
        return heal(services)
    if "replay" in event:
        return replay(services.sync, str(event["replay"])).document()
    if "compare" in event:
        return compare(str(event["compare"]), services.sync)
    return sync_stream(event["Records"], services.sync)
