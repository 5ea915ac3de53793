"""Converse takes a schema for its answer, and the answer then is nothing but JSON that conforms to it.

* https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
* https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_OutputFormat.html
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws

HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["title", "tags"],
    "additionalProperties": False,
}


def output_config(schema: object, kind: str = "json_schema") -> dict[str, Any]:
    definition = {"name": "content", "schema": schema if isinstance(schema, str) else json.dumps(schema)}
    return {"textFormat": {"type": kind, "structure": {"jsonSchema": definition}}}


def converse(aws: LocalAws, model_id: str, text: str, config: dict[str, Any]) -> str:
    messages = [{"role": "user", "content": [{"text": text}]}]
    answer = aws.client("bedrock-runtime").converse(modelId=model_id, messages=messages, outputConfig=config)
    reply: str = answer["output"]["message"]["content"][0]["text"]
    return reply


@pytest.mark.parametrize(
    ("model_id", "config", "said"),
    [
        ("amazon.nova-lite-v1:0", output_config(SCHEMA), "does not support structured output"),
        (HAIKU, output_config(SCHEMA, "regex"), "type: must be json_schema"),
        (HAIKU, output_config("{"), "is not valid JSON"),
        (HAIKU, output_config({**SCHEMA, "additionalProperties": True}), "additionalProperties must be false"),
        (HAIKU, output_config({"type": "string", "maxLength": 100}), "maxLength is not supported"),
        (HAIKU, output_config({"type": "array", "items": SCHEMA, "minItems": 3}), "minItems supports 0 and 1"),
    ],
)
def test_what_aws_does_not_document_is_refused(
    local_aws: LocalAws, model_id: str, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ClientError, match=said) as refused:
        converse(local_aws, model_id, "Answer.", config)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_an_answer_with_a_schema_is_nothing_but_json_that_conforms_to_it(local_aws: LocalAws) -> None:
    for number in range(8):
        content = json.loads(converse(local_aws, HAIKU, f"company_name: Ridge {number}", output_config(SCHEMA)))
        assert set(content) == {"title", "tags"}
        assert content["title"].startswith(f"Ridge {number}")
        assert content["tags"]


def test_a_schema_of_other_fields_is_met_too(local_aws: LocalAws) -> None:
    fields = {"n": {"type": "integer"}, "ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}}
    schema = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    content = json.loads(converse(local_aws, HAIKU, "Answer.", output_config(schema)))
    assert content == {"n": 0, "ok": False, "kind": "a"}
