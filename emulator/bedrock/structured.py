"""Structured output: checks Converse requests for it, and makes answers that conform to their schema.

* https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_OutputFormat.html
* https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html (what a schema can hold)
* https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-structured-outputs.html (the models)
* https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html (batch inference takes it too)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5", "claude-opus-4-6")
"""Parts of the ids of models that accept a schema through Converse."""
TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
KEYWORDS = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minItems",
        "enum",
        "const",
        "default",
        "description",
        "title",
        "format",
    }
)
"""The keywords of JSON Schema that the local AWS supports. AWS also accepts `anyOf`, `allOf` and internal `$ref`."""

Schema = Mapping[str, Any]


class UnsupportedError(ValueError):
    """Raised when Converse must answer ValidationException. The message says why."""


def schema_of(output_config: Any, model_id: str) -> Schema | None:
    """The schema of a request's `outputConfig`; None if it asks for no format.

    Raises:
        UnsupportedError: for a model, a form or a schema that AWS does not document.
    """
    config = _fields(output_config, "outputConfig", {"textFormat", "effort"})
    if "textFormat" not in config:
        return None
    if not any(mark in model_id for mark in MODELS):
        raise UnsupportedError("This model does not support structured output.")
    text_format = _fields(config["textFormat"], "outputConfig.textFormat", {"type", "structure"})
    if text_format.get("type") != "json_schema":
        raise UnsupportedError("outputConfig.textFormat.type: must be json_schema")
    structure = _fields(text_format.get("structure"), "outputConfig.textFormat.structure", {"jsonSchema"})
    definition = _fields(structure.get("jsonSchema"), "jsonSchema", {"schema", "name", "description"})
    text = definition.get("schema")
    if not isinstance(text, str):
        raise UnsupportedError("jsonSchema.schema: must be a JSON schema as a string")
    try:
        schema = json.loads(text)
    except ValueError:
        raise UnsupportedError("jsonSchema.schema: is not valid JSON") from None
    _check(schema, "schema")
    return dict(schema)


def _fields(value: Any, where: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnsupportedError(f"{where}: expected an object")
    unknown = sorted(set(value) - known)
    if unknown:
        raise UnsupportedError(f"{where}: extraneous key [{unknown[0]}] is not permitted")
    return value


def _check(schema: Any, where: str) -> None:
    if not isinstance(schema, dict):
        raise UnsupportedError(f"{where}: expected an object")
    unknown = sorted(set(schema) - KEYWORDS)
    if unknown:
        raise UnsupportedError(f"{where}: {unknown[0]} is not supported")
    if schema.get("type") not in TYPES and not {"enum", "const"} & set(schema):
        raise UnsupportedError(f"{where}: type is missing or not supported")
    if schema.get("minItems", 0) not in (0, 1):
        raise UnsupportedError(f"{where}: minItems supports 0 and 1")
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise UnsupportedError(f"{where}: additionalProperties must be false")
        for name, inner in schema.get("properties", {}).items():
            _check(inner, f"{where}.{name}")
    if "items" in schema:
        _check(schema["items"], f"{where}.items")


def conforming(schema: Schema, content: Mapping[str, object]) -> Any:
    """A value that conforms to the schema: from the content if name and type fit, else the smallest of its type."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "object":
            properties: Mapping[str, Schema] = schema.get("properties", {})
            return {name: _property(inner, content.get(name), content) for name, inner in properties.items()}
        case "array":
            return [conforming(schema["items"], content)] if schema.get("minItems") else []
        case kind:
            return {"string": "text", "integer": 0, "number": 0, "boolean": False, "null": None}[kind]


def _property(schema: Schema, found: object, content: Mapping[str, object]) -> Any:
    if schema.get("type") == "string" and isinstance(found, str):
        return found
    strings = schema.get("type") == "array" and schema.get("items", {}).get("type") == "string"
    return found if strings and isinstance(found, list) else conforming(schema, content)
