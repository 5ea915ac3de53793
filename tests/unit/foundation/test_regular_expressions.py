"""Users' patterns: the work of a search is bounded, and ordinary patterns are far from the bound."""

from __future__ import annotations

import pytest

from foundation.json_path import compile_path
from foundation.regular_expressions import compile_pattern
from row_batches.extraction.extractor import Extractor
from row_batches.extraction.rules import ExtractionRules

MEGABYTE = "a" * 1_000_000
SLOW = ["((a?){1000})b", "(a?){500}(a?){500}(a?){500}b", "[ab]*a[ab]{900}(c)", r"\x{263a}|.{0,900}.{0,900}x"]
"""Patterns that RE2 runs with a step for each of their instructions and each character: minutes for a megabyte."""


@pytest.mark.parametrize("pattern", SLOW)
@pytest.mark.parametrize("search", ["search", "found_in", "matches"])
def test_a_pattern_that_is_too_large_for_a_long_text_is_refused_with_the_figures(pattern: str, search: str) -> None:
    with pytest.raises(ValueError, match=r"the text has 1,000,000 characters, and the pattern takes at most [0-9,]+: "):
        getattr(compile_pattern(pattern), search)(MEGABYTE)


@pytest.mark.parametrize("pattern", SLOW)
def test_the_same_pattern_runs_on_a_short_text(pattern: str) -> None:
    assert compile_pattern(pattern).search("a" * 1_000) is None


@pytest.mark.parametrize(
    ("pattern", "characters"),
    [
        (r"Exchange: ([A-Z\s]+)", 6_000_000),
        (r"Download Speed: ([\d.-]+\s*Mbps)", 6_000_000),
        (r"(?i)(?P<name>\p{Lu}[\p{L}'-]+)\s", 2_000_000),
        (r"[\p{L}\p{N}_]{2,64}@", 200_000),
        (r"[я-ӿ]+語", 6_000_000),
        (r"(a+)+$", 6_000_000),
    ],
)
def test_an_ordinary_pattern_takes_a_long_answer(pattern: str, characters: int) -> None:
    compile_pattern(pattern).search("." * characters)


def test_an_extraction_names_the_reason_and_goes_on_to_the_next_method() -> None:
    methods = [
        {"method": "direct", "field_mappings": {"a": f"$.text | parse('{pattern}')"}}
        for pattern in ("((a?){1000})b", "(a)")
    ]
    rules = ExtractionRules.model_validate({"extraction_methods": methods})
    answer = {"text": MEGABYTE}

    first, second = Extractor(rules.extraction_methods, rules.transforms).explain(answer, answer)

    assert not first.found
    assert "the text has 1,000,000 characters" in first.reason
    assert (second.found, second.value) == (True, "a")


def test_a_filter_of_a_json_path_is_refused_and_does_not_count_as_no_match() -> None:
    path = compile_path("$[?search(@, '(a?){900}(a?){900}b')]")

    with pytest.raises(ValueError, match="the text has 1,000,000 characters"):
        path.first([MEGABYTE])
