"""JMESPath expressions: checked before they run, and bounded while they do."""

from __future__ import annotations

import re
import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from foundation.jmes_path import MAX_EXPRESSION_LENGTH, compile_jmes_path
from tests.support.memory import size_kilobytes

MEGABYTE = 1_000_000
SIX_MB: dict[str, Any] = {"items": [{"name": f"item {n}", "price": n, "tags": ["a"]} for n in range(120_000)]}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("messages[-1].content[0].text", "done"),
        ("messages[*].content[].text", ["hello", "done"]),
        ("messages[?role=='assistant'].role | [0]", "assistant"),
        ("length(messages)", 2),
        ("missing.field", None),
        ("to_number(count)", None),
        ("to_number(infinite)", None),
    ],
)
def test_an_expression_gives_what_the_language_says(expression: str, value: Any) -> None:
    document = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "done"}]},
        ],
        "count": None,
        "infinite": "1e999",
    }
    assert compile_jmes_path(expression)(document) == value


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("&n", "& begins an argument of a function"),
        ("[&n]", "& begins an argument of a function"),
        ("a.{b: &n}", "& begins an argument of a function"),
        ("to_array(&n)", "& begins an argument of a function"),
        ("not_null(a, &n)", "& begins an argument of a function"),
        ("a-b", "Unknown token '-'; put a name that has other characters"),
        ("größe", 'in double quotes, as in "a-b"'),
        ("", "cannot be empty"),
        ("items[", "Incomplete expression"),
        ("lenght(items)", "unknown function lenght(); did you mean length()?"),
        ("items | [?foo(@)]", "unknown function foo()"),
        ("length(a, b)", "length() takes 1 arguments, not 2"),
        ("not_null()", "not_null() takes at least 1 arguments, not 0"),
        ("(" * 900 + "a" + ")" * 900, "nested too deep"),
        ("a" * (MAX_EXPRESSION_LENGTH + 1), "2,001 characters"),
    ],
)
def test_a_bad_expression_is_refused_before_it_runs(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        compile_jmes_path(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "[@, @][]" + " | [*].[@, @][]" * 60,  # doubles 61 times
        "to_string([items, items, items])",
        "[items, items][?@ == @]",
        "items[*].to_string(@) | join(@[0], @)",
        " == ".join(["items"] * 100),
    ],
)
def test_an_expression_that_takes_too_much_work_on_an_answer_of_6_mb_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="takes more than 250,000 steps on this answer"):
        compile_jmes_path(expression)(SIX_MB)


@contextmanager
def most_memory(megabytes: int) -> Iterator[None]:
    """Let this process take so much more memory and no more: a test of a missing bound fails and fills no machine."""
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size_kilobytes() * 1024 + megabytes * MEGABYTE, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))


EMOJIS = {"text": "\U0001f600" * 1_100_000}


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        pytest.param("items" + " | [@, @][]" * 60, SIX_MB, id="a list that doubles"),
        pytest.param("[" + ",".join(["items"] * 100) + "][]", SIX_MB, id="a list that is there many times"),
        pytest.param("[" + ",".join(["items[::-1]"] * 100) + "]", SIX_MB, id="many slices"),
        # Each emoji becomes 12 characters, so the results take 264,000 steps, and their arguments 22,000.
        pytest.param("[to_string([text]), to_string([text])]", EMOJIS, id="results larger than arguments"),
        pytest.param(
            "[" + ",".join(["n"] * 500) + "] | [" + ",".join(["@"] * 110) + "][] | to_string(@)",
            {"n": 10**4_000},
            id="a long number many times",
        ),
    ],
)
def test_what_an_expression_creates_counts_so_its_memory_is_bounded(expression: str, answer: dict[str, Any]) -> None:
    search = compile_jmes_path(expression)

    with most_memory(500):
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="takes more than 250,000 steps on this answer"):
                search(answer)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak < 50 * MEGABYTE


@pytest.mark.parametrize(("expression", "count"), [("items[*].name", 120_000), ("length(items) && items[-2:].name", 2)])
def test_an_ordinary_expression_reads_an_answer_of_6_mb(expression: str, count: int) -> None:
    assert len(compile_jmes_path(expression)(SIX_MB)) == count


def test_texts_count_by_their_length() -> None:
    with pytest.raises(ValueError, match="steps"):
        compile_jmes_path("join(text, [text, text, text, text, text])")({"text": "x" * 6_000_000})


@pytest.mark.parametrize("expression", ["sum(items)", "contains(text, `1`)", "ceil(text)"])
def test_what_a_function_does_not_take_is_said_without_the_value(expression: str) -> None:
    with pytest.raises(ValueError, match="does not take what the answer has there") as refused:
        compile_jmes_path(expression)({"items": ["secret"], "text": "secret"})
    assert "secret" not in str(refused.value)
