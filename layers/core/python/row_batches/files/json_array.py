"""Reads the items of a JSON array one after the other, from pieces of its text."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from typing import Any

from row_batches.files.json_decoder import DECODER, MAX_OBJECT_BYTES, is_cut
from row_batches.files.json_shapes import Alike, Shape, Shapes

_SPACES = re.compile(r"[ \t\r\n]*")


class TooLongError(Exception):
    """Raised when an item is longer than ``MAX_OBJECT_BYTES`` characters."""


class ArrayText:
    """The text of an array. It keeps only the part that is being read.

    Raises ValueError for text that is not JSON, and its subclass UnicodeDecodeError for bytes that are not UTF-8.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = codecs.iterdecode(chunks, "utf-8-sig")
        self._text = ""
        self._position = 0

    def take(self, sign: str, *, end: str = "") -> bool:
        """Consume the next sign and stop before the one after it; False if it is ``end``.

        With ``""`` nothing is consumed: the text must be at its end.
        """
        found = self._next_sign()
        if end and found == end:
            self._position += 1
            return False
        if found == sign:
            self._position += len(sign)
        elif sign or not end:
            raise ValueError(f"expecting {sign or 'nothing more'}" if found else "it ends in the middle")
        return True

    def alike(self, shapes: Shapes, number: int, *, only_keys: bool) -> Alike | None:
        """The next values, if they are objects of the shape used last. ``number`` is that of the first one."""
        self._next_sign()
        found = shapes.of_items(self._text, self._position, number, only_keys=only_keys)
        if found is None:
            return None
        alike, self._position = found
        return alike

    def match(self, shapes: Shapes) -> tuple[Shape, re.Match[str]] | None:
        """The next value, if it is an object of a known shape."""
        self._next_sign()
        found = shapes.match(self._text, self._position)
        if found is not None:
            self._position = found[1].end()
        return found

    def value(self) -> Any:
        """The next value."""
        self._next_sign()
        while True:
            try:
                value, self._position = DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if not is_cut(error, self._text) or not self._read_as_much_again():
                    raise
            else:
                return value

    def _next_sign(self) -> str:
        while True:
            self._position = _SPACES.match(self._text, self._position).end()  # type: ignore[union-attr]
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read():
                return ""

    def _read(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._text = self._text[self._position :] + chunk
        self._position = 0
        return True

    def _read_as_much_again(self) -> bool:
        """Read until the text is twice as long, so that a long item is not parsed again for each small chunk."""
        there = len(self._text) - self._position
        if there > MAX_OBJECT_BYTES:
            raise TooLongError
        more = [self._text[self._position :]]
        while there > 0 and (chunk := next(self._chunks, None)) is not None:
            more.append(chunk)
            there -= len(chunk)
        self._text = "".join(more)
        self._position = 0
        return len(more) > 1
