"""Printf number formats, bounded: one conversion, width and precision of at most two digits."""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_FORMAT_LENGTH = 100

_FORMAT = re.compile(
    r"(?:[^%]|%%)*%[-+ 0#]{0,5}(?P<width>[0-9]*)(?:\.(?P<precision>[0-9]*))?(?P<kind>[a-zA-Z])(?:[^%]|%%)*"
)


def compile_number_format(text: str) -> Callable[[int | float], str]:
    """A function that formats one number. Raises ValueError when the text is not such a format.

    Conversions: ``d i`` (whole numbers only: a fraction is refused rather than cut off), ``f F e E g G``. Text around
    the conversion is kept, ``%%`` is a percent sign. The function raises ValueError for a number that does not fit.
    """
    if len(text) > MAX_FORMAT_LENGTH:
        raise ValueError(f"the format has {len(text):,} characters; at most {MAX_FORMAT_LENGTH} are allowed")
    match = _FORMAT.fullmatch(text)
    if match is None:
        raise ValueError("not a printf format with exactly one conversion")
    if match["kind"] not in "difFeEgG":
        raise ValueError(f"conversion %{match['kind']} is not one of d, i, f, F, e, E, g, G")
    if len(match["width"]) > 2 or len(match["precision"] or "") > 2:
        raise ValueError("width and precision may have two digits at most")
    whole_only = match["kind"] in "di"

    def apply(number: int | float) -> str:
        if whole_only and number != number // 1:
            raise ValueError("a fraction does not fit a conversion for whole numbers")
        try:
            return text % number
        except OverflowError:
            raise ValueError("the number is too large for the format") from None

    return apply
