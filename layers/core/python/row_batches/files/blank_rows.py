"""Takes the rows without content out of a staged copy, whatever the format of the file.

A row has no content if each of its cells is empty, white space, or the null of a typed file. Such rows are common:
a spreadsheet that is saved as CSV has a line of delimiters for every row that was ever formatted.

One regular expression looks for them in whole chunks, because most chunks have none. Memory: a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from row_batches.files.table import PLACES_NAMED

_SPACE = (
    rb"(?:[\t-\n\x0b\x0c\x1c-\x20]|\\\\r|\xc2[\x85\xa0]|\xe1\x9a\x80"
    rb"|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)"
)
"""A character for which ``str.isspace`` is true, as UTF-8 in a staged cell. There, a CR is ``\\r``, escaped."""
_BLANK_CELLS = rb'\n"(\d++)"(?:,"(?:\\\\jnull|' + _SPACE + rb'*+)")++'
_BLANK_ROW = re.compile(_BLANK_CELLS + rb"(?=\n)")
_BLANK_BUT_LAST = re.compile(_BLANK_CELLS + rb',"(?:[^"]|"")*+"(?=\n)')


class BlankRows:
    """Collects the rows without content of a file: their number, the first of them, and their staged lines.

    ``groups`` counts the runs of consecutive rows. With ``but_last``, the last cell does not count as content.
    """

    def __init__(
        self, *, but_last: bool = False, rows: int = 0, groups: int = 0, last: int = 0, first: Sequence[int] = ()
    ) -> None:
        self._row = _BLANK_BUT_LAST if but_last else _BLANK_ROW
        self.rows = rows
        self.groups = groups
        self.last = last
        self.first = list(first)
        self._lines = bytearray()

    def taken_out(self, chunk: bytes) -> bytes:
        """The staged lines ``chunk``, which are whole, without those that have no content."""
        text = b"\n" + chunk
        kept = []
        position = 1
        for found in self._row.finditer(text):
            start, end = found.start() + 1, found.end() + 1
            kept.append(text[position:start])
            self._lines += text[start:end]
            position = end
            self._count(int(found[1]))
        if not kept:
            return chunk
        return b"".join([*kept, text[position:]])

    def take_lines(self) -> bytes:
        """The lines that were taken out since the last call."""
        lines = bytes(self._lines)
        self._lines.clear()
        return lines

    def _count(self, row: int) -> None:
        self.rows += 1
        self.groups += row != self.last + 1 or self.rows == 1
        self.last = row
        if len(self.first) < PLACES_NAMED:
            self.first.append(row)
