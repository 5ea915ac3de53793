"""JSONPath: the direct walk and the engine give what RFC 9535 says, in linear time for regular expressions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from typing import Any

import jsonpath_rfc9535
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.json_path import NO_MATCH, compile_path


def in_a_process_of_its_own(program: str) -> str:
    """What a program prints. A process can be stopped and measured."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


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


HOSTILE = "[" * 99 + ",".join(["1"] * 5_000) + "]" * 99
"""A cell of 10 KB, in which ``$..*..*`` has half a million matches and ``$..*..*..*`` some 25 million."""


@pytest.mark.parametrize(
    "path",
    [
        "$..*..*",
        "$..*..*..*",
        "$..[*]..[*]..nothing",
        "$" + "[0,0]" * 90,
        "$[?count(@..*..*) > 1]",
        "$..[?@..[0]..[0]]",
        "$" + "[?@[0,0]" + "[0,0]" * 90 + "]",
    ],
)
def test_a_path_with_too_many_matches_is_an_error(path: str) -> None:
    with pytest.raises(ValueError, match=r"looks at more than 1,000,000 values: make it narrower"):
        compile_path(path).first(json.loads(HOSTILE))


def test_too_many_matches_in_a_filter_take_bounded_memory() -> None:
    path, document = compile_path("$[?count(@..*..*) > 1]"), json.loads(HOSTILE)

    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="looks at more than"):
            path.first(document)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 100_000_000


def test_matches_that_contain_one_another_are_an_error_when_together_they_are_larger_than_a_target_takes() -> None:
    document: Any = "x" * 100_000
    for _ in range(90):
        document = {"a": document}

    with pytest.raises(ValueError, match="the matches have more than 6,291,456 characters"):
        compile_path("$..a").first(document)
    assert len(compile_path("$..a").first({"a": {"a": "x" * 100_000}})) == 2


def test_a_long_number_counts_by_its_digits() -> None:
    with pytest.raises(ValueError, match="the matches have more than 6,291,456 characters"):
        compile_path(f"$[{','.join('*' * 200)}]").first([10**4_000] * 100)


def test_a_large_document_is_searched_whole() -> None:
    document = {"items": [{"id": i, "tags": ["a", "b"], "name": f"item {i}"} for i in range(40_000)]}

    assert len(compile_path("$..id").first(document)) == 40_000
    assert len(compile_path("$.items[?@.id < 10 && @.tags[?@ == 'a']].name").first(document)) == 10


def test_a_path_may_descend_often_and_names_may_have_dots() -> None:
    document = {"a": {"x": {"b": {"c....": {"d": 1}}}}}

    assert compile_path("$..a..b..['c....']..d").first(document) == [1]


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


@pytest.mark.parametrize("quantifier", ["{12}", "{10,}", "{3,12}"])
def test_a_quantifier_of_several_digits_is_an_i_regexp(quantifier: str) -> None:
    assert compile_path(f"$[?match(@, '[A-Z]{quantifier}')]").first(["A" * 12, "A"]) == ["A" * 12]


@pytest.mark.parametrize("quantifier", ["{12,3}", "{1001}", "{,12}", "{a}", "{012}"])
def test_a_quantifier_that_is_none_is_refused(quantifier: str) -> None:
    with pytest.raises(ValueError, match=r"pattern of match\(\): "):
        compile_path(f"$[?match(@, '[A-Z]{quantifier}')]")


def test_a_pattern_that_makes_backtracking_engines_hang_is_answered() -> None:
    program = (
        "from foundation.json_path import NO_MATCH, compile_path; "
        """found = compile_path("$[?match(@, '(a|aa)*(a*)*b')]").first(["a" * 50_000]); """
        "print(found is NO_MATCH)"
    )

    # Such an engine would not come back in years.
    assert in_a_process_of_its_own(program) == "True\n"


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


many_paths = st.lists(
    st.sampled_from(
        [
            "..a",
            "..*",
            "[*]",
            ".*",
            "[0:2]",
            "[?@.a]",
            "[?@.a == 1]",
            "[?count(@..*) > 2]",
            "[0,'a']",
            "[?!@.b || @[0]]",
        ]
    ),
    min_size=1,
    max_size=3,
)


@given(document=documents, path=many_paths.map(lambda parts: "$" + "".join(parts)))
def test_the_bounded_search_finds_what_the_library_finds(document: Any, path: str) -> None:
    assert compile_path(path).first(document) == (jsonpath_rfc9535.find(path, document).values() or NO_MATCH)
