"""Announces the end of an execution: one message to the topic.

The finishing machine calls it once for each ending, when the output is complete or when it is clear that there is none.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson

from foundation.errors import ObjectNotFoundError
from foundation.ports import Notifier
from row_batches.document.plan import Keys
from row_batches.run.batch import Batch, Batches
from row_batches.run.causes import without_texts
from row_batches.run.messages import EndedRun

LOGGER = logging.getLogger("batch_processor.notify")


def notify(ended: EndedRun, *, batches: Batches, notifier: Notifier) -> None:
    """Publish one message. It comes from the run's summary if there is one."""
    # A refused input has no plan.
    batch = batches.open(ended.plan_key) if batches.objects.exists(ended.plan_key) else None
    summary = _read_summary(batches, Keys(ended.execution)) if batch is not None else None
    body = summary_body(summary) if summary else ended_body(ended, batch)
    if batch is not None and not batch.plan.config.notification_config.include_details:
        body.pop("first_failures", None)
        if "failures_by_cause" in body:
            body["failures_by_cause"] = without_texts(body["failures_by_cause"])
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


def _read_summary(batches: Batches, keys: Keys) -> dict[str, Any] | None:
    try:
        summary: dict[str, Any] = orjson.loads(batches.objects.get(keys.summary))
    except ObjectNotFoundError:
        return None
    return summary


def summary_body(summary: dict[str, Any]) -> dict[str, Any]:
    """The message about a run that has a summary."""
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
        "skipped",
        "duration_seconds",
        "cost",
        "usage",
        "warnings",
        "first_failures",
    )
    body = {
        "batch_name": summary["batch_name"],
        "execution_id": summary["execution_id"],
        "execution_arn": summary["execution_arn"],
        "status": summary["status"],
        "target": summary["target"],
        "rows_processed": summary["total_rows"] - summary["not_attempted"] - summary.get("skipped", 0),
        "rows_failed": failed,
        # A summary of the release before has no causes and no proof.
        "failures_by_cause": summary.get("failures_by_cause", []),
        **{name: summary[name] for name in names if name in summary},
        "outputs": summary.get("outputs", {}),  # The release before did not write it.
        "proof": summary.get("proof"),
        "delivery": summary.get("delivery"),
    }
    if summary["error"]:
        body["error"] = summary["error"]
        body["cause"] = (summary["brake"] or {}).get("message") or (summary["brake"] or {}).get("reason", "")
    return body


def ended_body(ended: EndedRun, batch: Batch | None) -> dict[str, Any]:
    """The message about a run without a summary: it was refused, was a dry run, or failed before its output."""
    batch_name, target = (
        (batch.plan.config.batch_name, batch.plan.target.name) if batch else (ended.batch_name, ended.target)
    )
    body: dict[str, Any] = {
        "batch_name": batch_name,
        "execution_id": ended.execution,
        "execution_arn": ended.execution_arn,
        "status": str(ended.document.get("status") or ended.status.value),
        "target": target,
        "rows_processed": 0,
        "rows_failed": 0,
    }
    if ended.error:
        body["error"] = ended.error
    if ended.cause:
        body["cause"] = ended.cause
    if ended.document:
        body["output"] = ended.document
    return body
