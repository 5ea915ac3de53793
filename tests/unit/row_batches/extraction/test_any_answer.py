"""Extraction of any JSON whatever: it never raises, and each field is either found by a named method or missing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from row_batches.extraction.extractor import Extractor
from row_batches.extraction.methods import METHOD_OF
from row_batches.extraction.rules import ExtractionRules

NAMES = ["messages", "content", "type", "text", "tool_use", "tool_result", "role", "toolUse", "toolResult", "json"]
NAMES += ["results", "structured_output", "output", "message", "input", "name", "id", "tool_use_id", "status", "data"]
NAMES += ["Output", "Message", "Role", "Content", "Text", "ToolUse", "ToolResult", "Json"]
TEXTS = st.sampled_from(["text", "tool_use", "tool_result", "print_output", "error", '{"a": 1}', '["a"]', "a: b", ""])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*NAMES, "a"]), inner, max_size=5),
    max_leaves=30,
)
MAPPINGS = {
    "a": "$.a",
    "b": "$..a",
    "c": "$.content | parse('(.)') | number",
    "d": "results[0].a",
    "e": "$ | parse_text",
}
METHODS = [
    {"method": name, "paths" if name == "jmespath" else "field_mappings": MAPPINGS | {"f": "[*].*.a | [0]"}}
    for name in METHOD_OF
]
RULES = ExtractionRules.model_validate({"extraction_methods": METHODS})
EXTRACTOR = Extractor(RULES.extraction_methods, RULES.transforms)


@given(JSON, JSON)
def test_each_field_is_found_or_missing(answer: Any, payload: Any) -> None:
    extracted = EXTRACTOR.extract(answer, payload)

    assert {*extracted.fields} == {*extracted.methods} == {*EXTRACTOR.fields} - {*extracted.missing}
    assert None not in extracted.fields.values()
    assert set(extracted.methods.values()) <= METHOD_OF.keys()
    assert json.loads(extracted.text)["missing"] == extracted.missing


@given(JSON)
def test_what_is_explained_agrees_with_what_is_extracted(answer: Any) -> None:
    first: dict[str, str] = {}
    for attempt in EXTRACTOR.explain(answer, answer):
        assert attempt.where if attempt.found else attempt.reason
        if attempt.found:
            first.setdefault(attempt.field, attempt.method)

    assert first == EXTRACTOR.extract(answer, answer).methods
