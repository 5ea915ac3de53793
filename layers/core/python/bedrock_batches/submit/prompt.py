"""Builds the request for a record. The texts of the prompt are in ``bedrock_batches.violations``.

A record's texts come from outside and are data, whatever they say. They are one JSON object between two marks. No text
can contain a mark, because ``<`` is escaped, and the prompt says so first. Bodies are Converse's, which every model
accepts (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from bedrock_batches.submit.names import record_id
from bedrock_batches.submit.pricing import tokens_of
from bedrock_batches.violations import (
    ANSWER_SCHEMA,
    INSTRUCTION,
    NOT_IN_PROMPT,
    OTHER_CHARACTERS,
    PROMPT_CHARACTERS,
    SYSTEM,
    ViolationRecord,
)
from foundation.json_text import encodable, render_json

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")
_SPACES = re.compile(r"\s{2,}")


@dataclass(frozen=True)
class Inference:
    """The settings of a request: Converse's ``inferenceConfig``. None is the model's default."""

    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    structured_output: bool = False
    """Whether the request carries the answer's schema (``outputConfig``)."""

    def document(self) -> dict[str, Any]:
        given = {"maxTokens": self.max_tokens, "temperature": self.temperature, "topP": self.top_p}
        return {name: value for name, value in given.items() if value is not None}


def clean(text: str, most: int = OTHER_CHARACTERS) -> str:
    """The text without control and invisible characters, with runs of blanks as one, cut after ``most`` characters."""
    cleaned = _SPACES.sub(" ", _CONTROL.sub(" ", encodable(text))).strip()
    return cleaned if len(cleaned) <= most else cleaned[: most - 1] + "…"


def record_text(violation: ViolationRecord) -> str:
    """The record as JSON between its marks; fields without a value are left out."""
    fields: dict[str, Any] = {}
    for name, value in violation._asdict().items():
        if name in NOT_IN_PROMPT or value is None:
            continue
        text = clean(str(value), PROMPT_CHARACTERS.get(name, OTHER_CHARACTERS))
        if text:
            fields[name] = text
    return "<record>" + render_json(fields).replace("<", "\\u003c") + "</record>"


@dataclass(frozen=True)
class Request:
    """The Converse body of one record, and its estimated input tokens."""

    model_input: dict[str, Any]
    input_tokens: int

    def line(self) -> bytes:
        """The record's line of the input file, before its place is known."""
        return line_of(self.model_input)


def line_of(model_input: dict[str, Any], place: int = 0) -> bytes:
    return orjson.dumps({"recordId": record_id(place), "modelInput": model_input}) + b"\n"


def request_for(violation: ViolationRecord, inference: Inference) -> Request:
    text = f"{record_text(violation)}\n\n{INSTRUCTION}"
    body = {
        "system": [{"text": SYSTEM}],
        "messages": [{"role": "user", "content": [{"text": text}]}],
        "inferenceConfig": inference.document(),
    }
    body = with_answer_format(body, structured_output=inference.structured_output)
    return Request(body, tokens_of_body(body))


def with_answer_format(model_input: dict[str, Any], *, structured_output: bool) -> dict[str, Any]:
    """The body with the answer's schema, or without one.

    Converse takes it in ``outputConfig``
    (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_OutputConfig.html). Batch inference does too,
    but takes no tools through Converse (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html).
    """
    plain = {name: value for name, value in model_input.items() if name != "outputConfig"}
    return {**plain, "outputConfig": _OUTPUT_CONFIG} if structured_output else plain


_SCHEMA = orjson.dumps(ANSWER_SCHEMA).decode()
_OUTPUT_CONFIG = {
    "textFormat": {
        "type": "json_schema",
        "structure": {"jsonSchema": {"name": "generated_content", "schema": _SCHEMA}},
    }
}


def tokens_of_body(model_input: dict[str, Any]) -> int:
    """Estimated input tokens of a body of ``request_for``. A schema counts as text: AWS does not say more."""
    texts = [*model_input["system"], *(part for message in model_input["messages"] for part in message["content"])]
    schema = tokens_of(_SCHEMA) if "outputConfig" in model_input else 0
    return schema + sum(tokens_of(part["text"]) for part in texts)
