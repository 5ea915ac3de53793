"""Starts the finishing of runs that have ended, and reopens those that were redriven.

The finishing machine writes the output of a run that ended before its output was complete, and announces its end. Its
execution is named after the run and its end, so an event that comes twice finishes and announces the run once.

Events of Step Functions are best effort
(https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html), and an event that comes during a
deployment can reach an older function that does not know it. The sweep finds what the events missed: runs that have
ended but are running in the table, executions that run but have ended in the table, and executions that the table does
not have.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal, Protocol

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter

from foundation.errors import DeploymentError
from foundation.lazy_model import LazyModel
from foundation.ports import Clock, ObjectStore
from row_batches.document.plan import Keys
from row_batches.rows.work import FINISHING_BRAKE, Work, load_plan
from row_batches.run.end_messages import EndedRun
from row_batches.run.ended import ended_run
from row_batches.run.redrive import Redrives, reopen_run
from row_batches.run.runs import Run, Runs

LOGGER = logging.getLogger("batch_processor.finish_run")
PAUSE_SECONDS = 0.2
"""The pause between two runs of a sweep. DescribeExecution is limited to 10 or 15 calls a second in an account
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""


LOOK_BACK_MS = 3_600_000
"""Four sweeps look at an ended execution that is not in the table: each looks back one hour."""


class ExecutionDetail(LazyModel):
    """The fields of the event's ``detail`` that are used here. Other fields are ignored, because AWS adds new ones."""

    model_config = ConfigDict(extra="ignore")

    executionArn: str  # noqa: N815 (AWS's name)
    status: str
    stopDate: int | None = None  # noqa: N815 (AWS's name)
    """Milliseconds since the epoch; None while the execution runs."""
    input: str | None = None
    """JSON; EventBridge leaves out one that is too large."""
    output: str | None = None
    error: str | None = None
    cause: str | None = None


class StatusChange(LazyModel):
    """The event of Step Functions that an execution began, ended or was redriven."""

    model_config = ConfigDict(extra="ignore")

    kind: Literal["Step Functions Execution Status Change"] = Field(alias="detail-type")
    detail: ExecutionDetail


class Scheduled(LazyModel):
    """The event that starts a sweep."""

    model_config = ConfigDict(extra="ignore")

    kind: Literal["Scheduled Event"] = Field(alias="detail-type")


def _kind(event: object) -> str:
    return str(event.get("detail-type")) if isinstance(event, dict) else ""


Event = Annotated[
    Annotated[StatusChange, Tag("Step Functions Execution Status Change")]
    | Annotated[Scheduled, Tag("Scheduled Event")],
    Discriminator(_kind),
]
EVENT: TypeAdapter[StatusChange | Scheduled] = TypeAdapter(Event, config=ConfigDict(defer_build=True))


class Executions(Redrives, Protocol):
    """Executions of the state machine, and of the one that finishes them."""

    def ended(self, run: Run) -> EndedRun | None:
        """How the execution of a run ended; None while it runs. One that no longer exists counts as aborted."""

    def running(self) -> Iterator[str]:
        """The names of the executions that run. The list can be some seconds out of date."""

    def ending(self, arn: str) -> EndedRun | None:
        """How an execution ended; None if it runs or no longer exists."""

    def failed_since(self, since_ms: int) -> Iterator[str]:
        """The ARNs of executions that ended since then and did not succeed, from the last 1,000 of each status."""

    def start_finishing(self, name: str, ended: EndedRun) -> bool:
        """Start the finishing machine; False when an execution of this name exists."""

    def finishing(self, name: str) -> bool:
        """Whether the finishing execution of this name still runs."""


def finish_run(
    event: StatusChange | Scheduled, *, executions: Executions, runs: Runs, objects: ObjectStore, clock: Clock
) -> None:
    """Start the finishing of the run that the event names, or reopen the run. A sweep does so for each run it finds.

    Raises what the ports raise. Lambda repeats a call that failed for an event. After a failed sweep, the next one
    does the work.
    """
    if isinstance(event, Scheduled):
        _Sweep(executions, runs, objects, clock).run()
        return
    detail = event.detail
    if detail.stopDate is None:
        name = detail.executionArn.rsplit(":", 1)[1]
        _reopen(name, detail.executionArn, executions, runs, Work(objects, Keys(name), clock))
        return
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


def _reopen(execution: str, arn: str, executions: Executions, runs: Runs, work: Work) -> None:
    """Let a run continue if its execution was redriven and runs. The event can be out of date."""
    redrive = executions.last_redrive(arn)
    if redrive is not None and redrive.is_running:
        reopen_run(execution, runs, work)


class _Sweep:
    """Compares the table of runs with the executions, and corrects what their events missed."""

    def __init__(self, executions: Executions, runs: Runs, objects: ObjectStore, clock: Clock) -> None:
        self._executions = executions
        self._runs = runs
        self._objects = objects
        self._clock = clock

    def run(self) -> None:
        kept = set()
        for run in self._runs.running():
            kept.add(run.execution)
            ended = self._executions.ended(run)
            if ended is None:
                self._release_brake(run)
            elif not self._first_finishing(ended) and self._still_running(run):
                self._finish_again(ended)
            self._clock.sleep(PAUSE_SECONDS)
        for execution in self._executions.running():
            if execution not in kept:
                self._keep(execution)
                self._clock.sleep(PAUSE_SECONDS)
        for arn in self._executions.failed_since(self._clock.now_ms() - LOOK_BACK_MS):
            if self._runs.get(arn.rsplit(":", 1)[1]) is None:
                self._finish_unkept(arn)
                self._clock.sleep(PAUSE_SECONDS)

    def _release_brake(self, run: Run) -> None:
        """Release the brake of a finishing that a redrive made obsolete, and that died since."""
        work = self._work(run.execution)
        if work.brake() == FINISHING_BRAKE:
            _reopen(run.execution, run.arn, self._executions, self._runs, work)

    def _keep(self, execution: str) -> None:
        """Reopen the run of an execution that was redriven, or add one that an earlier release started."""
        run = self._runs.get(execution)
        if run is not None:
            _reopen(execution, run.arn, self._executions, self._runs, self._work(execution))
            return
        keys = Keys(execution)
        if not self._objects.exists(keys.plan):
            return
        try:
            plan = load_plan(self._objects, keys.plan)
        except DeploymentError as error:
            LOGGER.warning("run not kept by the sweep", extra={"execution_id": execution, "reason": str(error)})
            return
        if not plan.config.dry_run:
            self._runs.start(Run.of_plan(plan))
            LOGGER.info("run kept by the sweep", extra={"execution_id": execution})

    def _finish_unkept(self, arn: str) -> None:
        """Finish an execution that the table does not have. Its input was refused, or an earlier release started it."""
        ended = self._executions.ending(arn)
        if ended is not None:
            self._first_finishing(ended)

    def _work(self, execution: str) -> Work:
        return Work(self._objects, Keys(execution), self._clock)

    def _still_running(self, listed: Run) -> bool:
        """Whether the run has still not ended. Its finishing can have ended it after it was listed."""
        run = self._runs.get(listed.execution)
        return run is not None and run.ended_at is None

    def _first_finishing(self, ended: EndedRun) -> bool:
        """Start the run's finishing. Returns whether this was the first start, or the finishing still runs."""
        name = ended.finishing_name
        if self._executions.start_finishing(name, ended):
            LOGGER.warning("finishing started by the sweep", extra={"execution_id": ended.execution})
            return True
        return self._executions.finishing(name)

    def _finish_again(self, ended: EndedRun) -> None:
        """Finish under another name, because the first finishing ended without ending the run."""
        name = f"{ended.finishing_name}-{self._clock.now_ms() // 1000}"
        self._executions.start_finishing(name, ended.model_copy(update={"again": True}))
        LOGGER.warning("finishing started again by the sweep", extra={"execution_id": ended.execution})
