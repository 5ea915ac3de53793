"""The small languages of the input document: JSON texts, regular expressions, number formats, templates."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.json_text import encodable, parse_json, render_json
from foundation.regular_expressions import compile_pattern
from row_batches.mapping.number_format import compile_number_format
from row_batches.mapping.template_text import Template, parse_template

BIG = 2**200 + 1


def test_integers_of_any_size_stay_exact() -> None:
    assert render_json(parse_json(f'{{"n": {BIG}}}')) == f'{{"n":{BIG}}}'


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "[Infinity]", "secret", "'a'", "[" * 100_000, "9" * 5_000, "1e999", "{} {}"]
)
def test_what_is_not_json_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="JSON") as raised:
        parse_json(text)

    assert "secret" not in str(raised.value)
    assert len(str(raised.value)) < 100


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": {1, 2}}, object()])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        render_json(value)


def test_a_value_nested_too_deep_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(ValueError, match="deep"):
        render_json(value)


@given(st.text(st.characters(), max_size=20))
def test_rendered_json_can_always_be_encoded_and_read_back(text: str) -> None:
    rendered = render_json([text])

    assert json.loads(rendered.encode()) == [encodable(text)]


def test_lone_surrogates_become_the_replacement_character_and_nothing_else_changes() -> None:
    assert encodable("a\ud800b😀é") == "a\ufffdb😀é"


def test_a_pattern_finds_the_group_anywhere_in_the_text() -> None:
    pattern = compile_pattern(r"No (\d+)( or (\d+))?")

    assert pattern.search("see No 42, No 43", 1) == "42"
    assert pattern.search("see No 42", 0) == "No 42"
    assert pattern.search("see No 42", 3) is None
    assert pattern.search("nothing", 1) is None
    assert pattern.search("Ünïcödé 😀 No 7", 1) == "7"


@pytest.mark.parametrize("pattern", ["(", "(?=a)", "(?<!a)b", r"(a)\1", "a*+", "a{1001}", "x" * 3_000, "\ud800"])
def test_a_pattern_beyond_the_engine_is_refused_with_the_reason(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"RE2 syntax|at most|UTF-8"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("text", "number", "formatted"),
    [
        ("%.2f", 3.14159, "3.14"),
        ("%d", 42, "42"),
        ("%d", 42.0, "42"),
        ("%d", BIG, str(BIG)),
        ("$%08.2f", 3.5, "$00003.50"),
        ("%d%%", 7, "7%"),
        ("%+.1e", 12345, "+1.2e+04"),
        ("%-5d|", 7, "7    |"),
        ("%g", 0.00001, "1e-05"),
    ],
)
def test_a_number_format_formats(text: str, number: float, formatted: str) -> None:
    assert compile_number_format(text)(number) == formatted


@pytest.mark.parametrize(
    "text", ["", "x", "%", "%%", "%d%d", "%s", "%r", "%c", "%(a)d", "%*d", "%100d", "%.100f", "%ld", "%d" + " " * 99]
)
def test_a_number_format_beyond_the_bounds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"format|conversion|digits"):
        compile_number_format(text)


@pytest.mark.parametrize(("text", "number"), [("%d", 1.5), ("%.1e", 10**400), ("%d", Decimal("1.5"))])
def test_a_number_that_does_not_fit_its_format_is_refused_rather_than_cut(text: str, number: float | Decimal) -> None:
    with pytest.raises(ValueError, match=r"fraction|too large"):
        compile_number_format(text)(number)


def test_a_template_is_literals_and_names() -> None:
    assert parse_template("{a} and {b c}{{x}}%") == Template(("", " and ", "{x}%"), ("a", "b c"))


@pytest.mark.parametrize("text", ["{", "}", "{}", "{ }", "{a", "a}", "{a{b}}", "{{{", "{a}}"])
def test_a_template_with_a_single_brace_or_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="character"):
        parse_template(text)


@given(st.text(max_size=30))
def test_any_text_with_doubled_braces_is_a_template_of_itself(text: str) -> None:
    assert parse_template(text.replace("{", "{{").replace("}", "}}")) == Template((text,), ())


@given(
    number=st.integers(-(2**53), 2**53),
    flags=st.text(st.sampled_from("-+ 0#"), max_size=3),
    width=st.integers(0, 30),
    precision=st.sampled_from(["", ".", ".0", ".3"]),
)
def test_exact_digits_are_laid_out_as_printf_does(number: int, flags: str, width: int, precision: str) -> None:
    text = f"<%{flags}{width or ''}{precision}f%%>"

    assert compile_number_format(text)(Decimal(number)) == text % number


def test_a_number_text_keeps_the_digits_that_no_double_has() -> None:
    assert compile_number_format("%.20f")(Decimal("0.12345678901234567890")) == "0.12345678901234567890"
    assert compile_number_format("%d")(Decimal(f"{BIG}")) == f"{BIG}"
