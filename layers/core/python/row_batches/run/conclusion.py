"""Builds what a run reports when its output is written: output document, summary, ending, metrics and error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import orjson

from foundation.errors import DeploymentError, RowFailedError
from row_batches.mapping.metadata_columns import timestamp
from row_batches.rows.work import FINISHING_BRAKE, Brake
from row_batches.run.batch import Batch
from row_batches.run.causes import shown_causes
from row_batches.run.delivery import Delivered
from row_batches.run.end_messages import EndedRun
from row_batches.run.formats import Written
from row_batches.run.messages import CaughtError
from row_batches.run.runs import RunEnding, RunState
from row_batches.run.summary_parts import (
    cost_of,
    missing_by_column,
    off_protocol,
    savings,
    throttling,
    usage_of_run,
    warnings_of,
)
from row_batches.run.totals import Totals
from row_batches.run.traces import Traces, trace_warnings, traces_of_run

SUMMARY_SCHEMA_VERSION = 1
TRIAL_IN_DOCUMENT = ("rows", "finished", "succeeded", "failed", "timed_out", "whole")
"""The parts of a trial's report in the output document. The summary has more of them, the report has all."""
MOST_CAUSE_CHARACTERS = 30_000
"""A Cause can have up to 32,768 characters (Step Functions API, ``SensitiveCause``)."""


@dataclass(frozen=True)
class Conclusion:
    """The end of a run, from its plan and the totals of its rows. It reads and writes nothing.

    ``ended`` is given when the finishing machine writes the output, after the execution. ``now_ms`` is the time of the
    conclusion in milliseconds since the epoch. ``traces`` are None without ``enable_xray``, or if they are not known.
    ``trial`` is the report of the run's trial, if it had one.
    """

    batch: Batch
    totals: Totals
    brake: Brake | None
    ended: EndedRun | None
    now_ms: int
    outputs: Written
    traces: Traces | None = None
    trial: dict[str, Any] | None = None
    proof: dict[str, str] | None = None
    """Address and hash of ``proof.json``."""
    delivered: Delivered | None = None
    """The copy of the results, if the document asks for one."""

    @cached_property
    def error_name(self) -> str:
        """The name that the execution must fail with; "" when it succeeds."""
        if self.brake:
            return self.brake.error
        if self.ended is not None:
            return FINISHING_BRAKE.error if self.ended.status.stopped else self.ended.error
        limit = self.batch.failure_limit
        # If the last row reaches the limit, no row is left that the brake could stop.
        return RowFailedError.__name__ if limit is not None and self.totals.failed_sent >= limit else ""

    @property
    def error(self) -> CaughtError | None:
        """The error with which the execution must fail; None if it succeeds."""
        name = self.error_name
        if not name:
            return None
        if name == DeploymentError.__name__ and self.brake:
            said = self.brake.message or self.brake.reason
            return CaughtError(Error=name, Cause=said[:MOST_CAUSE_CHARACTERS])
        return CaughtError(Error=name, Cause=orjson.dumps(self.document).decode())

    @property
    def status(self) -> str:
        """The status in the output document, where a stopped run is FAILED."""
        if self.error_name:
            return "FAILED"
        return "SUCCEEDED_WITH_FAILURES" if self.totals.all_failed else "SUCCEEDED"

    @property
    def state(self) -> RunState:
        """The status in the summary and in the table of runs."""
        return RunState.STOPPED if self.error_name == FINISHING_BRAKE.error else RunState(self.status)

    @property
    def duration_ms(self) -> int:
        return self.now_ms - int(self.batch.plan.execution.started_at.timestamp() * 1000)

    @cached_property
    def cost(self) -> dict[str, object]:
        return cost_of(
            self.batch.plan,
            self.totals,
            stopped=self.ended is not None,
            traces=self.traces.sent if self.traces else 0,
        )

    @property
    def cost_usd(self) -> float:
        return float(str(self.cost["total_usd"]))

    @cached_property
    def warnings(self) -> list[str]:
        warnings = warnings_of(self.batch.plan, self.totals) + self.outputs.warnings + trace_warnings(self.traces)
        return warnings + (self.delivered.warnings if self.delivered else [])

    @cached_property
    def document(self) -> dict[str, Any]:
        """The output of the execution."""
        totals, keys, bucket = self.totals, self.batch.work.keys, self.batch.work.objects.bucket
        document: dict[str, Any] = {
            "status": self.status,
            "output_s3_uri": f"s3://{bucket}/{keys.output}",
            "outputs": self.outputs.addresses,
            "failed_rows_s3_uri": f"s3://{bucket}/{keys.failed_rows}",
            "summary_s3_uri": f"s3://{bucket}/{keys.summary}",
            "total_rows": self.batch.plan.total_rows,
            "succeeded": totals.succeeded,
            "failed": totals.failed,
            "timed_out": totals.timed_out,
            "not_attempted": totals.not_attempted,
            "skipped": totals.skipped,
            "proof": self.proof,
            "delivery": self.delivered and self.delivered.document,
            "duration_seconds": round(self.duration_ms / 1000, 3),
            "cost": self.cost,
        }
        if self.batch.plan.resume_from:
            document["resumed"] = totals.resumed
        if self.trial is not None:
            report = {"trial_report_s3_uri": f"s3://{bucket}/{keys.trial_report}"}
            document["trial"] = report | {name: self.trial[name] for name in TRIAL_IN_DOCUMENT}
        if self.batch.plan.config.execution_config.enable_xray:
            document["traces"] = traces_of_run(self.batch.plan, self.traces, self.now_ms)
        return document

    @property
    def summary(self) -> dict[str, Any]:
        """``summary.json``."""
        plan, totals = self.batch.plan, self.totals
        return {
            "schema_version": SUMMARY_SCHEMA_VERSION,
            "execution_id": plan.execution.name,
            "execution_arn": plan.execution.arn,
            "batch_name": plan.config.batch_name,
            "target": plan.target.name,
            "storage": plan.storage.model_dump(mode="json"),
            **self.document,
            "status": self.state,
            "error": self.error_name,
            "died": totals.died,
            "resume_from": plan.resume_from[0].name if plan.resume_from else None,
            "resumed": totals.resumed,
            "left": totals.left,
            "target_versions": totals.target_versions,
            "attempts": totals.attempts,
            "cast_failures": totals.cast_failures,
            "cast_failures_by_column": {
                column: failures.model_dump() for column, failures in totals.cast_failures_by_column.items()
            },
            "missing_by_column": missing_by_column(plan, totals),
            "off_protocol": off_protocol(totals),
            "notes": totals.notes,
            "extraction": totals.extraction.model_dump(),
            "usage": usage_of_run(totals),
            "throttling": throttling(totals, self.cost),
            "distinct_rows": plan.rows_sent if plan.config.execution_config.deduplicate else None,
            "traces": self.document.get("traces"),
            "trial": self.trial and {**self.document["trial"], **self.trial},
            "savings": savings(plan, totals),
            "peak_rows_in_flight": totals.peak_rows_in_flight,
            "processing_seconds": totals.processing_ms / 1000,
            "started_at": plan.execution.started_at.isoformat(),
            "finished_at": timestamp(self.now_ms),
            "effective_config": plan.effective_config,
            "output_schema": None if plan.output_schema is None else plan.output_schema.model_dump(),
            "estimate": plan.estimate.model_dump(mode="json"),
            "warnings": self.warnings,
            "brake": self.brake._asdict() if self.brake else None,
            "failures_by_cause": shown_causes(totals.causes, totals.all_failed),
            "first_failures": [failure.model_dump(mode="json") for failure in totals.first_failures],
        }

    @property
    def run_ending(self) -> RunEnding:
        """The ending for the table of runs."""
        return RunEnding(
            state=self.state,
            counts=self.totals.counts,
            ended_at=datetime.fromtimestamp(self.now_ms / 1000, UTC),
            cost_usd=self.cost_usd,
            summary_key=self.batch.work.keys.summary,
            warnings=self.warnings,
            error=self.error_name,
            causes=self.totals.causes.most_frequent,
        )

    @property
    def metrics(self) -> dict[str, tuple[float, str]]:
        """The metrics by name, each as value and CloudWatch unit. Targets that report no usage have none of tokens."""
        counts = self.totals.counts
        tokens = {"InputTokens": counts.input_tokens, "OutputTokens": counts.output_tokens}
        return {
            "RowsProcessed": (self.totals.attempted, "Count"),
            "RowsFailed": (self.totals.all_failed, "Count"),
            "ProcessingTime": (self.duration_ms, "Milliseconds"),
            "ConcurrentExecutions": (self.totals.peak_rows_in_flight, "Count"),
            "EstimatedCostUSD": (self.cost_usd, "None"),
            **{name: (number, "Count") for name, number in tokens.items() if number},
        }
