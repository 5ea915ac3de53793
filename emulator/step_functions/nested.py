"""Tasks that start, run, look at and stop other executions (dg/connect-stepfunctions.html)."""

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ministack.services.stepfunctions import _ExecutionError as StateError

from emulator.step_functions import executions
from emulator.step_functions.limits import to_json
from emulator.step_functions.tasks import INTEGRATIONS, Task

OF_THE_SERVICE = {"StepFunctions": "StepFunctions.AWSStepFunctionsException", "Sfn": "Sfn.SfnException"}
"""The names of errors that all services share, by the prefix of the integration."""


def start_execution(task: Task) -> dict[str, Any]:
    """`states:startExecution`: start and continue at once."""
    started = _start(task, "StepFunctions")
    return {
        "ExecutionArn": started.arn,
        "SdkHttpMetadata": {"HttpStatusCode": 200},
        "SdkResponseMetadata": {"RequestId": str(uuid.uuid4())},
        "StartDate": _milliseconds(started.record["startDate"]),
    }


def run_execution_sync(task: Task) -> dict[str, Any]:
    """`states:startExecution.sync`: wait for the end; Input and Output stay text (recording: start_execution.json).

    A failure is `States.TaskFailed`, whose cause is the JSON text of the execution.
    """
    return _run_execution(task, parse=False)


def run_execution_sync_parsed(task: Task) -> dict[str, Any]:
    """`states:startExecution.sync:2`: as `.sync`, with Input and Output as JSON."""
    return _run_execution(task, parse=True)


def _run_execution(task: Task, *, parse: bool) -> dict[str, Any]:
    started = _start(task, "StepFunctions")
    task.submitted({"ExecutionArn": started.arn, "StartDate": _milliseconds(started.record["startDate"])})
    task.require("states:DescribeExecution", started.arn, "StepFunctions.AWSStepFunctionsException")

    def stop() -> None:
        """Stop the execution. This is best effort, as on AWS: if the role lacks the permission, nothing happens."""
        if task.execution.role.denial("states:StopExecution", started.arn) is None:
            started.stop(None, None)

    with task.control.stopping(stop):
        started.ended.wait()
    task.control.check()
    described = _capitalised(started.describe(), _milliseconds)
    if started.record["status"] != "SUCCEEDED":
        raise StateError("States.TaskFailed", to_json(described))
    if parse:
        described["Input"] = json.loads(described["Input"])
        described["Output"] = json.loads(described["Output"])
    return described


def sdk_start_execution(task: Task) -> dict[str, Any]:
    started = _start(task, "Sfn")
    return {"ExecutionArn": started.arn, "StartDate": started.record["startDate"]}


def sdk_start_sync_execution(task: Task) -> dict[str, Any]:
    """`aws-sdk:sfn:startSyncExecution`: answers 200 even after a failure; `Status` tells the result."""
    task.only("StateMachineArn", "Name", "Input")
    machine_arn = task.argument("StateMachineArn")
    task.require("states:StartSyncExecution", machine_arn, "Sfn.SfnException")
    try:
        answer = executions.run_sync(machine_arn, task.arguments.get("Name"), _input_text(task.arguments.get("Input")))
    except executions.ApiError as error:
        raise _refused(task, "Sfn", error) from None
    return _capitalised(answer, lambda stamp: stamp)


def sdk_describe_execution(task: Task) -> dict[str, Any]:
    task.only("ExecutionArn")
    arn = task.argument("ExecutionArn")
    task.require("states:DescribeExecution", arn, "Sfn.SfnException")
    try:
        return _capitalised(executions.describe(arn), lambda stamp: stamp)
    except executions.ApiError as error:
        raise _refused(task, "Sfn", error) from None


def sdk_stop_execution(task: Task) -> dict[str, Any]:
    arn = task.argument("ExecutionArn")
    task.require("states:StopExecution", arn, "Sfn.SfnException")
    try:
        stopped = executions.stop(arn, task.arguments.get("Error"), task.arguments.get("Cause"))
    except executions.ApiError as error:
        raise _refused(task, "Sfn", error) from None
    return {"StopDate": stopped}


def _start(task: Task, prefix: str) -> executions.Execution:
    task.only("StateMachineArn", "Name", "Input")
    machine_arn = task.argument("StateMachineArn")
    task.require("states:StartExecution", machine_arn, OF_THE_SERVICE[prefix])
    try:
        return executions.start(
            machine_arn, task.arguments.get("Name"), _input_text(task.arguments.get("Input")), nested=True
        )
    except executions.ApiError as error:
        raise _refused(task, prefix, error) from None


def _refused(task: Task, prefix: str, error: executions.ApiError) -> StateError:
    """The error of a call that the API refused.

    One that the operation does not list, such as throttling, has the name of the service: only its cause tells.
    """
    name = f"{prefix}.{error.code.removesuffix('Exception')}Exception"
    if error.code == executions.THROTTLED:
        name = OF_THE_SERVICE[prefix]
    return task.refused(name, error.message, 400, error.code)


def _input_text(value: Any) -> str:
    """The input of a nested execution. `null` becomes `{}`, and text is read as JSON."""
    if value is None:
        return "{}"
    return value if isinstance(value, str) else to_json(value)


def _capitalised(value: Any, write_date: Callable[[str], Any]) -> dict[str, Any]:
    """A description under the member names of the integrations. Its Input and Output are texts, so stay as they are."""
    return {
        key[0].upper() + key[1:]: (
            _capitalised(item, write_date)
            if isinstance(item, dict)
            else write_date(item)
            if key.endswith("Date")
            else item
        )
        for key, item in value.items()
    }


def _milliseconds(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp() * 1000)


def install() -> None:
    """Add these integrations to those that Task states know."""
    INTEGRATIONS.update(
        {
            "states:startExecution": start_execution,
            "states:startExecution.sync": run_execution_sync,
            "states:startExecution.sync:2": run_execution_sync_parsed,
            "aws-sdk:sfn:startExecution": sdk_start_execution,
            "aws-sdk:sfn:startSyncExecution": sdk_start_sync_execution,
            "aws-sdk:sfn:describeExecution": sdk_describe_execution,
            "aws-sdk:sfn:stopExecution": sdk_stop_execution,
        }
    )
