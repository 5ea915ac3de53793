"""Calls targets synchronously, behind ``app.ports.TargetInvoker``: Lambda functions and Express state machines.

A client's read time-out is fixed when it is made, so clients are kept by whole seconds of time-out; the SDK's own
retries are off, since the row's retry policy decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import orjson
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from batch_processor.adapters.aws_errors import error_code, translate
from batch_processor.app.ports import (
    Answered,
    InvocationResult,
    Threw,
    Throttled,
    TimedOut,
    TooLarge,
    Unreachable,
)
from batch_processor.domain.errors import ServiceUnavailableError, ThrottledError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_stepfunctions import SFNClient

CONNECT_TIMEOUT_SECONDS = 5
MOST_CLIENTS = 64
LAMBDA_PAYLOAD_BYTES = 6_291_556
"""Largest request and answer of a synchronous call
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, "Invocation payload": 6 MB)."""
EXECUTION_PAYLOAD_BYTES = 262_144
"""Largest input and output of an execution (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

TOO_LARGE_FOR_LAMBDA = "is over Lambda's limit of 6 MB (6,291,556 bytes)"
TOO_LARGE_FOR_EXECUTION = "is over the 256 KiB (262,144 bytes) that Step Functions allows"


def client_config(read_timeout_seconds: int, connections: int) -> Config:
    """One attempt, a connection for each thread, keep-alive probes so that no gateway cuts a silent wait."""
    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=read_timeout_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=connections,
        tcp_keepalive=True,
    )


class _Clients:
    """Clients by their read time-out in whole seconds; making one is not safe in several threads at once."""

    def __init__(self, make_client: Callable[[int], Any]) -> None:
        self._lock = Lock()
        self._make = lru_cache(MOST_CLIENTS)(make_client)

    def get(self, timeout_seconds: float) -> Any:
        with self._lock:
            return self._make(max(1, math.ceil(timeout_seconds)))


def _failure(error: ClientError | BotoCoreError, action: str, arn: str, timeout_seconds: float) -> InvocationResult:
    if isinstance(error, ReadTimeoutError):
        return TimedOut(f"no answer within {math.ceil(timeout_seconds)} s")
    translated = translate(error, action, arn)
    if isinstance(translated, ThrottledError):
        return Throttled(str(translated))
    if isinstance(translated, ServiceUnavailableError):
        return Unreachable(str(translated))
    raise translated from error


class LambdaInvoker:
    """``make_client`` gives a Lambda client for a read time-out in whole seconds (see ``client_config``)."""

    def __init__(self, make_client: Callable[[int], LambdaClient]) -> None:
        self._clients = _Clients(make_client)

    def invoke(self, arn: str, payload: bytes, timeout_seconds: float) -> InvocationResult:
        if len(payload) > LAMBDA_PAYLOAD_BYTES:
            return TooLarge(f"the request of {len(payload):,} bytes {TOO_LARGE_FOR_LAMBDA}")
        client: LambdaClient = self._clients.get(timeout_seconds)
        try:
            answer = client.invoke(FunctionName=arn, Payload=payload)
            body = answer["Payload"].read()
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error_code(error) == "RequestTooLargeException":
                return TooLarge(f"the request of {len(payload):,} bytes {TOO_LARGE_FOR_LAMBDA}")
            return _failure(error, "lambda:InvokeFunction", arn, timeout_seconds)
        if "FunctionError" not in answer:
            return Answered(body)
        return read_function_error(body)


def read_function_error(body: bytes) -> InvocationResult:
    """What went wrong inside the function, from the payload of an answer with ``FunctionError``.

    Shape: ``{"errorType", "errorMessage", "stackTrace"}``; a time-out has ``Sandbox.Timedout`` or no type at all.
    Source: https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html.
    """
    try:
        described = orjson.loads(body)
    except orjson.JSONDecodeError:
        described = {}
    if not isinstance(described, dict):
        described = {}
    name = str(described.get("errorType") or "")
    message = str(described.get("errorMessage") or body.decode("utf-8", "replace"))
    if name == "Sandbox.Timedout" or (not name and "Task timed out after" in message):
        return TimedOut(f"the function reached its own time-out: {message}")
    if name.endswith("ResponseSizeTooLarge") or "Response payload size exceeded" in message:
        return TooLarge(f"the answer {TOO_LARGE_FOR_LAMBDA}: {message}")
    return Threw(name or "Lambda.Unknown", message)


class ExpressInvoker:
    """``make_client`` gives a Step Functions client for a read time-out in whole seconds.

    StartSyncExecution answers 200 for an execution that failed: its ``status`` says so
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html).
    """

    def __init__(self, make_client: Callable[[int], SFNClient]) -> None:
        self._clients = _Clients(make_client)

    def invoke(self, arn: str, payload: bytes, timeout_seconds: float) -> InvocationResult:
        if len(payload) > EXECUTION_PAYLOAD_BYTES:
            return TooLarge(f"the request of {len(payload):,} bytes {TOO_LARGE_FOR_EXECUTION}")
        client: SFNClient = self._clients.get(timeout_seconds)
        try:
            answer = client.start_sync_execution(stateMachineArn=arn, input=payload.decode())
        except (ClientError, BotoCoreError) as error:
            return _failure(error, "states:StartSyncExecution", arn, timeout_seconds)
        if answer["status"] == "SUCCEEDED":
            return Answered(answer.get("output", "null").encode())
        error_name, cause = answer.get("error", ""), answer.get("cause", "")
        if answer["status"] == "TIMED_OUT":
            return TimedOut(f"the agent reached its own time-out: {cause or error_name}")
        if error_name == "States.DataLimitExceeded":
            return TooLarge(f"the answer {TOO_LARGE_FOR_EXECUTION}: {cause}")
        return Threw(error_name or "States.TaskFailed", cause)
