"""Merges content from the stream of VentureOS-Violations into the lake; replays what could not be merged."""

from __future__ import annotations

from typing import Any

from bedrock_batches import wiring
from bedrock_batches.settings import BedrockSyncSettings
from bedrock_batches.sync.sync_lake import SyncServices, compare, replay, sync_stream
from foundation import invocation
from foundation.aws import factories


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """A batch of stream records; ``{"replay": "<key>"}`` for an object under sync-failed/, with "" for all of them; or
    ``{"compare": "<cursor>"}`` for a page of the table, with "" for the first. Answers counts."""
    settings = invocation.begin(BedrockSyncSettings, context)
    services = SyncServices(
        lake=wiring.lake(settings),
        contents=wiring.violations(settings.violations_table),
        leases=wiring.leases(settings.batch_jobs_table),
        objects=factories.objects(settings.data_bucket),
        metrics=factories.metrics(settings.metrics_namespace),
        clock=invocation.clock,
        deadline=invocation.InvocationDeadline(context),
        owner=invocation.call_owner(context),
    )
    if "replay" in event:
        return replay(services, str(event["replay"])).document()
    if "compare" in event:
        return compare(str(event["compare"]), services)
    return sync_stream(event["Records"], services)
