"""Mapping out: from a target's answer to the cells of the mapped columns. Compiled once, run per row.

How a match is rendered, by the column's ``type``:

``string``
    A text as it is; anything else as compact JSON: ``true``, ``1.5``, ``{"a":[1]}``.
``number``
    A JSON number, or a text that is one (``" 42 "``, ``"-1.5e3"``; no thousands separators). Integers of any size
    exactly, other numbers in the shortest form that reads back the same (``0.1``); through ``format`` when given.
    Booleans, other texts, NaN and infinities are not numbers.
``boolean``
    ``true`` or ``false``, from a JSON boolean or a text that says so, letter case aside.
``json_string``
    Compact JSON, whatever the match: a text in its quotes, null as ``null``.

A path that matches nothing, and a null (but as ``json_string``), give the ``default``. A match that cannot be rendered
gives the default as well and counts as a cast failure. Defaults: a text as it is, null as the empty cell, others as
JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from foundation.json_text import encodable, render_json
from row_batches.mapping.json_path import NO_MATCH, compile_path
from row_batches.mapping.models import RESULT_COLUMN, OutputColumn, OutputMapping
from row_batches.mapping.number_format import compile_number_format

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")


class MappedRow(NamedTuple):
    """The cells of the mapped columns, and how many matches could not be cast."""

    values: list[str]
    cast_failures: int


class _Column(NamedTuple):
    first: Callable[[Any], Any]
    render: Callable[[Any], str]
    null: str
    default: str


class OutputMapper:
    """Maps answers. ``names`` are the mapped columns in order. Safe to use from several threads."""

    __slots__ = ("_columns", "names")

    def __init__(self, names: list[str], columns: list[_Column]) -> None:
        self.names = names
        self._columns = columns

    def map(self, answer: Any, payload: Any) -> MappedRow:
        """The cells of a row that is SUCCESS. Each source is tried on the whole answer, then on the payload, then on
        ``{"agent_output": payload}``; the first of these that it matches counts."""
        if not self._columns:
            return _payload_as_json(payload)
        documents = (
            (answer, {"agent_output": payload}) if answer is payload else (answer, payload, {"agent_output": payload})
        )
        values: list[str] = []
        cast_failures = 0
        for first, render, null, default in self._columns:
            try:
                for document in documents:
                    found = first(document)
                    if found is not NO_MATCH:
                        values.append(null if found is None else render(found))
                        break
                else:
                    values.append(default)
            except ValueError:
                values.append(default)
                cast_failures += 1
        return MappedRow(values, cast_failures)

    def defaults(self) -> list[str]:
        """The cells of a row that is not SUCCESS."""
        return [column.default for column in self._columns] or [""]


def compile_output_mapping(output_mapping: OutputMapping) -> OutputMapper:
    """A mapper for these columns; without columns, for the one column ``result``, the payload as JSON."""
    columns = [_compile(column) for column in output_mapping.columns]
    return OutputMapper([column.name for column in output_mapping.columns] or [RESULT_COLUMN], columns)


def _compile(column: OutputColumn) -> _Column:
    default = _render_default(column.default)
    null = "null" if column.type == "json_string" else default
    return _Column(compile_path(column.source).first, _renderer(column), null, default)


def _payload_as_json(payload: Any) -> MappedRow:
    try:
        return MappedRow([render_json(payload)], 0)
    except ValueError:
        return MappedRow([""], 1)


def _render_default(default: str | float | bool | None) -> str:
    if default is None:
        return ""
    return encodable(default) if isinstance(default, str) else render_json(default)


def _renderer(column: OutputColumn) -> Callable[[Any], str]:
    match column.type:
        case "string":
            return _render_string
        case "boolean":
            return _render_boolean
        case "json_string":
            return render_json
        case "number":
            if column.format is None:
                return lambda value: _number_text(_number(value))
            apply = compile_number_format(column.format)
            return lambda value: apply(_number(value))


def _render_string(value: Any) -> str:
    return encodable(value) if isinstance(value, str) else render_json(value)


def _render_boolean(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str) and (text := value.strip().lower()) in ("true", "false"):
        return text
    raise ValueError("not a boolean")


def _number(value: Any) -> int | float:
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text) is None:
            raise ValueError("not a number")
        value = int(text) if _WHOLE.fullmatch(text) else float(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _number_text(number: int | float) -> str:
    return repr(number)
