"""Calls Lambda functions, behind ``targets.ports.TargetInvoker``, and reads their settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from foundation.aws.errors import error_name, translate, translated
from foundation.json_text import parse_json
from row_batches.document.plan import Target
from row_batches.targets.calls import Clients, failed_call, no_answer, request_too_large
from row_batches.targets.protocol import Outcome, too_large, tool_error, unanswered

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import FunctionConfigurationResponseTypeDef

PAYLOAD_BYTES = 6_291_556
"""Largest request and answer of a synchronous call
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, "Invocation payload": 6 MB)."""
TOO_LARGE = "is over Lambda's limit of 6 MB (6,291,556 bytes)"
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
"""The function is being created, updated, or woken after weeks without a call. It was not called, but soon can be
(https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, "Errors")."""


class LambdaInvoker:
    """Calls Lambda functions. ``make_client`` creates a client with a read time-out in whole seconds."""

    def __init__(self, make_client: Callable[[int], LambdaClient]) -> None:
        self._clients = Clients(make_client)

    def invoke(self, target: Target, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        if len(payload) > PAYLOAD_BYTES:
            return request_too_large(payload, TOO_LARGE)
        client = self._clients.get(timeout_seconds)
        try:
            answer = client.invoke(FunctionName=target.arn, Payload=payload)
            body = answer["Payload"].read()
        except ReadTimeoutError:
            return no_answer(timeout_seconds)
        except (ClientError, BotoCoreError) as error:
            return _failed(error, payload, target.arn)
        return _function_error(body) if "FunctionError" in answer else body


def _failed(error: ClientError | BotoCoreError, payload: bytes, arn: str) -> Outcome:
    name, meant = error_name(error), translate(error, "lambda:InvokeFunction", arn)
    if name == "RequestTooLargeException":
        return request_too_large(payload, TOO_LARGE)
    return unanswered(str(meant)) if name in NOT_READY else failed_call(meant, name)


def _function_error(body: bytes) -> Outcome:
    """The outcome of an error inside the function, or of a response that is too large."""
    text = body.decode("utf-8", "replace")
    try:
        payload = parse_json(text)
    except ValueError:
        payload = {"errorMessage": text}
    if "Response payload size exceeded" in text:
        return too_large(f"it {TOO_LARGE}")
    return tool_error(payload)


class LambdaFunctionSettings:
    """Reads settings of functions. ``make_client`` is called at the first read, because agents need no client."""

    def __init__(self, make_client: Callable[[], LambdaClient]) -> None:
        self._make_client = make_client

    def timeout_seconds(self, arn: str) -> int:
        return self._configuration(arn)["Timeout"]

    def code(self, arn: str) -> str:
        """``CodeSha256`` of the function. If the ARN has an alias, it is that of the version behind the alias
        (https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html)."""
        return self._configuration(arn)["CodeSha256"]

    def _configuration(self, arn: str) -> FunctionConfigurationResponseTypeDef:
        with translated("lambda:GetFunctionConfiguration", arn):
            return self._make_client().get_function_configuration(FunctionName=arn)
