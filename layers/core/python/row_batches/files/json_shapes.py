"""Reads JSON objects that have the same keys in the same order, as almost all rows of a file do, much faster.

For such keys, one regular expression matches exactly the well-formed objects and splits them into the texts of their
values. So nothing is parsed that need not be: a text without escapes and a number are staged as they are written. What
an expression does not match, the reader parses in the ordinary way, which also says what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from row_batches.files.staged_copy import staged_cell

_MOST_KEYS = 100
_MOST_SHAPES = 8
_MOST_COMPILED = 64
"""Bounds of the time that compiling takes; it grows with the keys. A file whose rows all differ is read without."""
_PASSED_OVER = 8
"""So many blocks of lines are read line by line after one whose lines differ."""
_SPACES = r"[ \t\r\n]*+"
_TEXT = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
# Without exponents, and with so few digits, every number is finite. -0 is parsed, because it becomes 0.
_NUMBER = r"(?:-?[1-9][0-9]{0,299}+|0|-(?=0\.)0)(?:\.[0-9]{1,300}+)?+"
_NESTED = rf'[\[{{](?:[^\[\]{{}}"]++|{_TEXT})*+[\]}}]'
for _ in range(2):
    _NESTED = rf'[\[{{](?:[^\[\]{{}}"]++|{_TEXT}|{_NESTED})*+[\]}}]'
_VALUE = f"{_TEXT}|{_NUMBER}|true|false|null|{_NESTED}"


@dataclass(frozen=True, slots=True)
class Shape:
    """The objects with these keys in this order. A match of ``pattern`` has the text of each value as a group.

    ``lines`` matches the same for a whole line.
    """

    keys: tuple[str, ...]
    pattern: re.Pattern[str]
    lines: re.Pattern[str]


Found = tuple[Shape, Sequence[str]]
"""An object of a shape, with the texts of its values."""


class Shapes:
    """The shapes of a file's objects, the last used first."""

    def __init__(self) -> None:
        self._shapes: list[Shape] = []
        self._compiled = 0
        self._passed_over = 0

    def of_lines(self, lines: str) -> list[Found] | None:
        """The objects of lines that all have the same shape; None if they do not, or if it was not tried."""
        if self._passed_over or not self._shapes:
            self._passed_over = max(0, self._passed_over - 1)
            return None
        shape = self._shapes[0]
        found = shape.lines.findall(lines)
        if len(found) != lines.count("\n") + 1:
            self._passed_over = _PASSED_OVER
            return None
        return [(shape, values) for values in (found if len(shape.keys) > 1 else zip(found, strict=True))]

    def match(self, text: str, position: int = 0) -> tuple[Shape, re.Match[str]] | None:
        """The shape of the object that begins at ``position``, and its match; None if it has none that is known."""
        for place, shape in enumerate(self._shapes):
            found = shape.pattern.match(text, position)
            if found is not None:
                if place:
                    self._shapes.insert(0, self._shapes.pop(place))
                return shape, found
        return None

    def learn(self, keys: Sequence[str]) -> None:
        """Make a shape of the keys of an object that had to be parsed."""
        if not 0 < len(keys) <= _MOST_KEYS or self._compiled >= _MOST_COMPILED:
            return
        if any(list(shape.keys) == list(keys) for shape in self._shapes):
            return
        self._compiled += 1
        pairs = (rf"{re.escape(json.dumps(key, ensure_ascii=False))}{_SPACES}:{_SPACES}({_VALUE})" for key in keys)
        pattern = rf"\{{{_SPACES}{f'{_SPACES},{_SPACES}'.join(pairs)}{_SPACES}\}}"
        lines = re.compile(rf"^[ \t]*+{pattern}[ \t\r]*+$", re.MULTILINE)
        self._shapes = [Shape(tuple(keys), re.compile(pattern), lines), *self._shapes[: _MOST_SHAPES - 1]]


def cells_of(values: Sequence[str], nested: Callable[[str], str]) -> str:
    """The staged cells of values as they are written in JSON. ``nested`` gives the cell of an object or a list."""
    return ",".join([value if value[0] == '"' and "\\" not in value else _cell(value, nested) for value in values])


def _cell(value: str, nested: Callable[[str], str]) -> str:
    if value[0] == '"':
        try:
            return staged_cell(orjson.loads(value))
        except ValueError:
            return staged_cell(json.loads(value))  # Half of a surrogate pair, which is refused with its place.
    return nested(value) if value[0] in "[{" else f'"\\\\j{value}"'
