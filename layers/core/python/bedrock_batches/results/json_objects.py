"""Finds JSON objects in a model's text: alone, in a code fence, between words, or with the usual mistakes.

A model may think aloud first, quote the record, repeat the example of the prompt, or write a draft before its answer.
So only top-level objects outside reasoning count, in the order of the text, and the caller takes the last that fits.
An object that the text ends in is cut off: nothing inside it counts as complete.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

MOST_CHARACTERS = 100_000
"""The most characters of a text that are searched."""
MOST_CANDIDATES = 64
"""The most opening braces that are tried. Each takes up to one pass over the text."""
MOST_RELAXED = 4
"""The most objects that are read as JSON5, because that reader takes about a second for the longest text."""

REASONING = re.compile(r"<(/?)(think|thinking|reasoning|thought|scratchpad|reflection)>", re.IGNORECASE)
_RELAXED = "JSON5 syntax"
_ENCODED_TWICE = "JSON in a text"


@dataclass(frozen=True, slots=True)
class FoundObject:
    """A complete top-level object, and the repairs that were needed to read it. No repair loses or adds a value."""

    value: dict[str, Any]
    repairs: tuple[str, ...] = ()


@dataclass(slots=True)
class FoundObjects:
    """The top-level objects of a text, in order. ``cut`` means that the text ends inside another object."""

    objects: list[FoundObject] = field(default_factory=list)
    cut: bool = False


def find_objects(text: str) -> FoundObjects:
    """Find the objects, in up to ``MOST_CANDIDATES`` passes over up to ``MOST_CHARACTERS`` characters. Never raises."""
    text = text[:MOST_CHARACTERS].strip().removeprefix("\ufeff")
    if (inner := _decoded_text(text)) is not None:
        found = _Search(inner).run()
        found.objects = [FoundObject(each.value, (_ENCODED_TWICE, *each.repairs)) for each in found.objects]
        return found
    return _Search(text).run()


def object_in_text(text: str) -> FoundObject | None:
    """The object of a text that is exactly one JSON object, such as a value that was encoded twice."""
    found = _Search(text.strip()[:MOST_CHARACTERS]).run() if text.lstrip().startswith("{") else FoundObjects()
    if found.cut or len(found.objects) != 1:
        return None
    return FoundObject(found.objects[0].value, (_ENCODED_TWICE, *found.objects[0].repairs))


def _decoded_text(text: str) -> str | None:
    """The content of a text that is one JSON string; None for another text."""
    if not text.startswith('"'):
        return None
    try:
        value, end = _raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) and end == len(text) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_raw_decode = json.JSONDecoder(parse_constant=_refuse_constant, strict=False).raw_decode
"""Models write raw line breaks into strings. ``strict=False`` accepts them."""


class _Search:
    def __init__(self, text: str) -> None:
        self._text = text
        self._found = FoundObjects()
        self._relaxed = 0

    def run(self) -> FoundObjects:
        at = 0
        for _ in range(MOST_CANDIDATES):
            at = self._text.find("{", self._after_reasoning(at))
            if at < 0:
                break
            end = self._read(at)
            if self._found.cut:
                break
            at = end or at + 1
        return self._found

    def _after_reasoning(self, at: int) -> int:
        """The position after the reasoning that comes before the next brace. Objects in reasoning do not count.

        Reasoning without a closing tag goes on to the end of the text. A closing tag without an opening one ends the
        reasoning that the chat template of the model opened.
        """
        while True:
            brace = self._text.find("{", at)
            tag = REASONING.search(self._text, at)
            if tag is None or (tag.group(1) == "" and 0 <= brace < tag.start()):
                return at
            if tag.group(1):
                if self._is_inside_object(brace, tag.start()):
                    return at
                self._found.objects.clear()
                at = tag.end()
                continue
            closing = re.compile(rf"</{tag.group(2)}>", re.IGNORECASE).search(self._text, tag.end())
            at = closing.end() if closing else len(self._text)

    def _is_inside_object(self, brace: int, position: int) -> bool:
        """Whether a tag is inside a string of an object, for instance in content about such tags."""
        if not 0 <= brace < position:
            return False
        try:
            _, end = _raw_decode(self._text, brace)
        except (ValueError, RecursionError):
            return False
        return end > position

    def _read(self, begin: int) -> int | None:
        """Read the object at ``begin``. Returns its end, or None if there is no object."""
        try:
            value, end = _raw_decode(self._text, begin)
        except json.JSONDecodeError as error:
            unfinished = error.pos >= len(self._text.rstrip()) or error.msg.startswith("Unterminated string")
            if re.match(r"\{\s*[\"'}\w]", self._text[begin : begin + 200]) is None:
                return None
            return self._read_relaxed(begin, unfinished=unfinished)
        except (ValueError, RecursionError):
            return None
        self._found.objects.append(FoundObject(value))
        return end

    def _read_relaxed(self, begin: int, *, unfinished: bool) -> int | None:
        """Read JSON5 (https://spec.json5.org): trailing commas, single quotes, comments, keys without quotes.

        It is a grammar, not a guess: it closes nothing that is left open.
        """
        if unfinished:
            self._found.cut = re.match(r"\{\s*\"", self._text[begin : begin + 200]) is not None
            return None
        if self._relaxed == MOST_RELAXED:
            return None
        self._relaxed += 1
        import json5  # noqa: PLC0415 (40 ms that only a faulty answer needs)

        try:
            value, error, end = json5.parse(self._text, start=begin, strict=False, consume_trailing=False)
        except (ValueError, RecursionError):
            return None
        if error is not None or not isinstance(value, dict) or not _is_json(value):
            self._found.cut = error is not None and "end of input" in error and '"' in self._text[begin : begin + 3]
            return None
        self._found.objects.append(FoundObject(value, (_RELAXED,)))
        return int(end)


def _is_json(value: Any) -> bool:
    """Refuse NaN and infinities, which JSON5 allows."""
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True
