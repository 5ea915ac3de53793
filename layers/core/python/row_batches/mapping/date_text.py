"""Reads dates in the formats that people and programs use."""

from __future__ import annotations

import re
from datetime import date
from functools import cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FULL_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH_OF = {
    **{name: number for number, name in enumerate(_MONTHS, 1)},
    **{name: number for number, name in enumerate(_FULL_MONTHS, 1)},
    "sept": 9,
}
_TIME = (
    r"(?:[T ,]\s*[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
    r"(?:\s*[ap]m)?(?:\s*(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,?\s+)?"
_DAY = r"(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?"
_MONTH = r"(?P<m>[a-z]{3,9})\.?"
_FORMS = (
    r"(?P<y>[0-9]{4})(?P<mark>[-/.])(?P<m>[0-9]{1,2})(?P=mark)(?P<d>[0-9]{1,2})",
    r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})",
    r"(?P<d>[0-9]{1,2})\.\s?(?P<m>[0-9]{1,2})\.\s?(?P<y>[0-9]{4})",
    r"(?P<first>[0-9]{1,2})(?P<mark>[-/])(?P<second>[0-9]{1,2})(?P=mark)(?P<y>[0-9]{4})",
    _WEEKDAY + _DAY + r"(?:\s+|-)" + _MONTH + r"(?:,?\s+|-)(?P<y>[0-9]{4})",
    _WEEKDAY + _MONTH + r"\s+" + _DAY + r",?\s+(?P<y>[0-9]{4})",
)


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """The forms, compiled at their first use: few runs have a date column."""
    return tuple(re.compile(form + _TIME, re.IGNORECASE | re.ASCII) for form in _FORMS)


def read_date(text: str) -> date:
    """The date in a text. A time after the date is ignored. Surrounding spaces and letter case do not matter.

    Forms: ``2026-01-31``, ``2026/01/31``, ``2026.01.31``, ``20260131``; ``31.01.2026``, day first;
    ``31 January 2026``, ``31-Jan-2026``, ``January 31, 2026``, with or without a weekday; ``31/01/2026``,
    ``01/31/2026`` and the same with dashes, if the numbers show which one is the day. The date is taken as written; a
    time zone does not change it. Raises ValueError for anything else, such as ``01/02/2026``, which can be two dates.
    """
    text = text.strip()
    for form in _patterns():
        found = form.fullmatch(text)
        if found is None:
            continue
        parts = found.groupdict()
        if "first" in parts:
            day, month = int(parts["first"]), int(parts["second"])
            if month > 12:
                day, month = month, day
            elif day <= 12 and day != month:
                raise ValueError("day and month cannot be told apart")
        else:
            day = int(parts["d"])
            month = int(parts["m"]) if parts["m"].isdigit() else _MONTH_OF.get(parts["m"].lower(), 0)
        return date(int(parts["y"]), month, day)
    raise ValueError("not a date")
