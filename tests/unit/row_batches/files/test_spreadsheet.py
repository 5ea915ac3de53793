"""What a spreadsheet does to cells by itself, and what a person does."""

from __future__ import annotations

import pytest

from row_batches.files.spreadsheet import (
    BOOLEANS,
    CHANGES,
    CHARACTERS,
    CUT,
    DATES,
    DIGITS,
    FORMULAS,
    MADE_DATES,
    NUMBERS,
    ZEROS,
    change_of,
)

BY_ITSELF = [
    ("007", "7", ZEROS),
    ("01234567890123", "1234567890123", ZEROS),
    ("1234567890123456", "1.23457E+15", DIGITS),
    ("1234567890123456", "1,23457E+15", DIGITS),
    ("12345678901234567890", "12345678901234500000", DIGITS),
    ("123456789012", "1.23457E+11", DIGITS),
    ("2026-01-31", "31.01.2026", DATES),
    ("2026-01-31", "1/31/2026", DATES),
    ("2026-01-31", "31/01/26", DATES),
    ("1-2", "02-Jan", MADE_DATES),
    ("MARCH1", "1. Mrz", MADE_DATES),
    ("SEPT2", "2-Sep", MADE_DATES),
    ("1.50", "1.5", NUMBERS),
    ("1.5", "1,5", NUMBERS),
    ("+4930123", "4930123", NUMBERS),
    ("true", "TRUE", BOOLEANS),
    ("=me", "#NAME?", FORMULAS),
    ("x" * 40_000, "x" * 32_767, CUT),
    ("日本 é", "?? é", CHARACTERS),
]


@pytest.mark.parametrize(("before", "after", "change"), BY_ITSELF)
def test_a_change_of_a_spreadsheet_is_recognised(before: str, after: str, change: str) -> None:
    assert change_of(before, after) == change


def test_every_change_has_an_example() -> None:
    assert {change for _, _, change in BY_ITSELF} == set(CHANGES)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("same", "same"),
        ("007", "008"),
        ("12", "13"),
        ("1234567890123456", "9234567890123456"),
        ("2026-01-31", "2026-02-01"),
        ("Jon", "John"),
        ("text", ""),
        ("", "added"),
        ("true", "false"),
        ("what?", "what!"),
        ("x" * 40_000, "x" * 10),
    ],
)
def test_a_correction_of_a_person_is_none(before: str, after: str) -> None:
    assert change_of(before, after) is None
