"""Executions of the state machine: started, described, stopped."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError as RefusedByAwsError
from pydantic import BaseModel, ConfigDict

from batch_processor_client.errors import ClientError

TERMINAL = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


class Ending(BaseModel):
    """The end of an execution. ``document`` is its output document, if there is one."""

    model_config = ConfigDict(frozen=True)

    status: str
    error: str = ""
    cause: str = ""
    document: dict[str, Any] | None = None


def start(states: Any, state_machine_arn: str, name: str, document: dict[str, Any]) -> str:
    """Start an execution with a name; returns its ARN. While it runs, the same name and input start nothing new.

    Raises ClientError if the name was used before.
    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    try:
        answer = states.start_execution(stateMachineArn=state_machine_arn, name=name, input=json.dumps(document))
    except RefusedByAwsError as refused:
        if refused.response["Error"]["Code"] != "ExecutionAlreadyExists":
            raise
        raise _name_used(name) from refused
    return str(answer["executionArn"])


def refuse_used_name(states: Any, execution_arn: str) -> None:
    """Raise ClientError if an execution with this ARN exists. Step Functions keeps it for 90 days after its end."""
    try:
        states.describe_execution(executionArn=execution_arn)
    except RefusedByAwsError as refused:
        if refused.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return
    raise _name_used(name_of(execution_arn))


def _name_used(name: str) -> ClientError:
    return ClientError(f"An execution named {name} exists already. See it with FOLLOW={name}, or choose another NAME.")


def name_of(execution: str) -> str:
    """The name of an execution, from its name or ARN."""
    return execution.rpartition(":")[2]


def describe(states: Any, execution_arn: str) -> dict[str, Any]:
    """The response of DescribeExecution. Raises ClientError if there is no such execution."""
    try:
        answer: dict[str, Any] = states.describe_execution(executionArn=execution_arn)
    except RefusedByAwsError as refused:
        if refused.response["Error"]["Code"] not in ("ExecutionDoesNotExist", "InvalidArn"):
            raise
        raise ClientError(f"There is no execution {name_of(execution_arn)}.") from refused
    return answer


def ending_of(description: dict[str, Any]) -> Ending | None:
    """The ending in DescribeExecution's response, or None. A RowFailedError's cause is the output document."""
    status = description["status"]
    if status not in TERMINAL:
        return None
    if status == "SUCCEEDED":
        return Ending(status=status, document=json.loads(description["output"]))
    error, cause = description.get("error", ""), description.get("cause", "")
    parsed = _object(cause)
    if "output_s3_uri" in parsed:
        return Ending(status=status, error=error, document=parsed)
    # A function's error is JSON with a stack trace. The stack trace belongs in the log.
    return Ending(status=status, error=error, cause=parsed.get("errorMessage", cause))


def _object(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
