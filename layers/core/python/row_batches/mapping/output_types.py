"""The registry of output types, which convert a match to the cell of a mapped column.

To add one, add an entry to ``OUTPUT_TYPES``. The input document, its checks, the mapper and the reference page are
derived from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from foundation.json_text import encodable, render_json
from row_batches.mapping.cells import CellKind
from row_batches.mapping.date_text import read_date
from row_batches.mapping.number_format import Number, compile_number_format

Render = Callable[[Any], str]
"""Converts a match to its cell. Raises ValueError when the match cannot be cast."""


class OutputType(NamedTuple):
    """A ``type`` of mapped columns.

    ``compile_format`` turns a column's ``format`` into the ``Render`` to use instead, and raises ValueError for an
    invalid format; it is None if the type has no formats. With ``has_null``, a null is rendered; without it, a null
    gives the column's default. ``kind`` says how a format with types reads the cell.
    """

    name: str
    kind: CellKind
    render: Render
    doc: str
    compile_format: Callable[[str], Render] | None = None
    has_null: bool = False


def _string(value: Any) -> str:
    return encodable(value) if isinstance(value, str) else render_json(value)


_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")


def _read_number(value: Any) -> Number:
    if isinstance(value, str):
        value = _number_of_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _number_of_text(text: str) -> Number:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("not a number")
    if _WHOLE.fullmatch(text):
        return int(text)
    number = float(text)
    exact = Decimal(text)
    # A text can have more digits than a double holds.
    return number if not math.isfinite(number) or Decimal(repr(number)) == exact else exact


def _number(value: Any) -> str:
    number = _read_number(value)
    return str(number) if isinstance(number, Decimal) else repr(number)


def _formatted_number(text: str) -> Render:
    apply = compile_number_format(text)
    return lambda value: apply(_read_number(value))


def _boolean(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str) and (text := value.strip().lower()) in ("true", "false"):
        return text
    raise ValueError("not a boolean")


def _date(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a date")
    return read_date(value).isoformat()


OUTPUT_TYPES = (
    OutputType(
        "string", CellKind.TEXT, _string, 'a text unchanged; anything else as compact JSON: `true`, `1.5`, `{"a":[1]}`'
    ),
    OutputType(
        "number",
        CellKind.NUMBER,
        _number,
        'a JSON number, or a text with a number (`" 42 "`, `"-1.5e3"`; no thousands separators, no underscores). Whole '
        "numbers of any size are exact. Other numbers have the shortest form that reads back as the same value. "
        "`format` is one printf conversion of `d i f F e E g G`, such as `%.2f`",
        compile_format=_formatted_number,
    ),
    OutputType(
        "boolean",
        CellKind.BOOLEAN,
        _boolean,
        "`true` or `false`, from a JSON boolean or one of these words as a text, in any case",
    ),
    OutputType(
        "date",
        CellKind.DATE,
        _date,
        "`2026-01-31`, from a text in one of these forms: `2026-01-31`, `2026/01/31`, `2026.01.31`, `20260131`; "
        "`31.01.2026` (day first); `31 January 2026`, `31-Jan-2026`, `January 31, 2026` (English, with or without a "
        "weekday); "
        "`31/01/2026` or `01/31/2026` (also with `-`) if the numbers show which one is the day. A time after the date "
        "is ignored, and a time zone does not change the date",
    ),
    OutputType(
        "json_string",
        CellKind.JSON,
        render_json,
        "any match as compact JSON: a text in quotes, null as `null`",
        has_null=True,
    ),
)
OUTPUT_TYPE_OF = {kind.name: kind for kind in OUTPUT_TYPES}

if TYPE_CHECKING:
    OutputTypeName = str
else:
    OutputTypeName = Literal[tuple(OUTPUT_TYPE_OF)]
