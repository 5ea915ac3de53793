"""Cells of a row. A cell is a text; in a file whose values have types, it can be a number, a boolean or an object."""

from __future__ import annotations

from typing import Any, Self

from foundation.json_text import parse_json


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
