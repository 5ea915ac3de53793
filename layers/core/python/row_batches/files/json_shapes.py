"""Reads JSON objects that have the same keys in the same order, as almost all rows of a file do, much faster.

For such keys, one regular expression matches exactly the well-formed objects and splits them into the texts of their
values. Texts without escapes and numbers are then staged as they are written, without parsing. The reader parses
everything that the expression does not match in the ordinary way, which also finds mistakes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from row_batches.files.staged_copy import staged_cell

_MOST_KEYS = 100
_MOST_SHAPES = 8
_MOST_COMPILED = 64
"""Bounds for the time of compiling, which grows with the keys. A file whose rows all differ is read without shapes."""
_ITEMS_CHARACTERS = 65_536
"""The size in characters of the items of an array that are read together."""
_PASSED_OVER = 8
"""This many blocks of lines are read line by line after a block whose lines differ."""
_SPACES = r"[ \t\r\n]*+"
_TEXT = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
# Without exponents, and with so few digits, every number is finite. -0 is parsed, because it becomes 0.
_NUMBER = r"(?:-?[1-9][0-9]{0,299}+|0|-(?=0\.)0)(?:\.[0-9]{1,300}+)?+"
_NESTED = rf'[\[{{](?:[^\[\]{{}}"]++|{_TEXT})*+[\]}}]'
for _ in range(2):
    _NESTED = rf'[\[{{](?:[^\[\]{{}}"]++|{_TEXT}|{_NESTED})*+[\]}}]'
_VALUE = f"{_TEXT}|{_NUMBER}|true|false|null|{_NESTED}"
_STAGED_JSON = '"\\\\j%s"'


@dataclass(frozen=True, slots=True)
class Shape:
    """The objects with these keys in this order. A match of ``pattern`` has the text of each value as a group.

    ``line`` matches the same for a whole line. Without groups, ``lines`` matches any number of lines, ``object`` what
    ``pattern`` matches, and ``objects`` any number of these with commas between them.
    """

    keys: tuple[str, ...]
    pattern: re.Pattern[str]
    line: re.Pattern[str]
    lines: re.Pattern[str]
    object: re.Pattern[str]
    objects: re.Pattern[str]


Found = tuple[Shape, Sequence[str]]
"""An object of a shape, with the texts of its values."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Successive objects of one shape. ``unit`` and ``first`` are the place of the first one, such as "line" and 7.

    ``values`` has the texts of the values of each object; it is empty if only the keys were asked for.
    """

    shape: Shape
    unit: str
    first: int
    count: int
    values: Sequence[tuple[str, ...]] = ()

    def after(self, skipped: int) -> Alike:
        """The objects after the first so many."""
        return Alike(self.shape, self.unit, self.first + skipped, self.count - skipped, self.values[skipped:])


class Shapes:
    """The shapes of a file's objects, the last used first."""

    def __init__(self) -> None:
        self._shapes: list[Shape] = []
        self._compiled = 0
        self._passed_over = 0

    def of_lines(self, lines: str, first: int, *, only_keys: bool) -> Alike | None:
        """The objects of lines that all have the same shape; None if they do not, or if it was not tried.

        ``first`` is the number of the first line.
        """
        if self._passed_over or not self._shapes:
            self._passed_over = max(0, self._passed_over - 1)
            return None
        shape = self._shapes[0]
        count = lines.count("\n") + 1
        if only_keys and shape.lines.fullmatch(lines):
            return Alike(shape, "line", first, count)
        found = [] if only_keys else shape.line.findall(lines)
        if len(found) != count:
            self._passed_over = _PASSED_OVER
            return None
        return Alike(shape, "line", first, count, _groups(found, shape))

    def of_items(self, text: str, position: int, first: int, *, only_keys: bool) -> tuple[Alike, int] | None:
        """The objects of the shape used last that begin at ``position``, with commas between them, and their end.

        ``first`` is the number of the first item. None if there is no such object.
        """
        found = self._shapes[0].objects.match(text, position, position + _ITEMS_CHARACTERS) if self._shapes else None
        if found is None:
            return None
        shape, end = self._shapes[0], found.end()
        if only_keys:
            return Alike(shape, "item", first, len(shape.object.findall(text, position, end))), end
        values = _groups(shape.pattern.findall(text, position, end), shape)
        return Alike(shape, "item", first, len(values), values), end

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
        pattern, plain = _object_of(keys, f"({_VALUE})"), _object_of(keys, f"(?:{_VALUE})")
        line = re.compile(rf"^[ \t]*+{pattern}[ \t\r]*+$", re.MULTILINE)
        lines = re.compile(rf"(?:[ \t]*+{plain}[ \t\r]*+(?:\n|\Z))++")
        objects = re.compile(rf"{plain}(?:{_SPACES},{_SPACES}{plain})*+")
        shape = Shape(tuple(keys), re.compile(pattern), line, lines, re.compile(plain), objects)
        self._shapes = [shape, *self._shapes[: _MOST_SHAPES - 1]]


def _groups(found: list[Any], shape: Shape) -> Sequence[tuple[str, ...]]:
    """What ``findall`` found, as tuples also for a single group."""
    return found if len(shape.keys) > 1 else list(zip(found, strict=True))


def _object_of(keys: Sequence[str], value: str) -> str:
    """The pattern of an object with these keys in this order. ``value`` matches a value."""
    pairs = (rf"{re.escape(json.dumps(key, ensure_ascii=False))}{_SPACES}:{_SPACES}{value}" for key in keys)
    return rf"\{{{_SPACES}{f'{_SPACES},{_SPACES}'.join(pairs)}{_SPACES}\}}"


def rows_of(alike: Alike, columns: Sequence[str], nested: Callable[[str, str], str]) -> list[str]:
    """The staged cells of each of the objects. ``nested`` gives the cell of an object or a list; its place comes first.

    It works on columns, because in most of them all values have one kind and can be staged as they are.
    """
    values = dict(zip(alike.shape.keys, zip(*alike.values, strict=True), strict=True))
    template = []
    cells = []
    for column in columns:
        if column not in values:
            template.append(_STAGED_JSON % "null")
            continue
        of_column = values[column]
        kinds = {value[0] for value in of_column}
        if '"' not in kinds and kinds.isdisjoint("[{"):
            template.append(_STAGED_JSON)
        else:
            template.append("%s")
            if kinds != {'"'} or "\\" in "".join(of_column):
                of_column = tuple(_column_cells(alike, of_column, nested))
        cells.append(of_column)
    row = ",".join(template)
    return [row % of_row for of_row in zip(*cells, strict=True)] if cells else [row] * alike.count


def _column_cells(alike: Alike, values: Sequence[str], nested: Callable[[str, str], str]) -> Iterator[str]:
    for number, value in enumerate(values, alike.first):
        if value[0] in "[{":
            yield nested(f"{alike.unit} {number}", value)
        else:
            yield value if value[0] == '"' and "\\" not in value else _cell(value)


def cells_of(values: Sequence[str], nested: Callable[[str], str]) -> str:
    """The staged cells of values as they are written in JSON. ``nested`` gives the cell of an object or a list."""
    return ",".join([nested(value) if value[0] in "[{" else _cell(value) for value in values])


def _cell(value: str) -> str:
    """The staged cell of a text, a number or a literal."""
    if value[0] == '"':
        if "\\" not in value:
            return value
        try:
            return staged_cell(orjson.loads(value))
        except ValueError:
            return staged_cell(json.loads(value))  # Half of a surrogate pair, which is refused with its place.
    return _STAGED_JSON % value
