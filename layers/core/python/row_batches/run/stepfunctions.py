"""Executions of the state machine and of the finishing machine, behind ports of ``row_batches.run``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from foundation.aws.errors import AWS_ERRORS, error_code, translate
from row_batches.run.ended import ended_run
from row_batches.run.messages import EndedRun, ExecutionStatus
from row_batches.run.runs import Run

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

GONE = "ExecutionDoesNotExist"
EXISTS = "ExecutionAlreadyExists"
RUNNING = frozenset({"RUNNING", "PENDING_REDRIVE"})


class StepFunctionsStates:
    """Whether executions run, behind ``earlier_execution.ExecutionStates``. The client is made when it is needed."""

    def __init__(self, make_client: Callable[[], SFNClient]) -> None:
        self._make_client = make_client

    def is_running(self, arn: str) -> bool:
        """Step Functions forgets an execution 90 days after its end: one that is gone does not run."""
        try:
            return self._make_client().describe_execution(executionArn=arn)["status"] in RUNNING
        except AWS_ERRORS as error:
            if error_code(error) == GONE:
                return False
            raise translate(error, "states:DescribeExecution", arn) from error


class StepFunctionsExecutions:
    """Behind ``finish_run.Executions``.

    Raises what ``translate`` gives: DeploymentError, ThrottledError, ServiceUnavailableError.
    """

    def __init__(self, client: SFNClient, finish_machine_arn: str) -> None:
        self._client = client
        self._machine = finish_machine_arn

    def ended(self, run: Run) -> EndedRun | None:
        found = self._describe(run.arn)
        if found is None:
            return _ended(run.arn, {"status": ExecutionStatus.ABORTED, "stopDate": run.started_at})
        return None if found["status"] in RUNNING else _ended(run.arn, found)

    def start_finishing(self, name: str, ended: EndedRun) -> bool:
        try:
            self._client.start_execution(stateMachineArn=self._machine, name=name, input=ended.model_dump_json())
        except AWS_ERRORS as error:
            if error_code(error) == EXISTS:
                return False
            raise translate(error, "states:StartExecution", self._machine) from error
        return True

    def finishing(self, name: str) -> bool:
        found = self._describe(f"{self._machine.replace(':stateMachine:', ':execution:')}:{name}")
        return found is not None and found["status"] in RUNNING

    def _describe(self, arn: str) -> dict[str, Any] | None:
        try:
            return dict(self._client.describe_execution(executionArn=arn))
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
