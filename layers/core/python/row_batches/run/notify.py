"""Announces the end of an execution, and puts together what exists of one that was stopped.

Driven by EventBridge, "Step Functions Execution Status Change"
(https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html), which delivers at least once: an
event that comes twice sends the same message twice, and aggregates once.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from foundation.errors import ObjectNotFoundError, ServiceUnavailableError
from foundation.json_text import parse_json
from foundation.ports import Clock, Deadline, Metrics, Notifier
from row_batches.document.batch_config import MAX_TOOL_TIMEOUT_SECONDS
from row_batches.document.plan import Keys
from row_batches.rows.work import Brake
from row_batches.run.aggregate_results import RESERVE_SECONDS, STOPPED, Ending, aggregate_results
from row_batches.run.batch import Batch, Batches
from row_batches.run.messages import AggregateAction, AggregateRequest
from row_batches.run.ownership import Ownership
from row_batches.run.ports import DeadLetters

LOGGER = logging.getLogger("batch_processor.notify")

STOPPED_STATUSES = frozenset({"ABORTED", "TIMED_OUT"})
WRITE_SECONDS = 30
POLL_SECONDS = 2.0
MOST_DETAIL_CHARACTERS = 10_000
"""Of an error's cause in the message: one message has 256 KiB."""
NAME = re.compile(r"[A-Za-z0-9 _.-]{1,128}")
"""What a batch or a target can be called: nothing else of an input that was refused goes into an attribute."""


class ExecutionDetail(BaseModel):
    """The part of the event's ``detail`` that matters here; AWS adds to it from time to time."""

    model_config = ConfigDict(extra="ignore")

    executionArn: str  # noqa: N815 (AWS's name)
    name: str
    status: str
    input: str | None = None
    """JSON; EventBridge leaves out one that is too large."""
    output: str | None = None
    error: str | None = None
    cause: str | None = None
    stopDate: int | None = None  # noqa: N815 (AWS's name)
    """Milliseconds since the epoch."""


class ExecutionEvent(BaseModel):
    model_config = ConfigDict(extra="ignore")

    detail: ExecutionDetail


def notify(
    event: ExecutionEvent,
    *,
    batches: Batches,
    dead_letters: DeadLetters,
    metrics: Metrics,
    notifier: Notifier,
    ownership: Ownership,
    clock: Clock,
    deadline: Deadline,
) -> None:
    """Publish one message. Raises ``ServiceUnavailableError`` when a stopped run needs another call to be put together.

    Lambda repeats a call from EventBridge that fails; the aggregation then goes on where it was.
    """
    detail = event.detail
    keys = Keys(detail.name)
    # An input that was refused has no plan.
    batch = batches.open(keys.plan) if batches.objects.exists(keys.plan) else None
    if batch is not None and detail.status in STOPPED_STATUSES:
        stopped_ms = detail.stopDate or clock.now_ms()
        _aggregate_stopped(batch, stopped_ms, batches, dead_letters, metrics, ownership, clock, deadline)
    summary = _read_summary(batches, keys) if batch is not None else None
    body = summary_body(summary) if summary else event_body(detail, batch)
    if batch is not None and not batch.plan.config.notification_config.include_details:
        body.pop("first_failures", None)
    notifier.publish(
        f"{body['batch_name']}: {body['status']}",
        body,
        {
            "batch_name": body["batch_name"],
            "execution_id": body["execution_id"],
            "status": body["status"],
            "target": body["target"],
            "rows_processed": body["rows_processed"],
            "rows_failed": body["rows_failed"],
        },
    )
    LOGGER.info("notification sent", extra={"status": body["status"]})


def _aggregate_stopped(
    batch: Batch,
    stopped_ms: int,
    batches: Batches,
    dead_letters: DeadLetters,
    metrics: Metrics,
    ownership: Ownership,
    clock: Clock,
    deadline: Deadline,
) -> None:
    """Stop the workers, wait until they have written what they had begun, and put the rows together.

    One call may be too short for the longest row. The wait is counted from the stop, so that the next call does not
    begin it anew for a worker that was killed and stays listed.
    """
    reason = "the execution was stopped"
    batch.work.pull_brake(Brake(reason, STOPPED, reason))
    row_seconds = min(batch.plan.config.execution_config.timeout_seconds, MAX_TOOL_TIMEOUT_SECONDS)
    until_ms = stopped_ms + (row_seconds + WRITE_SECONDS) * 1000
    while ownership.wait_for_rows(batch.plan.execution.name) and clock.now_ms() < until_ms:
        if deadline.remaining_seconds() <= RESERVE_SECONDS + POLL_SECONDS:
            raise ServiceUnavailableError("rows of the stopped execution are still in flight: call again")
        clock.sleep(POLL_SECONDS)
    request = AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=batch.work.keys.plan)
    while True:
        answer = aggregate_results(
            request,
            batches=batches,
            dead_letters=dead_letters,
            metrics=metrics,
            ownership=ownership,
            clock=clock,
            deadline=deadline,
            ending=Ending.OF_STOPPED_RUN,
        )
        if answer.done:
            return
        if deadline.remaining_seconds() <= RESERVE_SECONDS:
            raise ServiceUnavailableError("the rows of the stopped execution are not all put together: call again")


def _read_summary(batches: Batches, keys: Keys) -> dict[str, Any] | None:
    try:
        summary: dict[str, Any] = orjson.loads(batches.objects.get(keys.summary))
    except ObjectNotFoundError:
        return None
    return summary


def summary_body(summary: dict[str, Any]) -> dict[str, Any]:
    """The message of a run that left a summary."""
    failed = summary["failed"] + summary["timed_out"]
    names = (
        "output_s3_uri",
        "failed_rows_s3_uri",
        "summary_s3_uri",
        "total_rows",
        "succeeded",
        "failed",
        "timed_out",
        "not_attempted",
        "duration_seconds",
        "cost",
        "warnings",
        "first_failures",
    )
    body = {
        "batch_name": summary["batch_name"],
        "execution_id": summary["execution_id"],
        "execution_arn": summary["execution_arn"],
        "status": summary["status"],
        "target": summary["target"],
        "rows_processed": summary["total_rows"] - summary["not_attempted"],
        "rows_failed": failed,
        **{name: summary[name] for name in names},
    }
    if summary["error"]:
        body["error"] = summary["error"]
        body["cause"] = (summary["brake"] or {}).get("message") or (summary["brake"] or {}).get("reason", "")
    return body


def event_body(detail: ExecutionDetail, batch: Batch | None) -> dict[str, Any]:
    """The message of a run without a summary: refused before any row ran, a dry run, or broken on the way."""
    document = _parsed(detail.output)
    batch_name, target = (batch.plan.config.batch_name, batch.plan.target.name) if batch else _names_given(detail)
    body: dict[str, Any] = {
        "batch_name": batch_name,
        "execution_id": detail.name,
        "execution_arn": detail.executionArn,
        "status": str(document.get("status") or detail.status),
        "target": target,
        "rows_processed": 0,
        "rows_failed": 0,
    }
    if detail.error:
        body["error"] = detail.error
    if detail.cause:
        body["cause"] = detail.cause[:MOST_DETAIL_CHARACTERS]
    if document:
        body["output"] = document
    return body


def _names_given(detail: ExecutionDetail) -> tuple[str, str]:
    """The batch's name and the target's of an input without a plan, so that subscribers' filters find them."""
    document = _parsed(detail.input)
    target = _name_in(document.get("target"), "name")
    return _name_in(document.get("notification_config"), "batch_name") or target or detail.name, target


def _name_in(section: Any, key: str) -> str:
    name = section.get(key) if isinstance(section, dict) else None
    return name if isinstance(name, str) and NAME.fullmatch(name) else ""


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        document = parse_json(text or "{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
