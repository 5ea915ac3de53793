"""Announces the end of an execution; puts together what exists of one that was stopped."""

from __future__ import annotations

from typing import Any

from foundation import invocation
from foundation.aws import factories
from row_batches.run import wiring
from row_batches.run.notify import ExecutionEvent, notify
from row_batches.run.settings import NotifySettings


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> None:
    """An EventBridge event "Step Functions Execution Status Change"; answers nothing."""
    invocation.use_one_arena()
    ended = ExecutionEvent.model_validate(event)
    settings = invocation.begin(NotifySettings, context, execution_id=ended.detail.name)
    notify(
        ended,
        batches=wiring.batches(settings.results_bucket),
        dead_letters=wiring.dead_letters(settings.dead_letter_queue_url),
        metrics=factories.metrics(settings.metrics_namespace),
        ownership=wiring.ownership(settings.runs_table, context),
        notifier=factories.notifier(settings.notification_topic_arn),
        clock=invocation.clock,
        deadline=invocation.InvocationDeadline(context),
    )
