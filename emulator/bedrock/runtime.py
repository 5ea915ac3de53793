"""Converse and InvokeModel, answered by the built-in model.

* https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
* https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.services import bedrock_runtime

from emulator.bedrock import bodies, permissions
from emulator.bedrock.control import CONTROL, CONVERSE_FAULT
from emulator.bedrock.model import Reply, reply_to

Answer = tuple[int, dict[str, str], bytes]
Respond = Callable[[str, dict[str, str], bytes], Answer]


def converse(original: Respond) -> Respond:
    """Answer Converse. MiniStack answers a request with a guardrail."""

    def answer(model_id: str, headers: dict[str, str], body: bytes) -> Answer:
        refused, request = _opened(model_id, headers, body)
        if refused is not None:
            return refused
        if "guardrailConfig" in request:
            return original(model_id, headers, body)
        try:
            reply = reply_to(bodies.read_converse(model_id, request))
        except bodies.InvalidBodyError as error:
            return _error("ValidationException", str(error), 400)
        return _answered(bodies.write_converse(reply), reply)

    return answer


def invoke_model(original: Respond) -> Respond:
    """Answer InvokeModel for the model families that the built-in model knows. MiniStack answers others."""

    def answer(model_id: str, headers: dict[str, str], body: bytes) -> Answer:
        refused, request = _opened(model_id, headers, body)
        if refused is not None:
            return refused
        family = bodies.family_of(model_id)
        if family is None:
            return original(model_id, headers, body)
        try:
            reply = reply_to(bodies.read_invoke(family, request))
        except bodies.InvalidBodyError as error:
            return _error(
                "ValidationException",
                f"Malformed input request: {error}, please reformat your input and try again.",
                400,
            )
        return _answered(bodies.write_invoke(family, model_id, reply, chat="messages" in request), reply)

    return answer


def _opened(model_id: str, headers: dict[str, str], body: bytes) -> tuple[Answer | None, Any]:
    """The JSON body of a request, or the refusal."""
    _model_id, _arn, refused = bedrock_runtime._normalize_model_id(model_id)
    refused = refused or permissions.invocation_denial(headers, model_id)
    if refused:
        return refused, {}
    if CONTROL.take(CONVERSE_FAULT) is not None:
        return _error("ThrottlingException", "Too many requests, please wait before trying again.", 429), {}
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return _error("ValidationException", "The request body is not valid JSON.", 400), {}
    if not isinstance(request, dict):
        return _error("ValidationException", "The request body must be a JSON object.", 400), {}
    return None, request


def _answered(body: dict[str, Any], reply: Reply) -> Answer:
    headers = {
        "Content-Type": "application/json",
        "x-amzn-bedrock-input-token-count": str(reply.input_tokens),
        "x-amzn-bedrock-output-token-count": str(reply.output_tokens),
    }
    return 200, headers, json.dumps(body).encode()


def _error(code: str, message: str, status: int) -> Answer:
    answered: Answer = bedrock_runtime._error(code, message, status)
    return answered


def install() -> None:
    """Answer Converse and InvokeModel with the built-in model."""
    bedrock_runtime._converse = converse(bedrock_runtime._converse)
    bedrock_runtime._invoke_model = invoke_model(bedrock_runtime._invoke_model)
