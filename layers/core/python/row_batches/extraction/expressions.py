"""Extraction expressions: a path, then steps after ``|``, as in ``$.content | parse('Exchange: (.+)') | first_line``.

A path that starts with ``$`` is JSONPath (RFC 9535), any other JMESPath. A step is ``parse('regex')`` or
``parse('regex', group)``, or the name of a transform. JMESPath uses ``|`` itself, so after a JMESPath the first step is
always a ``parse``; a transform for a JMESPath is given beside it (``{path, transform}``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from foundation.json_path import NO_MATCH, compile_path
from foundation.regular_expressions import compile_pattern
from row_batches.extraction.transforms import RegexTransform, find_transform, search_text

First = Callable[[Any], Any]
"""Evaluates an expression on a document. Raises ValueError with the reason if there is no result."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PARSE = (
    r"""(?s)parse\(\s*(?P<quote>['"])(?P<regex>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)"""
    r"\s*(?:,\s*(?P<group>\d{1,3})\s*)?\)"
)
_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "'\"`"


class Parse(NamedTuple):
    """The step ``parse('regex', group)``."""

    regex: str
    group: int | None = None


class Expression(NamedTuple):
    """A parsed expression: ``steps`` are patterns and names of transforms."""

    path: str
    steps: tuple[Parse | str, ...] = ()

    @property
    def transforms(self) -> list[str]:
        return [step for step in self.steps if isinstance(step, str)]

    def compile(self, field: str, transforms: Mapping[str, RegexTransform]) -> First:
        """A function that finds the value of ``field`` in a document, or raises ValueError that says why there is none.

        ``transforms`` are those that the file defines. Raises ValueError for one that is not known.
        """
        find = _compile_path(self.path)
        steps = [_compile_step(step, transforms) for step in self.steps]

        def first(document: Any) -> Any:
            value = find(document)
            if value is None or value is NO_MATCH:
                raise ValueError(f"{self.path} matches nothing")
            for step in steps:
                value = step(value, field)
            if value is None:
                raise ValueError("the value is null")
            return value

        return first


def _compile_step(step: Parse | str, transforms: Mapping[str, RegexTransform]) -> Callable[[Any, str], Any]:
    if isinstance(step, str):
        return find_transform(step, transforms)
    return lambda value, _: search_text(step.regex, step.group, value)


def _compile_path(path: str) -> Callable[[Any], Any]:
    if path.startswith("$"):
        return compile_path(path).first
    # Imported late: not every mapping has a JMESPath.
    from foundation.jmes_path import compile_jmes_path  # noqa: PLC0415

    return compile_jmes_path(path)


@lru_cache(maxsize=4_096)
def parse_expression(text: str) -> Expression:
    """Parse the text of an expression. Raises ValueError that says what is wrong.

    The names of transforms are checked when the expression is compiled.
    """
    parts = [part.strip() for part in _split(text)]
    if not parts[0]:
        raise ValueError("it does not begin with a path")
    if parts[0].startswith("$"):
        steps = 1
    else:
        steps = next((index for index, part in enumerate(parts) if part.startswith("parse(")), len(parts))
    path = " | ".join(parts[:steps])
    if not path:
        raise ValueError("it does not begin with a path")
    _compile_path(path)
    return Expression(path, tuple(_parse_step(part) for part in parts[steps:]))


def _parse_step(text: str) -> Parse | str:
    if re.fullmatch(_NAME, text):
        return text
    match = re.fullmatch(_PARSE, text)
    if match is None:
        raise ValueError(f"{text!r} is neither parse('regex') nor the name of a transform")
    regex = match["regex"].replace("\\" + match["quote"], match["quote"])
    pattern = compile_pattern(regex)
    group = int(match["group"]) if match["group"] else None
    if group is not None and group > pattern.groups:
        raise ValueError(f"group {group} does not exist: the pattern has {pattern.groups} groups")
    return Parse(regex, group)


def _split(text: str) -> Iterator[str]:
    """The parts between single bars that are in no quotes and no brackets."""
    start, depth, quote, index = 0, 0, "", 0
    while index < len(text):
        character = text[index]
        if quote:
            if character == "\\":
                index += 1
            elif character == quote:
                quote = ""
        elif character in _QUOTES:
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "|" and depth == 0:
            if text[index + 1 : index + 2] == "|":
                index += 1
            else:
                yield text[start:index]
                start = index + 1
        index += 1
    yield text[start:]


def parse_step(regex: str, group: int | None = None) -> str:
    """The text of a ``parse`` step."""
    quoted = re.sub(r"\\.|'", lambda found: r"\x27" if found[0] in ("'", "\\'") else found[0], regex, flags=re.DOTALL)
    return f"parse('{quoted}')" if group is None else f"parse('{quoted}', {group})"
