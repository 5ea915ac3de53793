"""Starts the state machine that finishes ended runs, and reopens those that were redriven."""

from __future__ import annotations

from typing import Any

from foundation import invocation
from foundation.aws import factories
from row_batches.run import wiring
from row_batches.run.finish_run import EVENT, finish_run
from row_batches.run.settings import FinishRunSettings


def handler(event: dict[str, Any], context: invocation.LambdaContext) -> None:
    """An EventBridge event "Step Functions Execution Status Change", or a schedule's; answers nothing."""
    told = EVENT.validate_python(event)
    settings = invocation.begin(FinishRunSettings, context)
    finish_run(
        told,
        executions=wiring.executions(settings.state_machine_arn, settings.finish_machine_arn),
        runs=wiring.runs(settings.runs_table),
        objects=factories.objects(settings.results_bucket),
        clock=invocation.clock,
    )
