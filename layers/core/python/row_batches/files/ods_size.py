"""Checks that an OpenDocument spreadsheet (ODS) fits into memory, before it is read.

In its XML, one cell or row can represent any number of equal ones, and one tag any number of spaces.
"""

from __future__ import annotations

import io
import re
import zipfile

from row_batches.files.table import refuse
from row_batches.files.workbook_parts import SAVE_AGAIN, check_span, check_text, pieces

CONTENT = "content.xml"
MANIFEST = "META-INF/manifest.xml"
_BEGIN = re.compile(rb"<table:(?:table|table-row|(?:covered-)?table-cell)(?=[\s/>])")
_TAG = re.compile(
    rb"""<table:(table|table-row|(?:covered-)?table-cell)(?=[\s/>])((?:[^<>"'/]|/(?!>)|"[^"]*+"|'[^']*+')*+)(/?)>"""
)
"""A sheet, a row or a cell: its name, its attributes, and "/" if it is empty."""
_REPEATED = re.compile(rb"""table:number-(?:columns|rows)-repeated\s*=\s*["']\s*\+?([0-9]+)""")
_SPACES = re.compile(rb"""text:c\s*=\s*["']\s*\+?([0-9]+)""")
_SIGNS = (
    (re.compile(rb"<text:tab(?:\s[^<>]*)?(?:/>|></text:tab>)"), b"&#9;"),
    (re.compile(rb"<text:line-break(?:\s[^<>]*)?(?:/>|></text:line-break>)"), b"&#10;"),
)
"""Tags of signs in a text that calamine leaves out, and the signs."""


def check_ods(archive: zipfile.ZipFile) -> bool:
    """Whether the spreadsheet has tags for signs, for which ``with_signs`` is needed.

    Raises InvalidInputError if it does not fit into memory, or has a password.
    """
    if MANIFEST in archive.namelist():
        manifest = pieces(archive, archive.getinfo(MANIFEST), _BEGIN)
        if any(b"encryption-data" in piece for piece in manifest):
            refuse("", "the spreadsheet has a password", "save it without one")
    if CONTENT not in archive.namelist():
        refuse("", f"the spreadsheet is damaged: it has no {CONTENT}", SAVE_AGAIN)
    sheet = _Sheet()
    has_signs = False
    for piece in pieces(archive, archive.getinfo(CONTENT), _BEGIN):
        sheet.add(piece)
        has_signs |= any(tag.search(piece) for tag, _ in _SIGNS)
    sheet.end()
    return has_signs


def with_signs(archive: zipfile.ZipFile) -> bytes:
    """The spreadsheet with the signs themselves in place of their tags. Memory: the packed spreadsheet."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy:
        for name in ("mimetype", MANIFEST, CONTENT):
            if name not in archive.namelist():
                continue
            with copy.open(name, "w") as target:
                for piece in pieces(archive, archive.getinfo(name), _BEGIN):
                    for tag, sign in _SIGNS:
                        piece = tag.sub(sign, piece)  # noqa: PLW2901
                    target.write(piece)
    return written.getvalue()


class _Sheet:
    """The rows and columns that the content of a sheet spans, and the bytes of its texts, repeated ones included."""

    def __init__(self) -> None:
        self._begin(0)

    def _begin(self, sheet: int) -> None:
        self._number = sheet
        self._rows = self._rows_with_content = self._columns = self._text = 0
        self._begin_row(0)

    def _begin_row(self, repeated: int) -> None:
        self._row_repeated = repeated
        self._position = self._width = self._row_text = 0
        self._cell_repeated = 0

    def add(self, piece: bytes) -> None:
        position = 0
        for tag in _TAG.finditer(piece):
            self._add_text(piece[position : tag.start()])
            position = tag.end()
            name, attributes, closed = tag.groups()
            repeated = _repeated(attributes)
            if name == b"table":
                self.end()
                self._begin(self._number + 1)
            elif name == b"table-row":
                self._end_row()
                self._begin_row(repeated)
            else:
                self._position += repeated
                self._cell_repeated = 0
                # A cell can have its content in its attributes.
                if not closed or b"office:" in attributes or b"formula" in attributes:
                    self._width = self._position
                    self._cell_repeated = repeated
                    self._add_text(attributes)
        self._add_text(piece[position:])

    def _add_text(self, text: bytes) -> None:
        spaces = sum(int(number[:20]) for number in _SPACES.findall(text)) if b"text:c" in text else 0
        self._row_text += (len(text) + spaces) * self._cell_repeated

    def _end_row(self) -> None:
        self._rows += self._row_repeated
        if self._width:
            self._rows_with_content = self._rows
            self._columns = max(self._columns, self._width)
            self._text += self._row_text * self._row_repeated

    def end(self) -> None:
        """Raises InvalidInputError if the sheet does not fit into memory."""
        self._end_row()
        name = f"sheet {self._number}"
        check_span(name, self._rows_with_content, self._columns)
        check_text(name, self._text)


def _repeated(attributes: bytes) -> int:
    found = _REPEATED.search(attributes)
    return int(found[1][:20]) if found else 1
