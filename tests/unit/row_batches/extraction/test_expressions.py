"""Expressions and transforms: what they give, and what is refused before any row runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from foundation.model_problems import ModelProblems
from row_batches.extraction.expressions import parse_expression, parse_step
from row_batches.extraction.rules import ExtractionRules
from row_batches.extraction.transforms import TRANSFORM_OF

TEXT = "Exchange: CANTERBURY \nDownload Speed: 1,067.5 Mbps\n"

GIVEN: list[tuple[str, Any, Any]] = [
    ("$.content", {"content": TEXT}, TEXT),
    ("$.content | parse('Exchange: (.+)')", {"content": TEXT}, "CANTERBURY"),
    ('$.content|parse("Exchange: (.+)")', {"content": TEXT}, "CANTERBURY"),
    ("$.content | parse('(Download) Speed: ([0-9,.]+)', 2) | number", {"content": TEXT}, 1067.5),
    ("$.content | parse('Download Speed: .*')", {"content": TEXT}, "Download Speed: 1,067.5 Mbps"),
    (r"$.content | parse('It\'s (a|b)')", {"content": "It's b"}, "b"),
    ("content | parse('Exchange: (.+)') | lower", {"content": TEXT}, "canterbury"),
    ("a | b", {"a": {"b": 1}}, 1),
    ("a || b", {"b": 1}, 1),
    ("items[?name=='a|b'].n | [0]", {"items": [{"name": "a|b", "n": 2}]}, 2),
    ("$.items[?@.a == 'x|y' || @.a == 'z'].n", {"items": [{"a": "z", "n": 2}]}, [2]),
    ("$['a|b'] | strip", {"a|b": " x "}, "x"),
    ("$.blocks | text", {"blocks": [{"type": "text", "text": "a"}, {"json": {"b": 1}}]}, 'a\n{"b":1}'),
    ("$.text | json", {"text": '```json\n{"a": 1}\n```'}, {"a": 1}),
    ("$.text | first_line", {"text": "\n  a \nb"}, "a"),
]


@pytest.mark.parametrize(("text", "document", "value"), GIVEN)
def test_an_expression_is_a_path_and_steps(text: str, document: Any, value: Any) -> None:
    assert parse_expression(text).compile("field", {})(document) == value


NOT_GIVEN: list[tuple[str, Any, str]] = [
    ("$.other", {"content": TEXT}, "$.other matches nothing"),
    ("$.content", {"content": None}, "matches nothing"),
    ("$.content | parse('Upload: (.+)')", {"content": TEXT}, "the pattern 'Upload: (.+)' does not match"),
    ("$.content | parse('[a-z]+xyz') | number", {"content": TEXT}, "does not match"),
    ("$.a | number", {"a": "none"}, "no number"),
    ("$.a | number", {"a": "1e999"}, "too large"),
    ("$.a | json", {"a": "{"}, "not JSON"),
    ("$.a | json", {"a": "null"}, "the value is null"),
    ("$.a | first_line", {"a": " \n "}, "empty"),
]


@pytest.mark.parametrize(("text", "document", "reason"), NOT_GIVEN)
def test_an_expression_that_gives_nothing_says_why(text: str, document: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as found:
        parse_expression(text).compile("field", {})(document)
    assert reason in str(found.value)


PARSED_TEXT: list[tuple[str, str]] = [
    ("Exchange: CANTERBURY\nSpeed: 67", "67 Mbps"),
    ("**Download speed:** 67 Mbps", "67 Mbps"),
    ("- download-speed : 67 Mbps", "67 Mbps"),
    ('{"download_speed": "67 Mbps"}', "67 Mbps"),
    ('```json\n{"download_speed": "67 Mbps"}\n```', "67 Mbps"),
    ("67 Mbps", "67 Mbps"),
    ("Download Speed: -5", "-5"),
]


@pytest.mark.parametrize(("text", "value"), PARSED_TEXT[1:])
def test_parse_text_reads_the_fields_value(text: str, value: str) -> None:
    assert TRANSFORM_OF["parse_text"].apply(text, "download_speed") == value


@pytest.mark.parametrize("text", [PARSED_TEXT[0][0], '{"speed": 1}', "I could not find it.\nTry again.", "Error: none"])
def test_parse_text_does_not_take_a_text_about_other_things_for_the_value(text: str) -> None:
    with pytest.raises(ValueError, match="has no"):
        TRANSFORM_OF["parse_text"].apply(text, "download_speed")


PATTERNS = [
    ("a'b", "a'b"),
    (r"a\'b", "a'b"),
    (r"\\'", "\\'"),
    ("(.+)", "x"),
    (r"[\d.-]+\s*Mbps", "67.5 Mbps"),
    ("a\nb", "a\nb"),
]


@pytest.mark.parametrize(("regex", "text"), PATTERNS)
def test_a_pattern_written_as_a_step_reads_back_as_one_that_matches_the_same(regex: str, text: str) -> None:
    assert parse_expression(f"$.a | {parse_step(regex)}").compile("field", {})({"a": text}) == text


BAD: list[tuple[dict[str, Any], str, str, str]] = [
    ({"extraction_methods": {}}, "extraction_methods", "not a list", "[...]"),
    ({"extraction_methods": [{"method": "regex"}]}, "extraction_methods[0].method", "unknown method", "tool_result"),
    (
        {"extraction_methods": [{"method": "structured_outptu"}]},
        "extraction_methods[0].method",
        "unknown method",
        "did you mean structured_output?",
    ),
    ({"extraction_methods": [{}]}, "extraction_methods[0].method", "is required", "structured_output"),
    (
        {"extraction_methods": [{"method": "direct"}]},
        "extraction_methods[0].field_mappings",
        "is required",
        "field_mappings",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mappings": {}}]},
        "extraction_methods[0].field_mappings",
        "is empty",
        "at least one",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mapping": {"a": "$"}, "field_mappings": {"a": "$"}}]},
        "extraction_methods[0].field_mapping",
        "unknown field",
        "did you mean field_mappings?",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mappings": {"a": "$.a | parse('(')"}}]},
        "extraction_methods[0].field_mappings.a",
        "missing )",
        "JSONPath",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mappings": {"a": "$.a | parse('(?=a)')"}}]},
        "extraction_methods[0].field_mappings.a",
        "no look-ahead",
        "JSONPath",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mappings": {"a": "$.a | parse('a', 1)"}}]},
        "extraction_methods[0].field_mappings.a",
        "group 1 does not exist",
        "JSONPath",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mappings": {"a": "$.a | upper | numbr"}}]},
        "extraction_methods[0].field_mappings.a",
        "unknown transform numbr",
        "did you mean number?",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mappings": {"a": "$."}}]},
        "extraction_methods[0].field_mappings.a",
        "not an expression",
        "JSONPath",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mappings": {"a": "lenght(@)"}}]},
        "extraction_methods[0].field_mappings.a",
        "did you mean length()",
        "JMESPath",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mappings": {"a": "| strip"}}]},
        "extraction_methods[0].field_mappings.a",
        "does not begin with a path",
        "JSONPath",
    ),
    (
        {"extraction_methods": [{"method": "direct", "field_mappings": {"a": 1}}]},
        "extraction_methods[0].field_mappings.a",
        "neither a text nor",
        "quotes",
    ),
    (
        {"extraction_methods": [{"method": "jmespath", "paths": {"transform": "strip"}}]},
        "extraction_methods[0].paths",
        "names no field",
        "{field: path}",
    ),
    (
        {"extraction_methods": [{"method": "jmespath", "paths": {"a": "b["}}]},
        "extraction_methods[0].paths.a",
        "not an expression",
        "JMESPath",
    ),
    (
        {"extraction_methods": [{"method": "jmespath", "paths": {"a": {"path": "b", "transfrom": "x"}}}]},
        "extraction_methods[0].paths.a.transfrom",
        "unknown field transfrom",
        "{path, transform}",
    ),
    (
        {"extraction_methods": [{"method": "jmespath", "paths": {"a": {"path": "b", "transform": "parse_txt"}}}]},
        "extraction_methods[0].paths.a.transform",
        "unknown transform parse_txt",
        "did you mean parse_text?",
    ),
    (
        {"extraction_methods": [{"method": "jmespath", "paths": {"a": "b", "transform": "parse_txt"}}]},
        "extraction_methods[0].paths.transform",
        "unknown transform parse_txt",
        "did you mean parse_text?",
    ),
    ({"transforms": {"strip": {"regex": "a"}}}, "transforms.strip", "is a built-in transform", "another name"),
    ({"transforms": {"a": {"regex": "("}}}, "transforms.a.regex", "not a regular expression", "RE2"),
    ({"transforms": {"a": {"regex": "(a)", "group": 2}}}, "transforms.a.group", "has 1 groups", "parentheses"),
    ({"transforms": {"A b": {"regex": "a"}}}, 'transforms["A b"]', "lower-case letters", "extract_exchange"),
]


@pytest.mark.parametrize(("rules", "path", "message", "fix"), BAD)
def test_a_mistake_is_named_with_its_path_and_a_fix(rules: dict[str, Any], path: str, message: str, fix: str) -> None:
    with pytest.raises(ValidationError) as invalid:
        ExtractionRules.model_validate(rules)

    (problem,) = ModelProblems(ExtractionRules).of(invalid.value)
    assert problem.path == path
    assert message in problem.message
    assert fix in problem.fix


def test_a_file_can_define_transforms_of_its_own() -> None:
    rules = ExtractionRules.model_validate(
        {
            "transforms": {"extract_exchange": {"regex": "(Exchange): (.+)", "group": 2}},
            "extraction_methods": [{"method": "direct", "field_mappings": {"a": "$.a | extract_exchange | lower"}}],
        }
    )
    (expression,) = rules.extraction_methods[0].expressions().values()

    assert expression.compile("a", rules.transforms)({"a": TEXT}) == "canterbury"
