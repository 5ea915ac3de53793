"""Announces the end of an execution, and that it waits for an approval: one message to the topic for each.

The finishing machine announces each ending once, when the output is complete or when it is clear that there is none.
The question is announced when it is asked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson

from foundation.errors import ObjectNotFoundError
from foundation.ports import Notifier
from row_batches.document.plan import Keys
from row_batches.run.batch import Batch, Batches
from row_batches.run.causes import without_texts
from row_batches.run.end_messages import EndedRun
from row_batches.run.runs import WAITING_FOR_APPROVAL, Approval

if TYPE_CHECKING:
    from row_batches.run.trial_report import TrialReport

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
    _publish(body, notifier)


def announce_question(batch: Batch, report: TrialReport | None, approval: Approval, notifier: Notifier) -> None:
    """Publish that the run waits for an approval, with what its trial says and what to type."""
    _publish(question_body(batch, report, approval), notifier)


def _publish(body: dict[str, Any], notifier: Notifier) -> None:
    attributes = ("batch_name", "execution_id", "status", "target", "rows_processed", "rows_failed")
    notifier.publish(f"{body['batch_name']}: {body['status']}", body, {name: body[name] for name in attributes})
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


def question_body(batch: Batch, report: TrialReport | None, approval: Approval) -> dict[str, Any]:
    """The message about a run that waits for an approval. It has counts and a forecast, but no texts of rows.

    ``approve``, ``stop`` and ``show`` are what to type: run the other rows, end with the trial's, see its report.
    """
    plan = batch.plan
    name, environment = plan.execution.name, _environment(plan.execution.arn)
    body: dict[str, Any] = {
        "batch_name": plan.config.batch_name,
        "execution_id": name,
        "execution_arn": plan.execution.arn,
        "status": WAITING_FOR_APPROVAL,
        "target": plan.target.name,
        "rows_processed": 0 if report is None else report.finished,
        "rows_failed": 0 if report is None else report.failed + report.timed_out,
        "total_rows": plan.total_rows,
        "waits_until": approval.until.isoformat(),
        "approve": f"make approve ENV={environment} EXECUTION={name}",
        "stop": f"make stop ENV={environment} EXECUTION={name}",
        "show": f"make trial ENV={environment} EXECUTION={name}",
    }
    if report is not None:
        body["trial"] = report.for_the_summary
    return body


def _environment(execution_arn: str) -> str:
    """The environment of ``arn:…:execution:batch-processor-<environment>:<name>``. In prod, names have no suffix."""
    machine = execution_arn.rsplit(":", 2)[1]
    return machine.removeprefix("batch-processor").removeprefix("-") or "prod"
