"""The schema of an agent's output: what it gives a batch, and what is refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from foundation.model_problems import ModelProblems
from row_batches.document.agent_schema import AgentSchema, schema_hash
from row_batches.mapping.models import OutputMapping


def schema(*fields: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"agent": "echo", "version": "1", "output_format": "mixed", "fields": list(fields), **rest}


def field(name: str, *extraction: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"name": name, "extraction": list(extraction) or [{"type": "direct"}], **rest}


def test_the_lists_of_fields_become_methods_in_which_each_field_keeps_its_order() -> None:
    tool, printed = {"type": "tool_result", "tool": "t", "pattern": "A: (.+)"}, {"type": "structured"}
    read = AgentSchema.model_validate(schema(field("a", tool, printed), field("b", printed, tool)))

    methods = read.output_mapping()["extraction_methods"]

    pattern = "$.content | parse('A: (.+)')"
    assert methods == [
        {"method": "tool_result", "tool_name": "t", "field_mappings": {"a": pattern}},
        {
            "method": "structured_output",
            "tool_name": "print_output",
            "field_mappings": {"a": "$.a", "b": "$.b"},
        },
        {"method": "tool_result", "tool_name": "t", "field_mappings": {"b": pattern}},
    ]


ENTRIES: list[tuple[dict[str, Any], Any]] = [
    ({"type": "structured"}, "$.a"),
    ({"type": "structured", "path": "$.b.c"}, "$.b.c"),
    ({"type": "tool_result"}, "$.content"),
    (
        {"type": "tool_result", "pattern": "'(x)' (y)", "group": 2},
        "$.content | parse('\\x27(x)\\x27 (y)', 2)",
    ),
    ({"type": "results_array"}, "results[0].a"),
    ({"type": "direct", "path": "b.c"}, "b.c"),
    ({"type": "jmespath"}, "a"),
    ({"type": "jmespath", "path": "b", "transform": "strip"}, {"path": "b", "transform": "strip"}),
]


@pytest.mark.parametrize(("entry", "expression"), ENTRIES)
def test_each_type_has_a_path_of_its_own_where_none_is_given(entry: dict[str, Any], expression: Any) -> None:
    given = AgentSchema.model_validate(schema(field("a", entry))).output_mapping()

    (method,) = given["extraction_methods"]
    assert (method.get("field_mappings") or method["paths"]) == {"a": expression}
    mapping = OutputMapping.model_validate(given)
    assert OutputMapping.model_validate_json(mapping.model_dump_json()) == mapping


BAD: list[tuple[dict[str, Any], str, str, str]] = [
    (schema(), "fields", "is empty", "at least one"),
    (schema(field("a"), agent="a b"), "agent", "64 letters", "registered"),
    (schema(field("a"), version=1.1), "version", "not a text", 'quotes around the version: "1.10"'),
    (schema(field("a"), output_format="xml"), "output_format", "not an allowed value", "'mixed'"),
    (schema(field("a"), field("a")), "fields[1].name", "used twice", "of its own"),
    (schema(field("a b")), "fields[0].name", "letters, digits and _", "download_speed"),
    (schema(field("_status")), "fields[0].name", "metadata column", "another name"),
    (schema(field("a", type="float")), "fields[0].type", "not an allowed value", "'number'"),
    (schema(field("a", format="%.2f")), "fields[0].format", "not a format of the field's type", "%.2f"),
    (schema({"name": "a", "extraction": []}), "fields[0].extraction", "is empty", "at least one"),
    (schema(field("a", {"type": "regex"})), "fields[0].extraction[0].type", "unknown extraction type", "structured"),
    (
        schema(field("a", {"type": "structurd"})),
        "fields[0].extraction[0].type",
        "unknown extraction type",
        "did you mean structured?",
    ),
    (
        schema(field("a", {"type": "tool_result", "pattern": "("})),
        "fields[0].extraction[0].pattern",
        "not a regular expression: missing )",
        "RE2",
    ),
    (
        schema(field("a", {"type": "tool_result", "pattern": "a", "group": 1})),
        "fields[0].extraction[0].group",
        "has 0 groups",
        "parentheses",
    ),
    (
        schema(field("a", {"type": "direct", "tool": "t"})),
        "fields[0].extraction[0].tool",
        "direct has no tool",
        "structured and tool_result have one",
    ),
    (schema(field("a", {"type": "direct", "path": "$["})), "fields[0].extraction[0].path", "not a path", "JSONPath"),
    (
        schema(field("a", {"type": "direct", "transform": "parse_txt"})),
        "fields[0].extraction[0].transform",
        "unknown transform parse_txt",
        "did you mean parse_text?",
    ),
    (
        schema(field("a", {"type": "direct", "paht": "$.a"})),
        "fields[0].extraction[0].paht",
        "unknown field",
        "did you mean path?",
    ),
    (
        schema(field("a", {"type": "structured"}), output_format="text"),
        "fields[0].extraction[0].type",
        "output_format is text",
        "mixed",
    ),
    (
        schema(field("a", {"type": "tool_result"}), output_format="structured"),
        "fields[0].extraction",
        "only in texts",
        "mixed",
    ),
]


@pytest.mark.parametrize(("given", "path", "message", "fix"), BAD)
def test_a_mistake_is_named_with_its_path_and_a_fix(given: dict[str, Any], path: str, message: str, fix: str) -> None:
    with pytest.raises(ValidationError) as invalid:
        AgentSchema.model_validate(given)

    (problem,) = ModelProblems(AgentSchema, "schema").of(invalid.value)
    assert problem.path == path
    assert message in problem.message
    assert fix in problem.fix


def test_a_version_can_be_a_whole_number() -> None:
    assert AgentSchema.model_validate(schema(field("a"), version=2)).version == "2"


def test_the_hash_is_that_of_the_text_which_terraform_writes() -> None:
    # jsonencode escapes <, >, &, U+2028 and U+2029, and sorts keys.
    text = '{"a":"\\u003cb\\u003e \\u0026 \\u2028","b":[1,true,null]}'

    assert schema_hash({"b": [1, True, None], "a": "<b> & \u2028"}) == hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_has_numbers_as_terraform_writes_them() -> None:
    # terraform console: jsonencode(yamldecode("a: 1.0\nb: 1e3\nc: 0.5\nd: 1e-7\nf: -0.0\ng: 1e23"))
    text = '{"a":1,"b":1000,"c":0.5,"d":0.0000001,"f":-0,"g":100000000000000000000000}'
    value = {"a": 1.0, "b": 1e3, "c": 0.5, "d": 1e-7, "f": -0.0, "g": 1e23}

    assert schema_hash(value) == hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    given = schema(field("a"))

    assert schema_hash(given) == schema_hash(json.loads(json.dumps(given, sort_keys=True)))
