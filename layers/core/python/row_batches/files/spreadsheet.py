"""Recognises what a spreadsheet does to cells when it opens a CSV and saves it again."""

from __future__ import annotations

import re
from datetime import date

from row_batches.mapping.date_text import read_date

_ZEROS = re.compile(r"0+[0-9]+")
_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_DATE_OF_TEXT = re.compile(r"[0-9]{1,2}(?:[-.]|\.? )[^\W\d_]{3,4}\.?|[^\W\d_]{3,4}\.?[- ][0-9]{2}")
"""The forms that Excel gives to ``1-2``, ``MARCH1`` or ``SEPT2``."""
_ERRORS = frozenset({"#NAME?", "#VALUE!", "#REF!", "#DIV/0!", "#N/A", "#NUM!"})
_LARGEST_CELL = 32_000
MOST_DIGITS = 15
"""Excel keeps this many digits of a number. ``SHOWN_DIGITS`` is the longest number that it does not shorten to six."""
SHOWN_DIGITS = 11

ZEROS = "leading zeros are gone"
DIGITS = "digits of long numbers are gone"
DATES = "dates are written differently"
MADE_DATES = "texts became dates"
NUMBERS = "numbers are written differently"
BOOLEANS = "true and false are in capitals"
FORMULAS = "texts became errors of formulas"
CUT = "long texts are cut"
CHARACTERS = "characters are lost"
CHANGES = (ZEROS, DIGITS, DATES, MADE_DATES, NUMBERS, BOOLEANS, FORMULAS, CUT, CHARACTERS)


def change_of(before: str, after: str) -> str | None:
    """One of ``CHANGES`` if a spreadsheet turns ``before`` into ``after`` by itself; None otherwise."""
    if before == after or not after:
        return None
    if after in _ERRORS:
        return FORMULAS
    if _PLAIN.fullmatch(before):
        return _change_of_number(before, after)
    if before in ("true", "false"):
        return BOOLEANS if after == before.upper() else None
    if (day := _date(before)) is not None:
        return DATES if _same_day(day, after) else None
    if _DATE_OF_TEXT.fullmatch(after):
        return MADE_DATES
    if len(after) > _LARGEST_CELL and before.startswith(after):
        return CUT
    return CHARACTERS if _lost(before, after) else None


def _change_of_number(before: str, after: str) -> str | None:
    number = _number(after)
    if number is None:
        return MADE_DATES if _DATE_OF_TEXT.fullmatch(after) else None
    if _ZEROS.fullmatch(before) and after == before.lstrip("0"):
        return ZEROS
    if number == float(before) and len(before) <= MOST_DIGITS:
        return NUMBERS
    return DIGITS if len(before) > SHOWN_DIGITS and abs(number - float(before)) <= abs(float(before)) * 1e-5 else None


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ".", 1))
    except ValueError:
        return None


def _date(text: str) -> date | None:
    try:
        return read_date(text)
    except ValueError:
        return None


def _same_day(day: date, after: str) -> bool:
    """Whether the three numbers in ``after`` are those of the day, in any order, the year with two or four digits."""
    found = sorted(int(number) for number in re.findall(r"[0-9]+", after)[:3])
    return found in (sorted((day.day, day.month, day.year)), sorted((day.day, day.month, day.year % 100)))


def _lost(before: str, after: str) -> bool:
    """Whether only characters that are not ASCII differ, and are question marks or replacement characters."""
    if len(before) != len(after) or before.isascii():
        return False
    return all(old == new or (new in "?\ufffd" and not old.isascii()) for old, new in zip(before, after, strict=True))
