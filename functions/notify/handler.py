"""Announces the end of an execution; puts together what exists of one that was stopped."""

from __future__ import annotations

from typing import Any

from batch_processor.app.notify import ExecutionEvent, notify
from batch_processor.runtime import wiring
from batch_processor.runtime.settings import NotifySettings


def handler(event: dict[str, Any], context: wiring.LambdaContext) -> None:
    """An EventBridge event "Step Functions Execution Status Change"; answers nothing."""
    wiring.use_one_arena()
    ended = ExecutionEvent.model_validate(event)
    settings = wiring.begin(NotifySettings, context, execution_id=ended.detail.name)
    notify(
        ended,
        batches=wiring.batches(settings.results_bucket),
        metrics=wiring.metrics(settings.metrics_namespace),
        notifier=wiring.notifier(settings.notification_topic_arn),
        clock=wiring.clock,
        deadline=wiring.InvocationDeadline(context),
    )
