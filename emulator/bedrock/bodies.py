"""Request and answer bodies of the models.

* Converse: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
* InvokeModel, by model: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emulator.bedrock import structured
from emulator.bedrock.model import Prompt, Reply

CONVERSE_FIELDS = frozenset(
    {
        "additionalModelRequestFields",
        "additionalModelResponseFieldPaths",
        "guardrailConfig",
        "inferenceConfig",
        "messages",
        "outputConfig",
        "performanceConfig",
        "promptVariables",
        "requestMetadata",
        "serviceTier",
        "system",
        "toolConfig",
    }
)


class InvalidBodyError(ValueError):
    """Raised when a model refuses the body. The message is the model's."""


def family_of(model_id: str) -> str | None:
    """The family of a model or an inference profile, by its id or ARN, such as `anthropic`, `nova` or `llama`."""
    for family, mark in FAMILY_MARKS.items():
        if mark in model_id:
            return family
    return None


FAMILY_MARKS = {
    "anthropic": "anthropic.",
    "nova": "amazon.nova",
    "mistral": "mistral.",
    "llama": "meta.llama",
    "titan": "amazon.titan-text",
}


# --- Converse


def read_converse(model_id: str, body: Any, *, batch: bool = False) -> Prompt:
    """The prompt of a Converse body. In a batch, tools are refused, structured output is not
    (userguide/batch-inference.html).

    Raises:
        InvalidBodyError: where Converse answers ValidationException.
    """
    fields = _object(body, "The request body")
    unknown = sorted(set(fields) - CONVERSE_FIELDS)
    if unknown:
        raise InvalidBodyError(f"#: extraneous key [{unknown[0]}] is not permitted")
    if batch and fields.get("toolConfig"):
        raise InvalidBodyError("Tool use is not supported for batch inference with the Converse API.")
    texts = [_text(block, "system") for block in _list(fields.get("system", []), "system")]
    texts += _messages(fields.get("messages"))
    try:
        schema = structured.schema_of(fields.get("outputConfig", {}), model_id)
    except structured.UnsupportedError as error:
        raise InvalidBodyError(str(error)) from None
    return Prompt("\n".join(texts), _limit(fields.get("inferenceConfig", {}), "maxTokens"), schema)


def write_converse(reply: Reply) -> dict[str, Any]:
    """The Converse answer. `metrics.latencyMs` is computed from the length, so that it is always the same."""
    return {
        "metrics": {"latencyMs": 200 + 10 * reply.output_tokens},
        "output": {"message": {"content": [{"text": reply.text}], "role": "assistant"}},
        "stopReason": "max_tokens" if reply.cut else "end_turn",
        "usage": _usage(reply),
    }


# --- InvokeModel


def read_invoke(family: str, body: Any) -> Prompt:
    """The prompt of an InvokeModel body of the model family.

    Raises:
        InvalidBodyError: where the model refuses the body.
    """
    return READERS[family](_object(body, "The request body"))


def write_invoke(family: str, model_id: str, reply: Reply, *, chat: bool) -> dict[str, Any]:
    """The answer of the model family. `chat` says that the request had messages."""
    return WRITERS[family](model_id, reply, chat)


def _read_anthropic(fields: dict[str, Any]) -> Prompt:
    """userguide/model-parameters-anthropic-claude-messages-request-response.html"""
    for name in ("anthropic_version", "max_tokens", "messages"):
        if name not in fields:
            raise InvalidBodyError(f"{name}: Field required")
    if fields["anthropic_version"] != "bedrock-2023-05-31":
        raise InvalidBodyError(
            f"anthropic_version: Input should be 'bedrock-2023-05-31', not {fields['anthropic_version']!r}"
        )
    system = fields.get("system", "")
    texts = [system] if isinstance(system, str) and system else _texts(system or [], "system")
    texts += _messages(fields["messages"], text_allowed=True)
    return Prompt("\n".join(texts), _limit(fields, "max_tokens"))


def _read_nova(fields: dict[str, Any]) -> Prompt:
    """https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html"""
    texts = _texts(fields.get("system", []), "system") + _messages(fields.get("messages"))
    config = fields.get("inferenceConfig", {})
    limit = _limit(config, "maxTokens")
    return Prompt("\n".join(texts), limit if limit is not None else _limit(config, "max_new_tokens"))


def _read_mistral(fields: dict[str, Any]) -> Prompt:
    """userguide/model-parameters-mistral-text-completion.html, -mistral-chat-completion.html"""
    if "messages" in fields:
        return Prompt(
            "\n".join(_messages(fields["messages"], text_allowed=True, system=True)), _limit(fields, "max_tokens")
        )
    return Prompt(_string(fields, "prompt"), _limit(fields, "max_tokens"))


def _read_llama(fields: dict[str, Any]) -> Prompt:
    """userguide/model-parameters-meta.html"""
    return Prompt(_string(fields, "prompt"), _limit(fields, "max_gen_len"))


def _read_titan(fields: dict[str, Any]) -> Prompt:
    """userguide/model-parameters-titan-text.html"""
    config = _object(fields.get("textGenerationConfig", {}), "textGenerationConfig")
    return Prompt(_string(fields, "inputText"), _limit(config, "maxTokenCount"))


READERS: dict[str, Callable[[dict[str, Any]], Prompt]] = {
    "anthropic": _read_anthropic,
    "nova": _read_nova,
    "mistral": _read_mistral,
    "llama": _read_llama,
    "titan": _read_titan,
}


def _write_anthropic(model_id: str, reply: Reply, _chat: bool) -> dict[str, Any]:
    return {
        "id": f"msg_bdrk_{reply.input_tokens:08d}{reply.output_tokens:08d}",
        "type": "message",
        "role": "assistant",
        "model": model_id.rpartition("/")[2].partition("anthropic.")[2].partition("-v1")[0],
        "content": [{"type": "text", "text": reply.text}],
        "stop_reason": "max_tokens" if reply.cut else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens},
    }


def _write_nova(_model_id: str, reply: Reply, _chat: bool) -> dict[str, Any]:
    answered = write_converse(reply)
    return {name: answered[name] for name in ("output", "stopReason", "usage")}


def _write_mistral(_model_id: str, reply: Reply, chat: bool) -> dict[str, Any]:
    reason = "length" if reply.cut else "stop"
    if chat:
        message = {"role": "assistant", "content": reply.text, "tool_calls": None, "index": None, "tool_call_id": None}
        return {"choices": [{"index": 0, "message": message, "stop_reason": reason}]}
    return {"outputs": [{"text": reply.text, "stop_reason": reason}]}


def _write_llama(_model_id: str, reply: Reply, _chat: bool) -> dict[str, Any]:
    return {
        "generation": reply.text,
        "prompt_token_count": reply.input_tokens,
        "generation_token_count": reply.output_tokens,
        "stop_reason": "length" if reply.cut else "stop",
    }


def _write_titan(_model_id: str, reply: Reply, _chat: bool) -> dict[str, Any]:
    reason = "LENGTH" if reply.cut else "FINISH"
    result = {"tokenCount": reply.output_tokens, "outputText": reply.text, "completionReason": reason}
    return {"inputTextTokenCount": reply.input_tokens, "results": [result]}


WRITERS: dict[str, Callable[[str, Reply, bool], dict[str, Any]]] = {
    "anthropic": _write_anthropic,
    "nova": _write_nova,
    "mistral": _write_mistral,
    "llama": _write_llama,
    "titan": _write_titan,
}


# --- Parts of bodies


def _usage(reply: Reply) -> dict[str, int]:
    total = reply.input_tokens + reply.output_tokens
    return {"inputTokens": reply.input_tokens, "outputTokens": reply.output_tokens, "totalTokens": total}


def _messages(value: Any, *, text_allowed: bool = False, system: bool = False) -> list[str]:
    messages = _list(value, "messages")
    if not messages:
        raise InvalidBodyError("messages: at least one message is required")
    roles = ("user", "assistant", "system") if system else ("user", "assistant")
    texts: list[str] = []
    for place, message in enumerate(messages):
        fields = _object(message, f"messages.{place}")
        if fields.get("role") not in roles:
            raise InvalidBodyError(f"messages.{place}.role: unexpected value; permitted: {', '.join(roles)}")
        content = fields.get("content")
        if text_allowed and isinstance(content, str) and content:
            texts.append(content)
            continue
        if not isinstance(content, list) or not content:
            raise InvalidBodyError(f"messages.{place}.content: at least one content block is required")
        texts += _texts(content, f"messages.{place}.content")
    if not system and messages[0]["role"] != "user":
        raise InvalidBodyError("A conversation must start with a user message.")
    return texts


def _texts(blocks: Any, where: str) -> list[str]:
    return [_text(block, where) for block in _list(blocks, where)]


def _text(block: Any, where: str) -> str:
    text = _object(block, where).get("text", "")
    if not isinstance(text, str) or ("text" in block and not text):
        raise InvalidBodyError(f"{where}: text content must be a non-empty string")
    return text


def _string(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidBodyError(f"#: required key [{name}] not found")
    return value


def _limit(fields: Any, name: str) -> int | None:
    value = _object(fields, "inferenceConfig").get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidBodyError(f"{name}: must be an integer greater than or equal to 1")
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidBodyError(f"{where}: expected an object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidBodyError(f"{where}: expected a list")
    return value
