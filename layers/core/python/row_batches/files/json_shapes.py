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
from functools import cached_property
from typing import Any

import orjson

from row_batches.files.staged_copy import staged_cell

_MOST_KEYS = 100
_MOST_SHAPES = 8
_MOST_WAITING = 64
_MOST_COMPILED_KEYS = 1_000
"""Bounds for the time of compiling, which is about a millisecond for each key of each expression.

A file whose rows all differ is read without shapes.
"""
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


class Shape:
    """The objects with these keys in this order. Each expression is compiled when it is first used.

    ``is_repeated`` says whether it is worth compiling the expressions for several objects.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self.is_repeated = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches an object, with the text of each value as a group."""
        return re.compile(self._with_groups)

    @cached_property
    def line(self) -> re.Pattern[str]:
        """Matches the same as ``pattern`` for a whole line."""
        return re.compile(rf"^[ \t]*+{self._with_groups}[ \t\r]*+$", re.MULTILINE)

    @cached_property
    def lines(self) -> re.Pattern[str]:
        """Matches any number of lines, without groups."""
        return re.compile(rf"(?:[ \t]*+{self._without_groups}[ \t\r]*+(?:\n|\Z))++")

    @cached_property
    def object(self) -> re.Pattern[str]:
        """Matches an object, without groups."""
        return re.compile(self._without_groups)

    @cached_property
    def objects(self) -> re.Pattern[str]:
        """Matches any number of objects with commas between them, without groups."""
        return re.compile(rf"{self._without_groups}(?:{_SPACES},{_SPACES}{self._without_groups})*+")

    @property
    def _with_groups(self) -> str:
        return _object_of(self.keys, f"({_VALUE})")

    @property
    def _without_groups(self) -> str:
        return _object_of(self.keys, f"(?:{_VALUE})")


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

    def first_rows(self, count: int) -> Alike:
        """The first so many objects."""
        return Alike(self.shape, self.unit, self.first, min(count, self.count), self.values[:count])


class Shapes:
    """The shapes of a file's objects, the last used first.

    Keys become a shape when they come a second time, so that keys that differ in each object cost no compiling.
    """

    def __init__(self) -> None:
        self._shapes: list[Shape] = []
        self._waiting: dict[tuple[str, ...], None] = {}
        self._last: tuple[str, ...] = ()
        self._is_repeat = False
        self._compiled_keys = 0
        self._passed_over = 0

    def of_lines(self, lines: str, first: int, *, only_keys: bool) -> Alike | None:
        """The objects of lines that all have the same shape; None if they do not, or if it was not tried.

        ``first`` is the number of the first line.
        """
        shape = self._repeated()
        if self._passed_over or shape is None:
            self._passed_over = max(0, self._passed_over - 1)
            return None
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
        shape = self._repeated()
        found = None if shape is None else shape.objects.match(text, position, position + _ITEMS_CHARACTERS)
        if shape is None or found is None:
            return None
        end = found.end()
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
                self._follow(shape.keys)
                return shape, found
        return None

    def learn(self, keys: Sequence[str]) -> None:
        """Note the keys of an object that had to be parsed. They become a shape when they come a second time."""
        key = tuple(keys)
        self._follow(key)
        if not 0 < len(key) <= _MOST_KEYS or any(shape.keys == key for shape in self._shapes):
            return
        if key not in self._waiting:
            self._waiting[key] = None
            if len(self._waiting) > _MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
        elif self._can_compile(1, key):
            del self._waiting[key]
            self._shapes = [Shape(key), *self._shapes[: _MOST_SHAPES - 1]]

    def begin_again(self) -> None:
        """Note that the file is read from its start once more, so that the same object does not count twice."""
        self._waiting.clear()
        self._follow(())

    def _follow(self, keys: tuple[str, ...]) -> None:
        self._is_repeat = keys == self._last
        self._last = keys

    def _repeated(self) -> Shape | None:
        """The shape used last, if two objects of it followed each other; None otherwise."""
        if not self._shapes:
            return None
        shape = self._shapes[0]
        if not shape.is_repeated and self._is_repeat and self._last == shape.keys:
            # A file needs two expressions: ``lines`` and ``line``, or ``objects`` and ``object``.
            shape.is_repeated = self._can_compile(2, shape.keys)
        return shape if shape.is_repeated else None

    def _can_compile(self, expressions: int, keys: Sequence[str]) -> bool:
        """Whether so many expressions with these keys are within the bound. If they are, they count from now on."""
        more = expressions * len(keys)
        if self._compiled_keys + more > _MOST_COMPILED_KEYS:
            return False
        self._compiled_keys += more
        return True


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
