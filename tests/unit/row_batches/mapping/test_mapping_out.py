"""Mapping out: from a target's answer to cells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.mapping.mapping_out import MappedRow, OutputMapper, compile_output_mapping
from row_batches.mapping.models import OutputMapping
from row_batches.mapping.output_types import OUTPUT_TYPES


def mapper(*columns: dict[str, Any]) -> OutputMapper:
    named = [{"name": f"c{index}", **column} for index, column in enumerate(columns)]
    return compile_output_mapping(OutputMapping.model_validate({"columns": named}))


def rendered(value: Any, **column: Any) -> MappedRow:
    return mapper({"source": "$.v", "default": "DEFAULT", **column}).map({"v": value}, None)


DEFAULT = MappedRow(["DEFAULT"], {})


def is_cast_failure(row: MappedRow) -> bool:
    return row.values == ["DEFAULT"] and list(row.cast_failures) == ["c0"]


BIG = 2**100 + 1


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        ("string", "text", "text"),
        ("string", "", ""),
        ("string", "007", "007"),
        ("string", True, "true"),
        ("string", 1.5, "1.5"),
        ("string", BIG, str(BIG)),
        ("string", {"a": [1, "é"]}, '{"a":[1,"é"]}'),
        ("number", 42, "42"),
        ("number", BIG, str(BIG)),
        ("number", 0.1, "0.1"),
        ("number", 1e22, "1e+22"),
        ("number", " 42 ", "42"),
        ("number", "-1.50", "-1.5"),
        ("number", str(BIG), str(BIG)),
        ("boolean", True, "true"),
        ("boolean", False, "false"),
        ("boolean", " True ", "true"),
        ("json_string", "text", '"text"'),
        ("json_string", None, "null"),
        ("json_string", ["a", 1, None], '["a",1,null]'),
        ("json_string", 1, "1"),
    ],
)
def test_a_match_is_rendered_by_its_type(kind: str, value: Any, cell: str) -> None:
    assert rendered(value, type=kind) == MappedRow([cell], {})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", True),
        ("number", "1,234"),
        ("number", "1_000"),
        ("number", "٣"),
        ("number", "abc"),
        ("number", ""),
        ("number", "1e999"),
        ("number", "9" * 5_000),
        ("number", float("nan")),
        ("number", float("inf")),
        ("number", [1]),
        ("boolean", 1),
        ("boolean", "yes"),
        ("boolean", {}),
        ("string", [float("nan")]),
        ("json_string", float("-inf")),
    ],
)
def test_a_match_that_cannot_be_cast_gives_the_default_and_counts(kind: str, value: Any) -> None:
    assert is_cast_failure(rendered(value, type=kind))


@pytest.mark.parametrize("kind", ["string", "number", "boolean"])
def test_null_is_no_value_and_no_failure(kind: str) -> None:
    assert rendered(None, type=kind) == DEFAULT


def test_a_number_format_applies_and_a_number_that_does_not_fit_is_a_cast_failure() -> None:
    assert rendered("3.14159", type="number", format="%.2f") == MappedRow(["3.14"], {})
    assert is_cast_failure(rendered(2.5, type="number", format="%d"))
    assert is_cast_failure(rendered(10**400, type="number", format="%.1e"))


def test_a_number_of_any_size_keeps_all_its_digits() -> None:
    digits = "1234567890123456789012345678901234567890"

    assert rendered(int(digits), type="number", format="%.2f") == MappedRow([f"{digits}.00"], {})
    assert rendered(f"{digits}.125", type="number", format="$%.2f") == MappedRow([f"${digits}.12"], {})
    assert rendered(f"-{digits}.125", type="number") == MappedRow([f"-{digits}.125"], {})


def test_a_date_is_read_and_written_as_iso_8601() -> None:
    assert rendered("31 January 2026", type="date") == MappedRow(["2026-01-31"], {})
    assert rendered(None, type="date") == DEFAULT


@pytest.mark.parametrize("value", ["01/02/2026", "soon", "2026-02-30", 1_700_000_000, True, ["2026-01-31"]])
def test_what_is_no_date_gives_the_default_and_counts(value: Any) -> None:
    assert is_cast_failure(rendered(value, type="date"))


@pytest.mark.parametrize(
    ("default", "cell"), [("", ""), ("n/a", "n/a"), (None, ""), (0, "0"), (1.5, "1.5"), (False, "false")]
)
def test_a_default_is_any_scalar(default: Any, cell: str) -> None:
    out = mapper({"source": "$.missing", "default": default})

    assert out.map({}, {}).values == out.defaults() == [cell]


def test_a_source_is_tried_on_the_answer_then_the_payload_then_the_wrapped_payload() -> None:
    answer = {"type": "tool_result", "a": "whole", "content": {"a": "payload", "b": "payload"}}

    out = mapper(
        {"source": "$.a"}, {"source": "$.b"}, {"source": "$.agent_output.b"}, {"source": "$.type"}, {"source": "$.c"}
    )

    assert out.map(answer, answer["content"]).values == ["whole", "payload", "payload", "tool_result", ""]


def test_a_path_that_can_match_many_gives_the_list_of_the_first_document_it_matches() -> None:
    out = mapper({"source": "$.items[*].n", "type": "json_string"}, {"source": "$..nothing", "default": "-"})

    assert out.map({"items": []}, {"items": [{"n": 1}, {"n": 2}]}).values == ["[1,2]", "-"]


def test_a_bare_text_is_reached_through_agent_output() -> None:
    out = mapper({"source": "$.agent_output"}, {"source": "$.x", "default": "none"})

    assert out.map("just text", "just text") == MappedRow(["just text", "none"], {}, ["c1"], {"$": ["<a text>"]})


def test_without_columns_the_payload_is_the_column_result() -> None:
    out = mapper()

    assert out.names == ["result"]
    assert out.map({"content": {"a": 1}}, {"a": 1}) == MappedRow(['{"a":1}'], {})
    assert out.map("text", "text") == MappedRow(['"text"'], {})
    assert out.defaults() == [""]


def test_one_bad_match_leaves_the_other_columns_of_the_row() -> None:
    out = mapper({"source": "$.a", "type": "number", "default": 0}, {"source": "$.b"})

    assert out.map({"a": "x", "b": "kept"}, None) == MappedRow(["0", "kept"], {"c0": '"x"'})


def test_an_answer_nested_too_deep_costs_its_columns_only() -> None:
    deep: dict[str, Any] = {"v": 1}
    for _ in range(100_000):
        deep = {"v": deep}

    out = mapper({"source": "$..w", "default": "-"}, {"source": "$.v"}, {"source": "$.x", "default": "+"})

    row = out.map(deep, deep)
    assert row.values == ["-", "", "+"]
    assert row.cast_failures == {"c0": "the document is nested deeper than 100 levels", "c1": "an object"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(json_values, st.sampled_from([kind.name for kind in OUTPUT_TYPES]))
def test_whatever_the_answer_there_is_one_cell_for_each_column_that_utf_8_can_hold(value: Any, kind: str) -> None:
    row = mapper({"source": "$.v", "type": kind}, {"source": "$..*", "type": kind}).map({"v": value}, value)

    assert len(row.values) == 2
    assert "".join(row.values).encode() is not None
    assert set(row.cast_failures) <= {"c0", "c1"}


@pytest.mark.parametrize(
    ("kind", "value", "sample"),
    [
        ("number", "1_000", '"1_000"'),
        ("number", "1,234.50", '"1,234.50"'),
        ("boolean", "yes", '"yes"'),
        ("date", "01/02/2026", '"01/02/2026"'),
        ("number", [1], "a list"),
        ("number", "x" * 1_000, '"' + "x" * 58 + "…"),
    ],
)
def test_a_value_that_cannot_be_cast_is_named_by_its_column_and_shortened(kind: str, value: Any, sample: str) -> None:
    assert rendered(value, type=kind).cast_failures == {"c0": sample}


def test_a_path_that_matches_nothing_is_missing_with_the_keys_where_it_ends() -> None:
    out = mapper(
        {"source": "$.sentimnet"},
        {"source": "$.score"},
        {"source": "$.speeds.downlod"},
        {"source": "$.words[7]"},
        {"source": "$.data.scoer"},
    )
    payload = {"sentiment": "good", "score": 1, "speeds": {"download": 5, "upload": 1}, "words": []}

    mapped = out.map({"result": "Success", "data": payload, "metadata": {}}, payload)

    assert mapped.values == ["", "1", "", "", ""]
    assert mapped.missing == ["c0", "c2", "c3", "c4"]
    keys = ["sentiment", "score", "speeds", "words"]
    assert mapped.answer_keys == {
        "$": keys,
        "$.speeds": ["download", "upload"],
        "$.words": ["<an empty list>"],
        "$.data": keys,
    }


def test_a_null_is_a_match_and_a_value_that_cannot_be_cast_too() -> None:
    out = mapper({"source": "$.a"}, {"source": "$.b", "type": "number"})

    assert out.map({"a": None, "b": "word"}, None).missing == ()


def test_few_keys_are_kept_however_many_and_long_they_are() -> None:
    payload = {f"{number}{'x' * 1_000}": number for number in range(10_000)}

    (keys,) = mapper({"source": "$.a"}).map(payload, payload).answer_keys.values()

    assert len(keys) == 30
    assert max(map(len, keys)) == 60
