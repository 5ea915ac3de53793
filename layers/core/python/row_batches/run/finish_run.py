"""Starts the finishing of runs that have ended, told by Step Functions' event or found by the sweep.

The finishing machine puts together what exists of a run that ended before it was put together, and announces its end.
Its execution is named by the run and its end, so that an event that comes twice finishes and announces it once. Events
of Step Functions are best effort (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html):
the sweep looks for runs that have ended and are still kept as running.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter

from foundation.ports import Clock
from row_batches.run.ended import ended_run
from row_batches.run.messages import EndedRun
from row_batches.run.runs import Run, Runs

LOGGER = logging.getLogger("batch_processor.finish_run")
PAUSE_SECONDS = 0.2
"""Between two runs of a sweep: DescribeExecution is limited to 10 or 15 a second in an account
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""


class ExecutionDetail(BaseModel):
    """The part of the event's ``detail`` that matters here; AWS adds to it from time to time."""

    model_config = ConfigDict(extra="ignore")

    executionArn: str  # noqa: N815 (AWS's name)
    status: str
    stopDate: int  # noqa: N815 (AWS's name)
    """Milliseconds since the epoch."""
    input: str | None = None
    """JSON; EventBridge leaves out one that is too large."""
    output: str | None = None
    error: str | None = None
    cause: str | None = None


class StatusChange(BaseModel):
    model_config = ConfigDict(extra="ignore")

    kind: Literal["Step Functions Execution Status Change"] = Field(alias="detail-type")
    detail: ExecutionDetail


class Scheduled(BaseModel):
    model_config = ConfigDict(extra="ignore")

    kind: Literal["Scheduled Event"] = Field(alias="detail-type")


def _kind(event: object) -> str:
    return str(event.get("detail-type")) if isinstance(event, dict) else ""


Event = Annotated[
    Annotated[StatusChange, Tag("Step Functions Execution Status Change")]
    | Annotated[Scheduled, Tag("Scheduled Event")],
    Discriminator(_kind),
]
EVENT: TypeAdapter[StatusChange | Scheduled] = TypeAdapter(Event)


class Executions(Protocol):
    """Executions of the state machine, and of the one that finishes them."""

    def ended(self, run: Run) -> EndedRun | None:
        """How the execution of a run ended; None while it runs. One that is gone was aborted."""

    def start_finishing(self, name: str, ended: EndedRun) -> bool:
        """Start the finishing machine; False when an execution of this name exists."""

    def finishing(self, name: str) -> bool:
        """Whether the finishing execution of this name still runs."""


def finish_run(event: StatusChange | Scheduled, *, executions: Executions, runs: Runs, clock: Clock) -> None:
    """Start the finishing of the run that the event tells of, or of all that a sweep finds.

    Raises what the ports raise. Lambda repeats a call for an event that fails; a sweep that fails is followed by the
    next one.
    """
    if isinstance(event, Scheduled):
        _sweep(executions, runs, clock)
        return
    detail = event.detail
    ended = ended_run(
        arn=detail.executionArn,
        status=detail.status,
        ended_at=datetime.fromtimestamp(detail.stopDate / 1000, UTC),
        document=detail.input,
        output=detail.output,
        error=detail.error,
        cause=detail.cause,
    )
    started = executions.start_finishing(ended.finishing_name, ended)
    LOGGER.info("run ended", extra={"status": ended.status, "finishing_started": started})


def _sweep(executions: Executions, runs: Runs, clock: Clock) -> None:
    """Finish the runs that have ended and are kept as running: their event was lost, or their finishing failed."""
    for run in runs.running():
        ended = executions.ended(run)
        if ended is not None and not _first_finishing(executions, ended) and _still_running(runs, run):
            _finish_again(executions, ended, clock)
        clock.sleep(PAUSE_SECONDS)


def _still_running(runs: Runs, listed: Run) -> bool:
    """Whether the run has no ending even now: its finishing can have ended since it was listed."""
    run = runs.get(listed.execution)
    return run is not None and run.ended_at is None


def _first_finishing(executions: Executions, ended: EndedRun) -> bool:
    """Whether the run's finishing has begun only now, or goes on."""
    name = ended.finishing_name
    if executions.start_finishing(name, ended):
        LOGGER.warning("finishing started by the sweep", extra={"execution_id": ended.execution})
        return True
    return executions.finishing(name)


def _finish_again(executions: Executions, ended: EndedRun, clock: Clock) -> None:
    """Under another name, since the first finishing has ended and the run is still kept as running."""
    name = f"{ended.finishing_name}-{clock.now_ms() // 1000}"
    executions.start_finishing(name, ended.model_copy(update={"again": True}))
    LOGGER.warning("finishing started again by the sweep", extra={"execution_id": ended.execution})
