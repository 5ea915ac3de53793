"""Checks that an Excel workbook (XLSX, XLSM) fits into memory, before it is read."""

from __future__ import annotations

import re
import zipfile
from array import array
from functools import lru_cache

from row_batches.files import workbook_parts
from row_batches.files.workbook_parts import check_span, check_text, pieces, refuse_large

_TAG = re.compile(
    rb"""<(?:[\w.-]+:)?(row|c)(?:\s+(?:r\s*=\s*["']([A-Za-z]*)([0-9]*)["']|[^\s=<>"']+\s*=\s*(?:"[^"<]*"|'[^'<]*')))*"""
    rb"""\s*(/?)>"""
)
"""A row or a cell of a sheet: its name, the letters and digits of its reference, and "/" if it has no content."""
_TEXT = re.compile(rb"<(?:[\w.-]+:)?si(?=[\s/>])")
_TEXT_CELL = re.compile(rb"""\st\s*=\s*["']s["'][^<>]*>\s*<(?:[\w.-]+:)?v>\s*([0-9]+)""")
"""A cell with the number of its text in the table of texts."""
BEGIN = re.compile(rb"<(?:[\w.-]+:)?(?:row|c|si)(?=[\s/>])")


def check_xlsx(archive: zipfile.ZipFile) -> None:
    """Raises InvalidInputError if the workbook does not fit into memory."""
    texts = _Texts()
    entries = archive.infolist()
    cells = [_check_part(archive, entry, texts) for entry in entries]
    for entry, with_texts in zip(entries, cells, strict=True):
        if with_texts * texts.longest > workbook_parts.MAX_TEXT_BYTES:
            _check_texts(archive, entry, texts)


def _check_part(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, texts: _Texts) -> int:
    """The number of cells that refer to the workbook's table of texts. Adds the part's own to ``texts``.

    Raises InvalidInputError when the part is too large, or is a sheet whose cells span too much. Any part can be a
    sheet, whatever its name.
    """
    cells = 0
    span = _Span()
    for tags in pieces(archive, entry, BEGIN):
        span.add(tags)
        texts.add(tags)
        cells += len(_TEXT_CELL.findall(tags))
        if len(texts.sizes) > workbook_parts.MAX_CELLS:
            refuse_large(f"more than {workbook_parts.MAX_CELLS:,} texts")
    span.check(entry.filename)
    return cells


def _check_texts(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, texts: _Texts) -> None:
    """Raises InvalidInputError when the texts of the sheet's cells, each of which takes memory, are too large."""
    size = 0
    for tags in pieces(archive, entry, BEGIN):
        size += sum(texts.size_of(int(number[:10])) for number in _TEXT_CELL.findall(tags))
        check_text(entry.filename, size)


class _Texts:
    """The sizes of the texts in the workbook's table of texts, as XML."""

    def __init__(self) -> None:
        self.sizes = array("L")
        self.longest = 0

    def add(self, tags: bytes) -> None:
        before, *begun = map(len, _TEXT.split(tags))
        if self.sizes:
            self.sizes[-1] += before
            self.longest = max(self.longest, self.sizes[-1])
        self.sizes.extend(begun)
        self.longest = max(self.longest, *begun, 0)

    def size_of(self, number: int) -> int:
        return self.sizes[number] if number < len(self.sizes) else 0


class _Span:
    """The rows and columns, from the sheet's first, that its cells with content take."""

    def __init__(self) -> None:
        self._rows = self._columns = self._row = self._column = 0

    def add(self, tags: bytes) -> None:
        for name, letters, digits, closed in _TAG.findall(tags):
            if name == b"row":
                self._row = _number(digits) if digits else self._row + 1
                self._column = 0
                continue
            if letters and digits:
                self._row, self._column = _number(digits), _column(letters)
            else:
                self._column += 1  # a cell without a reference is the next one
            if not closed:
                self._rows = max(self._rows, self._row)
                self._columns = max(self._columns, self._column)

    def check(self, name: str) -> None:
        check_span(name, self._rows, self._columns)


def _number(digits: bytes) -> int:
    return int(digits[:20])


@lru_cache(maxsize=20_000)
def _column(letters: bytes) -> int:
    number = 0
    for letter in letters[:20].upper():
        number = number * 26 + letter - 64
    return number
