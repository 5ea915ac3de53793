"""Dates: which forms are read, and which are not."""

from __future__ import annotations

import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.mapping.date_text import read_date


@pytest.mark.parametrize(
    "text",
    [
        *("2026-01-31", "2026-1-31", "2026/01/31", "2026.01.31", "20260131"),
        *("31.01.2026", "31. 1. 2026", "31/01/2026", "01/31/2026", "31-1-2026"),
        *("31 January 2026", "31 Jan 2026", "31 jan. 2026", "31-Jan-2026", "31st January, 2026", "31 JANUARY 2026"),
        *("January 31, 2026", "Jan 31 2026", "January 31st, 2026", "Saturday, January 31, 2026", "Sat 31 Jan 2026"),
        *("2026-01-31T23:30:00Z", "2026-01-31T23:30:00.123456+02:00", "2026-01-31 23:30", "20260131T2330"[:8]),
        *("Sat, 31 Jan 2026 23:30:00 +0000", "1/31/2026 11:30 PM", "2026-01-31, 23:30:00", "  2026-01-31\n"),
    ],
)
def test_a_usual_form_is_read(text: str) -> None:
    assert read_date(text) == date(2026, 1, 31)


def test_slashes_are_read_when_day_and_month_are_the_same_number() -> None:
    assert read_date("03/03/2026") == date(2026, 3, 3)


@pytest.mark.parametrize(
    "text",
    [
        *("", "tomorrow", "2026", "2026-01", "31.01.26", "01/02/2026", "02-01-2026", "2026-02-30", "0000-01-01"),
        *("2026-13-01", "13/13/2026", "31 Foo 2026", "20261301", "2026-01/31", "2026-01-31 or so", "١٢.٠١.٢٠٢٦"),
        *("1769817600", "Week 5 2026", "2026-W05", "2026-031"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_date(text)


@given(st.dates())
def test_every_date_is_read_in_every_form_that_python_writes(day: date) -> None:
    year = f"{day.year:04d}"
    forms = [
        day.isoformat(),
        f"{day:%d.%m.}{year}",
        f"{day:%d %B }{year}",
        f"{day:%b %d, }{year}",
        f"{day:%A, %d-%b-}{year}",
    ]

    assert {read_date(form) for form in forms} == {day}


@given(st.text(max_size=30))
def test_whatever_the_text_it_is_a_date_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_date(text), date)
