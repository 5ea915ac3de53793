"""Operations on runs with a trial, which try some rows first and wait until somebody approves the others."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError as RefusedByAwsError
from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.executions import name_of
from foundation.aws.s3 import S3ObjectStore
from row_batches.run.runs import Run
from row_batches.run.runs_dynamodb import DynamoDbRuns
from row_batches.run.trial import read_report
from row_batches.run.trial_report import TrialReport

GONE = frozenset({"TaskDoesNotExist", "TaskTimedOut", "InvalidToken"})
"""Errors of a token whose task does not wait any more
(https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html)."""


def with_trial(document: dict[str, Any], rows: int) -> dict[str, Any]:
    """The document with a trial of this many rows, after which the run waits for an approval."""
    asked = document.get("trial")
    own = asked if isinstance(asked, dict) else {}
    return {**document, "trial": {**own, "rows": rows, "approval": "required"}}


class Answered(BaseModel):
    """The answer to a run that waited. ``report`` is that of its trial."""

    model_config = ConfigDict(frozen=True)

    execution: str
    approved: bool
    report: TrialReport | None


def trial_report(deployment: Deployment, execution: str) -> TrialReport:
    """The report of a run's trial. Raises ClientError if it has none, or none yet."""
    name = name_of(execution)
    report = read_report(S3ObjectStore(deployment.client("s3"), deployment.results_bucket), name)
    if report is None:
        raise ClientError(f"{name} has no report of a trial: it has no trial, or its trial has not ended yet.")
    return report


def answer(deployment: Deployment, execution: str, *, approved: bool) -> Answered:
    """Answer a run that waits after its trial: run its other rows, or end it with the rows of the trial.

    Raises ClientError if there is no such run, or if it does not wait.
    """
    name = name_of(execution)
    run = DynamoDbRuns(deployment.client("dynamodb"), deployment.runs_table).get(name)
    if run is None:
        raise ClientError(f"There is no run {name}.")
    # Before the answer, so that an error always says that the run was not answered.
    report = read_report(S3ObjectStore(deployment.client("s3"), deployment.results_bucket), name)
    if not send_answer(deployment.client("stepfunctions"), run, approved=approved):
        raise ClientError(f"{name} does not wait for an approval: its state is {run.shown_state}.")
    return Answered(execution=name, approved=approved, report=report)


def send_answer(states: Any, run: Run, *, approved: bool) -> bool:
    """Answer the run if it waits; returns whether it did."""
    if run.approval is None or run.ended_at is not None:
        return False
    try:
        states.send_task_success(taskToken=run.approval.token, output=json.dumps({"approved": approved}))
    except RefusedByAwsError as refused:
        if refused.response["Error"]["Code"] not in GONE:
            raise
        return False
    return True
