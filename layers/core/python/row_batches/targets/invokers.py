"""Calls targets synchronously, behind ``targets.ports.TargetInvoker``: Lambda functions and Express state machines.

A client's read time-out is fixed when it is made, so clients are kept by whole seconds of time-out; the SDK's own
retries are off, since the row's retry policy decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from foundation.aws.errors import error_code, translate
from foundation.errors import DeploymentError, ServiceUnavailableError, ThrottledError
from foundation.json_text import parse_json
from row_batches.targets.protocol import (
    Outcome,
    mapping_failed,
    read_express_answer,
    throttled,
    thrown_error,
    timed_out,
    too_large,
    tool_error,
    unanswered,
)

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_stepfunctions import SFNClient

MOST_CLIENTS = 64
LAMBDA_PAYLOAD_BYTES = 6_291_556
"""Largest request and answer of a synchronous call
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, "Invocation payload": 6 MB)."""
EXECUTION_PAYLOAD_BYTES = 262_144
"""Largest input and output of an execution (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

NOT_READY = frozenset(
    {
        "CodeArtifactUserDeletedException",
        "CodeArtifactUserPendingException",
        "ENINotReadyException",
        "ResourceConflictException",
        "ResourceNotReadyException",
        "SnapStartNotReadyException",
    }
)
"""The function is being set up, updated, or woken after weeks without a call: it was not called, and soon can be
(https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, "Errors")."""
TOO_LARGE_FOR_LAMBDA = "is over Lambda's limit of 6 MB (6,291,556 bytes)"
TOO_LARGE_FOR_EXECUTION = "is over the 256 KiB (262,144 bytes) that Step Functions allows"


class _Clients:
    """Clients by their read time-out in whole seconds; making one is not safe in several threads at once."""

    def __init__(self, make_client: Callable[[int], Any]) -> None:
        self._lock = Lock()
        self._make = lru_cache(MOST_CLIENTS)(make_client)

    def get(self, timeout_seconds: float) -> Any:
        with self._lock:
            return self._make(max(1, math.ceil(timeout_seconds)))


def _failure(error: ClientError | BotoCoreError, action: str, arn: str, timeout_seconds: float) -> Outcome:
    if isinstance(error, ReadTimeoutError):
        return timed_out(f"no answer within the {math.ceil(timeout_seconds)} s that were left for the row")
    translated = translate(error, action, arn)
    if isinstance(translated, ThrottledError):
        return throttled(str(translated))
    if isinstance(translated, ServiceUnavailableError):
        return thrown_error("ServiceUnavailableError", str(translated))
    if isinstance(translated, DeploymentError):
        raise translated from error
    # Whatever else is answered concerns this call: the row's policy decides, and its neighbours go on.
    return thrown_error(error_code(error) if isinstance(error, ClientError) else type(error).__name__, str(translated))


class LambdaInvoker:
    """``make_client`` gives a Lambda client for a read time-out in whole seconds."""

    def __init__(self, make_client: Callable[[int], LambdaClient]) -> None:
        self._clients = _Clients(make_client)

    def invoke(self, arn: str, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        if len(payload) > LAMBDA_PAYLOAD_BYTES:
            return request_too_large(payload, TOO_LARGE_FOR_LAMBDA)
        client: LambdaClient = self._clients.get(timeout_seconds)
        try:
            answer = client.invoke(FunctionName=arn, Payload=payload)
            body = answer["Payload"].read()
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error_code(error) == "RequestTooLargeException":
                return request_too_large(payload, TOO_LARGE_FOR_LAMBDA)
            if isinstance(error, ClientError) and error_code(error) in NOT_READY:
                return unanswered(str(translate(error, "lambda:InvokeFunction", arn)))
            return _failure(error, "lambda:InvokeFunction", arn, timeout_seconds)
        return _function_error(body) if "FunctionError" in answer else body


def _function_error(body: bytes) -> Outcome:
    """What went wrong inside the function, or with the size of what it returned."""
    text = body.decode("utf-8", "replace")
    try:
        payload = parse_json(text)
    except ValueError:
        payload = {"errorMessage": text}
    if "Response payload size exceeded" in text:
        return too_large(f"it {TOO_LARGE_FOR_LAMBDA}")
    return tool_error(payload)


def request_too_large(payload: bytes, limit: str) -> Outcome:
    return mapping_failed(f"the request of {len(payload):,} bytes {limit}")


class ExpressInvoker:
    """``make_client`` gives a Step Functions client for a read time-out in whole seconds.

    StartSyncExecution answers 200 for an execution that failed: its ``status`` says so
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html).
    """

    def __init__(self, make_client: Callable[[int], SFNClient]) -> None:
        self._clients = _Clients(make_client)

    def invoke(self, arn: str, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        if len(payload) > EXECUTION_PAYLOAD_BYTES:
            return request_too_large(payload, TOO_LARGE_FOR_EXECUTION)
        client: SFNClient = self._clients.get(timeout_seconds)
        try:
            answer = client.start_sync_execution(stateMachineArn=arn, input=payload.decode())
        except (ClientError, BotoCoreError) as error:
            return _failure(error, "states:StartSyncExecution", arn, timeout_seconds)
        if answer["status"] == "SUCCEEDED":
            return answer.get("output", "null").encode()
        if answer.get("error") == "States.DataLimitExceeded":
            return too_large(f"it {TOO_LARGE_FOR_EXECUTION}")
        return read_express_answer(
            {"Status": answer["status"], "Error": answer.get("error"), "Cause": answer.get("cause")}
        )


class ArnInvoker:
    """Chooses by the target's ARN."""

    def __init__(self, functions: LambdaInvoker, express_agents: ExpressInvoker) -> None:
        self._functions = functions
        self._express_agents = express_agents

    def invoke(self, arn: str, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        is_function = arn.split(":")[2] == "lambda"
        return (self._functions if is_function else self._express_agents).invoke(arn, payload, timeout_seconds)
