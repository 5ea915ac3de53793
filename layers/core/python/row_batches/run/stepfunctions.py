"""Executions of the state machine and of the finishing machine, behind ports of ``row_batches.run``.

Every method raises DeploymentError, ThrottledError and ServiceUnavailableError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from foundation.aws.errors import AWS_ERRORS, error_code, translate, translated
from row_batches.run.end_messages import EndedRun, ExecutionStatus
from row_batches.run.ended import ended_run
from row_batches.run.redrive import Redrive
from row_batches.run.runs import Run

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

GONE = "ExecutionDoesNotExist"
EXISTS = "ExecutionAlreadyExists"
RUNNING = frozenset({"RUNNING", "PENDING_REDRIVE"})
NOT_SUCCEEDED: tuple[Literal["ABORTED", "TIMED_OUT", "FAILED"], ...] = ("ABORTED", "TIMED_OUT", "FAILED")
MOST_LISTED = 1000
"""Executions on a page (https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html)."""


class StepFunctionsStates:
    """Implements ``earlier_execution.ExecutionStates``. The client is made at its first use."""

    def __init__(self, make_client: Callable[[], SFNClient]) -> None:
        self._make_client = make_client

    def is_running(self, arn: str) -> bool:
        """Whether the execution runs. False if it no longer exists: Step Functions forgets it 90 days after its end."""
        found = _describe(self._make_client(), arn)
        return found is not None and found["status"] in RUNNING


class StepFunctionsRedrives:
    """Implements ``redrive.Redrives``. The client is made at its first use."""

    def __init__(self, make_client: Callable[[], SFNClient]) -> None:
        self._make_client = make_client

    @property
    def _client(self) -> SFNClient:
        return self._make_client()

    def last_redrive(self, arn: str) -> Redrive | None:
        found = _describe(self._client, arn)
        if found is None or found.get("redriveDate") is None:
            return None
        return Redrive(round(found["redriveDate"].timestamp() * 1000), found["status"] in RUNNING)


class StepFunctionsExecutions(StepFunctionsRedrives):
    """Implements ``finish_run.Executions``."""

    def __init__(self, make_client: Callable[[], SFNClient], machine_arn: str, finish_machine_arn: str) -> None:
        super().__init__(make_client)
        self._machine = machine_arn
        self._finish_machine = finish_machine_arn

    def ended(self, run: Run) -> EndedRun | None:
        found = _describe(self._client, run.arn)
        if found is None:
            return _ended(run.arn, {"status": ExecutionStatus.ABORTED, "stopDate": run.started_at})
        return None if found["status"] in RUNNING else _ended(run.arn, found)

    def ending(self, arn: str) -> EndedRun | None:
        found = _describe(self._client, arn)
        return None if found is None or found["status"] in RUNNING else _ended(arn, found)

    def failed_since(self, since_ms: int) -> Iterator[str]:
        for status in NOT_SUCCEEDED:
            with translated("states:ListExecutions", self._machine):
                page = self._client.list_executions(
                    stateMachineArn=self._machine, statusFilter=status, maxResults=MOST_LISTED
                )
            for execution in page["executions"]:
                if execution["stopDate"].timestamp() * 1000 >= since_ms:
                    yield execution["executionArn"]

    def running(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_executions").paginate(
            stateMachineArn=self._machine, statusFilter="RUNNING"
        )
        with translated("states:ListExecutions", self._machine):
            for page in pages:
                yield from [execution["name"] for execution in page["executions"]]

    def start_finishing(self, name: str, ended: EndedRun) -> bool:
        try:
            self._client.start_execution(stateMachineArn=self._finish_machine, name=name, input=ended.model_dump_json())
        except AWS_ERRORS as error:
            if error_code(error) == EXISTS:
                return False
            raise translate(error, "states:StartExecution", self._finish_machine) from error
        return True

    def finishing(self, name: str) -> bool:
        found = _describe(self._client, f"{self._finish_machine.replace(':stateMachine:', ':execution:')}:{name}")
        return found is not None and found["status"] in RUNNING


def _describe(client: SFNClient, arn: str) -> dict[str, Any] | None:
    """The execution's description; None if it does not exist, or no longer does."""
    try:
        return dict(client.describe_execution(executionArn=arn))
    except AWS_ERRORS as error:
        if error_code(error) == GONE:
            return None
        raise translate(error, "states:DescribeExecution", arn) from error


def _ended(arn: str, found: dict[str, Any]) -> EndedRun:
    ended_at: datetime = found["stopDate"]
    return ended_run(
        arn=arn,
        status=found["status"],
        ended_at=ended_at,
        document=found.get("input"),
        output=found.get("output"),
        error=found.get("error"),
        cause=found.get("cause"),
    )
