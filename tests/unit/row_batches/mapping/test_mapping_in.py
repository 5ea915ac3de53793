"""Mapping in: from cells to the target's input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import MappingError
from row_batches.mapping.mapping_in import InputMapper, compile_input_mapping
from row_batches.mapping.models import InputMapping

COLUMNS = ["id", "title", "details", "_status"]
CELLS = ["007", "Smart {id} Watch %s", '{"items": [{"n": 1}, {"n": 2}], "zero": null}', "FAILED"]


def mapper(columns: list[str] = COLUMNS, **mapping: Any) -> InputMapper:
    return compile_input_mapping(InputMapping.model_validate(mapping), columns)


def transformed(kind: str, config: dict[str, Any], cells: list[str] = CELLS, **more: Any) -> Any:
    return mapper(transformations={"field": {"type": kind, "config": config, **more}}).map(cells)["field"]


def test_without_a_mapping_every_column_but_metadata_is_passed_as_it_is() -> None:
    assert mapper().map(CELLS) == {"id": "007", "title": CELLS[1], "details": CELLS[2]}


def test_columns_are_renamed_and_static_values_keep_their_types() -> None:
    rows = mapper(column_mappings={"id": "ID"}, static_values={"full": True, "n": [1, None]})

    assert rows.map(CELLS) == {"ID": "007", "full": True, "n": [1, None]}


def test_transformations_win_over_static_values_and_those_over_columns() -> None:
    concat = {"type": "concat", "config": {"columns": ["id"]}}
    rows = mapper(
        column_mappings={"id": "a", "title": "b", "details": "c"},
        static_values={"b": "static", "c": "static"},
        transformations={"c": concat},
    )

    assert rows.map(CELLS) == {"a": "007", "b": "static", "c": "007"}


def test_concat_joins_with_a_space_or_the_separator() -> None:
    assert transformed("concat", {"columns": ["id", "id"]}) == "007 007"
    assert transformed("concat", {"columns": ["id", "id"], "separator": ""}) == "007007"


def test_a_template_takes_variables_and_columns_and_keeps_doubled_braces() -> None:
    config = {"template": "{{{id}}} 100% {t}{t}", "variables": {"t": "id"}}

    assert transformed("template", config) == "{007} 100% 007007"


def test_text_put_into_a_template_is_not_expanded_again() -> None:
    assert transformed("template", {"template": "{title}!{id}"}) == "Smart {id} Watch %s!007"


@pytest.mark.parametrize(
    ("path", "value"),
    [("$.items[0].n", 1), ("$.items[*].n", [1, 2]), ("$.items[?@.n > 1]", [{"n": 2}]), ("$.zero", None)],
)
def test_a_jsonpath_gives_the_match_or_the_list_of_matches(path: str, value: Any) -> None:
    assert transformed("jsonpath", {"column": "details", "path": path}) == value


def test_a_regex_gives_its_group() -> None:
    assert transformed("regex", {"column": "id", "pattern": "0*([1-9]+)"}) == "7"
    assert transformed("regex", {"column": "id", "pattern": "0+", "group": 0}) == "00"


FAILING: list[tuple[str, dict[str, Any], str]] = [
    ("jsonpath", {"column": "title", "path": "$.a"}, "not JSON"),
    ("jsonpath", {"column": "details", "path": "$.missing"}, r"\$.missing matches nothing"),
    ("jsonpath", {"column": "details", "path": "$.items[5:]"}, "matches nothing"),
    ("regex", {"column": "title", "pattern": "([0-9]+)"}, "does not match"),
    ("regex", {"column": "id", "pattern": "(x)?0"}, "does not match"),
]


@pytest.mark.parametrize(("kind", "config", "reason"), FAILING)
def test_a_cell_that_yields_nothing_fails_the_row_and_says_where(
    kind: str, config: dict[str, Any], reason: str
) -> None:
    with pytest.raises(MappingError, match=reason) as raised:
        transformed(kind, config)

    message = str(raised.value)
    assert all(part in message for part in ("'field'", kind, f"'{config['column']}'"))
    assert not any(cell in message for cell in CELLS)


@pytest.mark.parametrize(("kind", "config", "reason"), FAILING)
@pytest.mark.parametrize("default", [None, "", {"a": 1}])
def test_a_default_takes_the_place_of_a_failure(kind: str, config: dict[str, Any], reason: str, default: Any) -> None:
    assert transformed(kind, config, default=default) == default


def test_a_cell_nested_too_deep_fails_its_row_alone() -> None:
    config = {"column": "details", "path": "$..a"}

    for depth in (200, 100_000):
        with pytest.raises(MappingError, match="nested"):
            transformed("jsonpath", config, ["", "", "[" * depth + "]" * depth, ""])


cells = st.lists(st.text(max_size=20), min_size=3, max_size=3)


@given(cells)
def test_a_template_is_its_literals_with_the_cells_between(row: list[str]) -> None:
    template = {"type": "template", "config": {"template": "<{a}|{{{b}}}|{c}%>"}}

    mapped = mapper(["a", "b", "c"], transformations={"t": template}).map(row)

    assert mapped == {"t": "<" + row[0] + "|{" + row[1] + "}|" + row[2] + "%>"}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_json_cell_comes_out_of_the_root_path_as_it_is(value: Any) -> None:
    path = {"type": "jsonpath", "config": {"column": "a", "path": "$"}}

    assert mapper(["a"], transformations={"v": path}).map([json.dumps(value)]) == {"v": value}


def test_a_cell_with_too_many_matches_fails_its_row_alone() -> None:
    hostile = "[" * 99 + ",".join(["1"] * 20_000) + "]" * 99
    path = {"type": "jsonpath", "config": {"column": "a", "path": "$..*..*"}}
    mapped = mapper(["a"], transformations={"f": path})

    with pytest.raises(MappingError, match=r"field 'f' \(jsonpath of column 'a'\): the path looks at more than"):
        mapped.map([hostile])
    assert mapped.map(["[[1]]"]) == {"f": [1]}


def test_upper_gives_the_cell_in_capital_letters() -> None:
    mapped = mapper(["a"], transformations={"f": {"type": "upper", "config": {"column": "a"}}})

    assert mapped.map(["straße é ok"]) == {"f": "STRASSE É OK"}
