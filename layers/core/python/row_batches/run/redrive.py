"""Lets a redriven execution continue.

A stopped or failed execution can be redriven for 14 days
(https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html), also while its finishing still works.
Its run must then be running again in the table of runs, and the brake that its finishing pulled must be released.

Four places notice a redrive. Step Functions publishes the new status, but its events are best effort. The finishing
looks before each step. FindMissing and AggregateResults are called by the redriven execution itself. The sweep compares
the table of runs with the executions that run.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from row_batches.rows.work import Work
from row_batches.run.end_messages import EndedRun, ExecutionStatus
from row_batches.run.runs import Runs

LOGGER = logging.getLogger("batch_processor.redrive")


@dataclass(frozen=True, slots=True)
class Redrive:
    """The last redrive of an execution, in milliseconds since the epoch, and whether the execution runs now."""

    at_ms: int
    is_running: bool


class Redrives(Protocol):
    """Asks Step Functions whether executions were redriven."""

    def last_redrive(self, arn: str) -> Redrive | None:
        """The last redrive of the execution; None if it was never redriven or does not exist."""


def redriven_since(ended: EndedRun, redrives: Redrives) -> Redrive | None:
    """The redrive that made this ending obsolete; None when the ending still holds."""
    if ended.status is ExecutionStatus.SUCCEEDED:
        return None  # it cannot be redriven
    redrive = redrives.last_redrive(ended.execution_arn)
    return redrive if redrive is not None and redrive.at_ms > ended.ended_ms else None


def reopen_run(execution: str, runs: Runs, work: Work) -> None:
    """Set a redriven run to running, and release the brake of its finishing. Does nothing the second time."""
    if runs.reopen(execution):
        LOGGER.info("redriven run reopened", extra={"execution_id": execution})
    work.release_finishing_brake()
