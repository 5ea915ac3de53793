"""Announces the end of an execution."""

from __future__ import annotations

from typing import Any

from foundation import invocation
from foundation.aws import factories
from row_batches.run import wiring
from row_batches.run.end_messages import EndedRun
from row_batches.run.notify import notify
from row_batches.run.settings import NotifySettings


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> None:
    """``EndedRun`` (row_batches.run.end_messages); answers nothing."""
    ended = EndedRun.model_validate(event)
    settings = invocation.begin(NotifySettings, context, execution_id=ended.execution)
    notify(
        ended,
        batches=wiring.batches(settings.results_bucket),
        notifier=factories.notifier(settings.notification_topic_arn),
    )
