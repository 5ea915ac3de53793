"""JSONPath: the direct walk and the engine give what RFC 9535 says, in linear time for regular expressions."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jsonpath_rfc9535
import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.mapping.json_path import NO_MATCH, compile_path

STORE: dict[str, Any] = {
    "book": [{"title": "A", "price": 8.95, "isbn": "0-553"}, {"title": "B", "price": 12}],
    "odd name": {"": 1, "é": 2, "with'quote": 3},
    "nothing": None,
}


@pytest.mark.parametrize(
    ("path", "many", "found"),
    [
        ("$", False, STORE),
        ("$.book[0].title", False, "A"),
        ("$['book'][-1]['title']", False, "B"),
        ('$["odd name"][""]', False, 1),
        ("$['odd name']['with\\'quote']", False, 3),
        ("$['odd name'].é", False, 2),
        ("$.nothing", False, None),
        ("$.book[2]", False, NO_MATCH),
        ("$.book.title", False, NO_MATCH),
        ("$.nothing.more", False, NO_MATCH),
        ("$['book']['0']", False, NO_MATCH),
        ("$.book[*].title", True, ["A", "B"]),
        ("$..title", True, ["A", "B"]),
        ("$.book[0:1].title", True, ["A"]),
        ("$.book[?@.price < 10].title", True, ["A"]),
        ("$.book[0,1].price", True, [8.95, 12]),
        ("$.book[?@.price > 100].title", True, NO_MATCH),
        ("$.book[?match(@.isbn, '0-[0-9]+')].title", True, ["A"]),
        ("$.book[?search(@.isbn, '55.')].title", True, ["A"]),
        ("$.book[?search(@.price, '8')].title", True, NO_MATCH),
        ("$.book[?length(@.title) == 1].price", True, [8.95, 12]),
    ],
)
def test_a_path_finds_what_the_standard_says(path: str, many: bool, found: Any) -> None:
    compiled = compile_path(path)

    assert compiled.many is many
    assert compiled.first(STORE) == found


@pytest.mark.parametrize(
    "path",
    [
        "",
        "book",
        "$.",
        "$[",
        "$.a b",
        "$[01]",
        "$[?foo(@.a)]",
        "$[?match(@.a, '(')]",
        "$.a\n.",
        "$['a\tb']",
        "$" + ".a" * 2_000,
    ],
)
def test_a_bad_path_is_a_value_error_that_says_something(path: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        compile_path(path)


@pytest.mark.parametrize("path", ["$..*..*..*..*", "$..a..b[?@..c]..d", "$[?count(@..*..*) > count($..*..*)]"])
def test_a_path_that_descends_too_often_is_refused_before_it_takes_hours(path: str) -> None:
    with pytest.raises(ValueError, match=r"has '\.\.' 4 times; at most 3 are allowed"):
        compile_path(path)


def test_a_path_may_descend_three_times_and_names_may_have_dots() -> None:
    document = {"a": {"x": {"b": {"c....": 1}}}}

    assert compile_path("$..a..b..['c....']").first(document) == [1]


names = st.text(st.characters(codec="utf-8", exclude_characters="'\\", exclude_categories=("Cc", "Cs")), max_size=4)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "x y"]) | names, inner, max_size=3)
    ),
    max_leaves=12,
)
steps = st.lists(
    st.sampled_from([".a", ".b", "['a']", "['x y']", "[0]", "[1]", "[2]", "[-1]"])
    | names.map(lambda name: f"['{name}']"),
    max_size=4,
)


@given(document=documents, path=steps.map(lambda parts: "$" + "".join(parts)))
def test_the_direct_walk_finds_what_the_library_finds(document: Any, path: str) -> None:
    expected = jsonpath_rfc9535.find(path, document).values()

    assert compile_path(path).first(document) == (expected[0] if expected else NO_MATCH)


def test_a_dot_matches_no_line_end_and_in_a_class_it_is_a_dot() -> None:
    values = ["a\nb", "axb", "a.b"]

    assert compile_path("$[?match(@, 'a.b')]").first(values) == ["axb", "a.b"]
    assert compile_path("$[?match(@, 'a[.]b')]").first(values) == ["a.b"]
    assert compile_path(r"$[?match(@, 'a\\.b')]").first(values) == ["a.b"]


def test_a_pattern_that_makes_backtracking_engines_hang_is_answered() -> None:
    program = (
        "from row_batches.mapping.json_path import NO_MATCH, compile_path; "
        """found = compile_path("$[?match(@, '(a|aa)*(a*)*b')]").first(["a" * 50_000]); """
        "print(found is NO_MATCH)"
    )

    # In a process of its own, which can be stopped: such an engine would not come back in years.
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert done.stdout == "True\n"


def test_a_pattern_from_the_document_that_is_invalid_matches_nothing() -> None:
    path = compile_path("$.rows[?match(@.text, @.pattern)].text")

    rows = [{"text": "a", "pattern": "("}, {"text": "b", "pattern": "b"}, {"text": "\ud800", "pattern": "."}]
    assert path.first({"rows": rows}) == ["b", "\ud800"]


def nested(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = {"deepest": 1}
    for _ in range(levels):
        document = {"a": document}
    return document


def test_a_document_nested_too_deep_is_an_error_and_no_crash() -> None:
    document = nested(5_000)

    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        compile_path("$..deepest").first(document)
    with pytest.raises(ValueError, match="nested deeper"):
        compile_path("$[?@.x == @.y]").first([{"x": document, "y": nested(5_000)}])
    assert compile_path("$.a.a.b").first(document) is NO_MATCH


def test_a_path_nested_too_deep_is_an_error_and_no_crash() -> None:
    with pytest.raises(ValueError, match="deep"):
        compile_path("$[?" + "(" * 900 + "@.a" + ")" * 900 + "]")
