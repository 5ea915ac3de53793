"""Finds missing rows, and writes the output from the finished ones. Before that, takes the steps of a trial."""

from __future__ import annotations

from typing import Any

from foundation import invocation
from foundation.aws import factories
from row_batches.rows.work import execution_of
from row_batches.run import wiring
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.end_messages import AggregateRequest
from row_batches.run.settings import AggregateResultsSettings


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> dict[str, Any]:
    """``AggregateRequest`` to ``AggregateResponse`` or ``TrialResponse`` (row_batches.run.end_messages)."""
    invocation.limit_heap()
    request = AggregateRequest.model_validate(event)
    settings = invocation.begin(AggregateResultsSettings, context, execution_id=execution_of(request.plan_key))
    batches = wiring.batches(settings.results_bucket, settings.results_table)
    if request.action.of_trial:
        from row_batches.run.trial import trial_step  # noqa: PLC0415 (few runs have a trial)

        notifier = factories.notifier(settings.notification_topic_arn)
        done = trial_step(request, batches.open(request.plan_key), wiring.runs(settings.runs_table), notifier)
        return done.model_dump(mode="json")
    response = aggregate_results(
        request,
        batches=batches,
        dead_letters=wiring.dead_letters(settings.dead_letter_queue),
        metrics=factories.metrics(settings.metrics_namespace),
        ownership=wiring.ownership(settings.runs_table, context),
        redrives=wiring.redrives(),
        clock=invocation.clock,
        deadline=invocation.InvocationDeadline(context),
    )
    return response.model_dump(mode="json")
