"""Reads one sheet of an Excel workbook (XLSX, XLSM) as a table. The first row with content is the header.

A workbook must fit into memory, so its size is checked before it is read. Without a limit, a few cells far apart would
make a sheet of any size. Numbers and booleans keep their types on the way to the target, dates become ISO 8601 text,
and formulas become the values that were saved with them.
"""

from __future__ import annotations

import datetime
import io
import lzma
import math
import re
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from foundation.errors import InvalidInputError, Problem
from foundation.problems import closest, listed
from row_batches.document.input_format import InputFormat
from row_batches.files.staged_copy import staged_cells
from row_batches.files.table import MAX_COLUMNS, PATH, InputFile, TableStaging, too_many_columns
from row_batches.mapping.cells import JsonCell

MAX_WORKBOOK_BYTES = 64_000_000
MAX_UNPACKED_BYTES = 600_000_000
"""The largest part of a workbook, such as a sheet's XML or the table of its texts."""
MAX_CELLS = 4_000_000
"""Rows times columns of the largest sheet: 24 bytes each while the sheet is read, and its texts."""
_TAG = re.compile(
    rb"""<(?:[\w.-]+:)?(row|c)(?:\s+(?:r\s*=\s*["']([A-Za-z]*)([0-9]*)["']|[^\s=<>"']+\s*=\s*(?:"[^"<]*"|'[^'<]*')))*"""
    rb"""\s*(/?)>"""
)
"""A row or a cell of a sheet: its name, the letters and digits of its reference, and "/" if it has no content."""
_TEXT = re.compile(rb"<(?:[\w.-]+:)?si(?=[\s/>])")
_TEXT_CELL = re.compile(rb"""\st\s*=\s*["']s["'][^<>]*>\s*<(?:[\w.-]+:)?v>\s*([0-9]+)""")
"""A cell with the number of its text in the table of texts."""
_ERROR_CELL = re.compile(
    rb"""<(?:[\w.-]+:)?c(\s[^<>]*(?<=\s)t\s*=\s*["']e["'][^<>]*)>(?:\s*<(?:[\w.-]+:)?f\b[^<>]*(?:/>|>[^<]*</[^<>]*>))?"""
    rb"""\s*<(?:[\w.-]+:)?v>([^<]*)<"""
)
"""A cell with an error, such as #N/A: its attributes and the error."""
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]+[0-9]+)["']""")
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_BEGIN = re.compile(rb"<(?:[\w.-]+:)?(?:row|c|si)(?=[\s/>])")
_OPEN_TAG = re.compile(rb"<(?:[\w.-]+:)?(?:row|c)\s")
_LONGEST_TAG = 10_000
MAX_TEXT_BYTES = 300_000_000
"""The most bytes of text in the cells of a sheet. A workbook has each text once; in memory, each cell has its own."""
_SPLIT_IT = "split it, or save the sheet as CSV"
_SAVE_AGAIN = "open it, save it again and upload it"


def stage_workbook(file: InputFile) -> TableStaging:
    """Prepare to stage a sheet of a workbook. Raises InvalidInputError if it does not fit into memory."""
    data = _read(file)
    _check_size(data)
    sheet = _Sheet(data, file.form)
    rows = ((place, staged_cells(cells)) for place, cells in sheet.rows())
    return TableStaging(file, sheet.header, rows, lambda: sheet.warnings)


def _read(file: InputFile) -> bytes:
    message = f"the workbook is over {MAX_WORKBOOK_BYTES:,} bytes, the most that is read"
    if file.size is not None and file.size > MAX_WORKBOOK_BYTES:
        _refuse(f"{file.size:,} bytes", message, _SPLIT_IT)
    data = io.BytesIO()
    for chunk in file.chunks():
        if data.tell() + len(chunk) > MAX_WORKBOOK_BYTES:
            _refuse("", message, _SPLIT_IT)
        data.write(chunk)
    return data.getvalue()


def _check_size(data: bytes) -> None:
    texts = _Texts()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            cells = [_check_part(archive, entry, texts) for entry in entries]
            for entry, with_texts in zip(entries, cells, strict=True):
                if with_texts * texts.longest > MAX_TEXT_BYTES:
                    _check_texts(archive, entry, texts)
    except InvalidInputError:
        raise
    except _DAMAGES as error:
        _refuse("", f"the workbook is damaged: {error}", _SAVE_AGAIN)


_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)


def _check_unpacked(name: str, size: int) -> None:
    if size > MAX_UNPACKED_BYTES:
        _refuse(
            f"{name}: over {MAX_UNPACKED_BYTES:,} bytes unpacked", "the workbook is too large to be read", _SPLIT_IT
        )


def _check_part(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, texts: _Texts) -> int:
    """How many cells have a text of the workbook's table of texts; ``texts`` gets what the part has of that table.

    Raises InvalidInputError when the part is too large, or is a sheet whose cells span too much. Any part can be a
    sheet, whatever its name.
    """
    cells = 0
    span = _Span()
    for tags in _tags(archive, entry):
        span.add(tags)
        texts.add(tags)
        cells += len(_TEXT_CELL.findall(tags))
        if len(texts.sizes) > MAX_CELLS:
            value = f"more than {MAX_CELLS:,} texts"
            _refuse(value, "the workbook is too large to be read", _SPLIT_IT)
    span.check(entry.filename)
    return cells


def _check_texts(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, texts: _Texts) -> None:
    """Raises InvalidInputError when the texts of the sheet's cells, each of which takes memory, are too large."""
    size = 0
    for tags in _tags(archive, entry):
        size += sum(texts.size_of(int(number[:10])) for number in _TEXT_CELL.findall(tags))
        if size > MAX_TEXT_BYTES:
            value = f"{entry.filename}: over {MAX_TEXT_BYTES:,} bytes of text"
            _refuse(value, "the workbook is too large to be read", _SPLIT_IT)


def _tags(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The part's content in pieces, cut before a cell or a text of the table of texts, so that each is in one."""
    name = entry.filename
    _check_unpacked(name, entry.file_size)
    unpacked = 0
    carry = b""
    with archive.open(entry) as part:
        while chunk := part.read(1_048_576):
            # An archive can state a size that is not true.
            unpacked += len(chunk)
            _check_unpacked(name, unpacked)
            data = carry + chunk
            # The tag of a cell, and that of its value behind it, are in the last bytes.
            end = next((found.start() for found in _BEGIN.finditer(data, max(0, len(data) - _LONGEST_TAG))), -1)
            if end < 0:
                end = data.rfind(b"<")
                if end < 0 or len(data) - end > _LONGEST_TAG:
                    if _OPEN_TAG.match(data, max(end, 0)):
                        _refuse(name, "the workbook is damaged: it has a tag of any length", _SAVE_AGAIN)
                    end = len(data)
            yield data[:end]
            carry = data[end:]
    yield carry


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
        if self._columns > MAX_COLUMNS:
            raise InvalidInputError([too_many_columns(self._columns)])
        if self._rows * self._columns > MAX_CELLS:
            value = f"{name}: {self._rows:,} rows x {self._columns:,} columns"
            _refuse(value, f"a sheet spans more than {MAX_CELLS:,} cells, the most that is read", _SPLIT_IT)


def _number(digits: bytes) -> int:
    return int(digits[:20])


@lru_cache(maxsize=20_000)
def _column(letters: bytes) -> int:
    number = 0
    for letter in letters[:20].upper():
        number = number * 26 + letter - 64
    return number


def _error_warning(data: bytes, sheet: str) -> list[str]:
    """A warning about the sheet's cells with an error of Excel, such as #N/A, which are read as empty."""
    count, first = 0, ""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        part = _part_of(archive, sheet)
        for tags in _tags(archive, archive.getinfo(part)) if part in archive.namelist() else ():
            for cell in _ERROR_CELL.finditer(tags):
                count += 1
                if count == 1:
                    place, error = _REFERENCE.search(cell[1]), cell[2].decode("utf-8", "replace")
                    first = f"{place[1].decode()} ({error})" if place else error
    if not count:
        return []
    which = f"1 cell has an error of Excel and is read as empty: {first}."
    return [
        which if count == 1 else f"{count:,} cells have errors of Excel and are read as empty; the first is {first}."
    ]


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """The name of the part that holds the sheet; "" if the workbook does not say it in the usual way."""
    from xml.etree.ElementTree import ParseError, fromstring  # noqa: PLC0415  # only workbooks need it

    try:
        book = fromstring(archive.read("xl/workbook.xml"))  # noqa: S314  # expat limits the expansion of entities
        links = fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    except (KeyError, ParseError):
        return ""
    ids = [one.get(_LINK, "") for one in book.iter() if one.tag.endswith("}sheet") and one.get("name") == sheet]
    target = next((link.get("Target", "") for link in links.iter() if link.get("Id") in ids), "")
    return target[1:] if target.startswith("/") else f"xl/{target}"


class _Sheet:
    """One sheet of a workbook."""

    def __init__(self, data: bytes, form: InputFormat) -> None:
        from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415  # only workbooks need it

        try:
            workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
            if not workbook.sheet_names:
                _refuse("", "the workbook has no sheet", _SAVE_AGAIN)
            self.name = _chosen(workbook.sheet_names, form.sheet)
            sheet = workbook.get_sheet_by_name(self.name)
        except CalamineError as error:
            _refuse("", f"the workbook cannot be read: {error}", _SAVE_AGAIN)
        self._first_row = (sheet.start or (0, 0))[0] + 1
        self._values = sheet.iter_rows()
        self._pending: list[tuple[str, Sequence[Any]]] = []
        self._others = [name for name in workbook.sheet_names if name != self.name]
        self._chosen_by_user = form.sheet is not None
        self._error_warning = _error_warning(data, self.name)
        self.header = self._header(form)

    @property
    def warnings(self) -> list[str]:
        warnings = []
        if self._others and not self._chosen_by_user:
            warnings.append(f"The workbook's first sheet, {self.name}, is read. Others: {listed(self._others)}.")
        return [*warnings, *self._error_warning]

    def _header(self, form: InputFormat) -> list[str]:
        values: Sequence[Any] = []
        row = 0
        while row <= form.skip_lines or not any(map(_has_content, values)):
            row, values = self._first_row, next(self._values, []) or self._no_content()
            self._first_row += 1
        if not form.header:
            self._pending.append((f"row {row}", values))
            return [f"column_{place}" for place in range(1, len(values) + 1)]
        names = [str(_cell(value)) for value in values]
        if len(names) > 1 and sum(map(bool, names)) == 1:
            self._check_title(row)
        return names

    def _no_content(self) -> NoReturn:
        _refuse(self.name, "the sheet is empty", "name another in input_format.sheet, or give it a header and rows")

    def _check_title(self, row: int) -> None:
        """Raise InvalidInputError if the first row has one cell and the next has more, because then it is a title."""
        for values in self._values:
            self._pending.append((f"row {self._first_row}", values))
            self._first_row += 1
            cells = sum(map(_has_content, values))
            if cells > 1:
                value = f"row {row} has 1 cell, the row after it {cells}"
                fix = f"if it is a title, set input_format.skip_lines to {row}; else give every column a name"
                _refuse(value, "the first row does not fit the rows", fix)
            if cells:
                return

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        width = len(self.header)
        for place, values in self._all():
            yield place, [_cell(value) for value in values[:width]]

    def _all(self) -> Iterator[tuple[str, Sequence[Any]]]:
        yield from self._pending
        for number, values in enumerate(self._values, self._first_row):
            yield f"row {number}", values


def _chosen(names: Sequence[str], wanted: str | None) -> str:
    if wanted is None:
        return names[0]
    if wanted not in names:
        nearest = closest(wanted, names)
        hint = f"did you mean {nearest}? " if nearest else ""
        problem = Problem(
            "input_format.sheet", wanted, "the workbook has no such sheet", f"{hint}it has: {listed(names)}"
        )
        raise InvalidInputError([problem])
    return wanted


def _has_content(value: Any) -> bool:
    return value != "" and value is not None


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return JsonCell("true" if value else "false")
    if isinstance(value, float):
        if not math.isfinite(value):
            return repr(value)  # JSON has no such number
        return JsonCell(str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value))
    if isinstance(value, int):
        return JsonCell(str(value))
    if isinstance(value, datetime.timedelta):
        return str(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _refuse(value: str, message: str, fix: str) -> NoReturn:
    raise InvalidInputError([Problem(PATH, value, message, fix)])
