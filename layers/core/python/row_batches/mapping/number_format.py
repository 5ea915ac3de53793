"""Printf number formats, bounded: one conversion, width and precision of at most two digits."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

MAX_FORMAT_LENGTH = 100

Number = int | float | Decimal

_FORMAT = (
    r"(?P<before>(?:[^%]|%%)*)"
    r"%(?P<flags>[-+ 0#]{0,5})(?P<width>[0-9]*)(?:\.(?P<precision>[0-9]*))?(?P<kind>[a-zA-Z])"
    r"(?P<after>(?:[^%]|%%)*)"
)
_EXACT_AS_FLOAT = 2**53


def compile_number_format(text: str) -> Callable[[Number], str]:
    """A function that formats one number. Raises ValueError when the text is not such a format.

    Conversions: ``d i`` (whole numbers only; a fraction is refused, not cut off) and ``f F``, exact for numbers of any
    size, and ``e E g G``, with the 17 digits of a double. Text around the conversion is kept; ``%%`` is a percent sign.
    The function raises ValueError for a number that does not fit the conversion.
    """
    if len(text) > MAX_FORMAT_LENGTH:
        raise ValueError(f"the format has {len(text):,} characters; at most {MAX_FORMAT_LENGTH} are allowed")
    match = re.fullmatch(_FORMAT, text)
    if match is None:
        raise ValueError("not a printf format with exactly one conversion")
    if match["kind"] not in "difFeEgG":
        raise ValueError(f"conversion %{match['kind']} is not one of d, i, f, F, e, E, g, G")
    if len(match["width"]) > 2 or len(match["precision"] or "") > 2:
        raise ValueError("width and precision can have two digits at most")
    whole_only, fixed = match["kind"] in "di", match["kind"] in "fF"
    before, after = match["before"].replace("%%", "%"), match["after"].replace("%%", "%")

    def apply(number: Number) -> str:
        if whole_only and number != int(number):
            raise ValueError("a fraction does not fit a conversion for whole numbers")
        # printf would convert these to a double, which cannot hold all their digits.
        if fixed and (isinstance(number, Decimal) or (isinstance(number, int) and abs(number) > _EXACT_AS_FLOAT)):
            return before + _fixed(Decimal(number), match) + after
        try:
            return text % number
        except OverflowError:
            raise ValueError("the number is too large for the format") from None

    return apply


def _fixed(number: Decimal, match: re.Match[str]) -> str:
    """The number as ``%f`` has it, all its digits exact; halves are rounded to even."""
    flags, width = match["flags"], int(match["width"] or 0)
    precision = 6 if match["precision"] is None else int(match["precision"] or 0)
    digits = f"{number.copy_abs():.{precision}f}"
    if "#" in flags and not precision:
        digits += "."
    sign = "-" if number < 0 else "+" if "+" in flags else " " if " " in flags else ""
    if "-" in flags:
        return (sign + digits).ljust(width)
    if "0" in flags:
        return sign + digits.rjust(width - len(sign), "0")
    return (sign + digits).rjust(width)
