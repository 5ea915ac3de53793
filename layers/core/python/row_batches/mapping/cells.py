"""Cells of a row. A cell is a text; in a file whose values have types, it can be a number, a boolean or an object.

``typed`` and ``read_cell`` turn a cell into the value that a file with types holds: None, a boolean, a
number, a text, or a ``JsonCell`` for what these do not hold exactly: objects, lists, and numbers of many digits.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Self

import orjson

from foundation.json_text import parse_json, render_json


class JsonCell(str):
    """A cell with a value other than text, made from its JSON: the text is what a CSV shows, empty for null."""

    __slots__ = ("json",)
    json: str

    def __new__(cls, json: str) -> Self:
        cell = super().__new__(cls, "" if json == "null" else json)
        cell.json = json
        return cell

    @property
    def value(self) -> Any:
        return parse_json(self.json)


def value_of(cell: str) -> Any:
    """The value that the target gets: the cell's text, or its typed value."""
    return cell.value if isinstance(cell, JsonCell) else cell


class CellKind(StrEnum):
    """The values that a column of the output holds besides texts. A cell that is not of the kind stays a text."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"
    """A whole number."""
    BOOLEAN = "boolean"
    DATE = "date"
    """``2026-01-31``, read as a text."""
    TIMESTAMP = "timestamp"
    """``2026-01-31T12:00:00.000Z``, read as a text."""
    JSON = "json"


_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SHORT_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,14}")
_FORMATTED = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
"""A number as printf writes it, such as +5 or 007, which JSON does not allow."""
_NUMBERS = (CellKind.NUMBER, CellKind.WHOLE)
_LITERALS = {"null": None, "true": True, "false": False}


def typed(cell: str) -> Any:
    """The value of an original cell: a text is that text, whatever is in it, and a typed cell is its value."""
    return _value_of_json(cell.json) if isinstance(cell, JsonCell) else cell


def read_cell(kind: CellKind, cell: str) -> Any:
    """The value of a mapped column's or a metadata column's cell. An empty cell is None."""
    if not cell:
        return None
    if kind in _NUMBERS:
        return _number(cell)
    if kind is CellKind.BOOLEAN:
        return _LITERALS.get(cell, cell)
    return _value_of_json(cell) if kind is CellKind.JSON and _is_json(cell) else cell


def _is_json(cell: str) -> bool:
    """Whether the cell is JSON. A column's default can be any text."""
    try:
        orjson.loads(cell)
    except ValueError:
        return False
    return True


def _value_of_json(json: str) -> Any:
    if json in _LITERALS:
        return _LITERALS[json]
    if json.startswith('"'):
        return parse_json(json)
    return JsonCell(json) if json.startswith(("{", "[")) else _number(json)


def _number(text: str) -> Any:
    if _SHORT_WHOLE.fullmatch(text):
        return int(text)
    if _JSON_NUMBER.fullmatch(text):
        number = float(text)
        return number if repr(number) == text else JsonCell(text)
    if _FORMATTED.fullmatch(text):
        return _number(render_json(float(text) if set(text) & set(".eE") else int(text)))
    return text
