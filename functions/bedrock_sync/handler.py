"""Merges content from the stream of VentureOS-Violations into the lake; replays what could not be merged."""

from __future__ import annotations

from typing import Any

from batch_processor.app.bedrock.sync_lake import SyncServices, compare, replay, sync_stream
from batch_processor.runtime import wiring, wiring_bedrock
from batch_processor.runtime.settings_bedrock import BedrockSyncSettings


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """A batch of stream records; ``{"replay": "<key>"}`` for an object under sync-failed/; or, for a page of the table,
    ``{"compare": "<cursor>"}``, which is empty for the first. Answers counts."""
    settings = wiring.begin(BedrockSyncSettings, context)
    services = SyncServices(
        lake=wiring_bedrock.lake(settings),
        contents=wiring_bedrock.violations(settings.violations_table),
        leases=wiring_bedrock.leases(settings.batch_jobs_table),
        objects=wiring.objects(settings.data_bucket),
        metrics=wiring.metrics(settings.metrics_namespace),
        clock=wiring.clock,
        deadline=wiring.InvocationDeadline(context),
        owner=wiring_bedrock.call_owner(context),
    )
    if "replay" in event:
        return replay(str(event["replay"]), services).document()
    if "compare" in event:
        return compare(str(event["compare"]), services)
    return sync_stream(event["Records"], services).document()
