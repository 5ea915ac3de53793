"""Asynchronous calls of our own functions, behind ``bedrock_batches.submit.ports.FunctionCaller``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from foundation.aws.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class LambdaEventCaller:
    """Calls a function without waiting for its result."""

    def __init__(self, client: LambdaClient, function_name: str) -> None:
        self._client = client
        self._function_name = function_name

    def call(self, payload: dict[str, Any]) -> None:
        with translated("lambda:InvokeFunction", self._function_name):
            self._client.invoke(FunctionName=self._function_name, InvocationType="Event", Payload=orjson.dumps(payload))
