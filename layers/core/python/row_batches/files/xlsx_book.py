"""Writes a workbook with XlsxWriter, row by row: memory is that of one row. Imported at first use, for workbooks only.

XlsxWriter writes some values wrongly: a text in ``<r>…</r>`` goes into the file as XML, a part of ``_x0041_x0042_`` is
not escaped, and numbers have 16 digits. So ``_Sheet`` writes cells itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.utility import xl_rowcol_to_cell_fast
from xlsxwriter.worksheet import Worksheet

MAX_ROWS = 1_048_576
"""Rows of a sheet with its header (https://support.microsoft.com/office/1672b34d-7043-467e-8e27-269d656771c3)."""
MAX_UNITS = 32_767
"""UTF-16 units of a cell (the same page)."""
SAMPLED_ROWS = 100
"""The width of a column comes from its header and this many rows."""
MIN_WIDTH, MAX_WIDTH = 8, 60
DATE = "yyyy-mm-dd"
TIMESTAMP = 'yyyy-mm-dd"T"hh:mm:ss.000"Z"'
_ESCAPED = re.compile("_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""Characters that are written as ``_x0007_``: those that XML does not allow, and what reads like such an escape
(ECMA-376, part 1, 22.9.2.19). A CR would become an LF."""
_MARKUP = re.compile("[&<>]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class _Sheet(Worksheet):  # type: ignore[misc]  # the library has no types
    """A sheet whose cells are written exactly."""

    def _write_cell(self, row: int, col: int, cell: Any) -> None:
        start = f'<c r="{xl_rowcol_to_cell_fast(row, col)}"'
        if cell.format:
            start += f' s="{cell.format._get_xf_index()}"'
        kind = type(cell).__name__
        if kind == "String":
            self.fh.write(f'{start} t="inlineStr"><is><t xml:space="preserve">{_escape(cell.string)}</t></is></c>')
        elif kind == "Boolean":
            self.fh.write(f'{start} t="b"><v>{cell.boolean:d}</v></c>')
        else:
            self.fh.write(f"{start}><v>{cell.number!r}</v></c>")


def _escape(text: str) -> str:
    if not text.isalnum():
        text = _ESCAPED.sub(lambda found: f"_x{ord(found.group()):04X}_", text)
        text = _MARKUP.sub(lambda found: _ENTITIES[found.group()], text)
    return text


class Book(AbstractContextManager["Book"]):
    """A workbook at ``path``, complete after the block. ``cut`` has the number of cut cells by sheet and column."""

    def __init__(self, path: Path, created: datetime) -> None:
        settings = {"constant_memory": True, "tmpdir": str(path.parent), "use_zip64": True}
        self._workbook = Workbook(str(path), settings)
        self._workbook.set_properties({"created": created})  # the same rows give the same bytes
        self._bold = self._workbook.add_format({"bold": True})
        self._date = self._workbook.add_format({"num_format": DATE})
        self._timestamp = self._workbook.add_format({"num_format": TIMESTAMP})
        self.cut: dict[tuple[str, str], int] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._workbook.close()

    def add(self, title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a sheet of these rows; further ones, such as ``Output 2``, if a sheet does not hold them.

        The header is frozen and has a filter. Values are None, bool, int, float, str, date or datetime.
        """
        source = iter(rows)
        for number in range(1, MAX_ROWS):
            first = list(islice(source, SAMPLED_ROWS))
            if number > 1 and not first:
                return
            name = title if number == 1 else f"{title} {number}"
            self._add(name, title, header, first, islice(source, MAX_ROWS - 1 - len(first)))

    def _add(
        self, name: str, title: str, header: Sequence[str], first: list[Sequence[Any]], rest: Iterator[Sequence[Any]]
    ) -> None:
        sheet = self._workbook.add_worksheet(name, _Sheet)
        sheet.freeze_panes(1, 0)
        for column, width in enumerate(_widths([header, *first])):
            sheet.set_column(column, column, width)
        for column, text in enumerate(header):
            sheet.write_string(0, column, self._fitted(text, title, text), self._bold)
        row = 0
        for row, values in enumerate(chain(first, rest), 1):
            for column, value in enumerate(values):
                kind = type(value)
                if kind is str:
                    sheet.write_string(row, column, self._fitted(value, title, header[column]))
                elif kind is int or kind is float:
                    sheet.write_number(row, column, value)
                elif kind is bool:
                    sheet.write_boolean(row, column, value)
                elif value is not None:
                    style = self._timestamp if isinstance(value, datetime) else self._date
                    sheet.write_datetime(row, column, value, style)
        sheet.autofilter(0, 0, row, len(header) - 1)

    def _fitted(self, text: str, title: str, column: str) -> str:
        if len(text) <= MAX_UNITS // 2 or len(encoded := text.encode("utf-16-le")) <= MAX_UNITS * 2:
            return text
        self.cut[title, column] = self.cut.get((title, column), 0) + 1
        return encoded[: MAX_UNITS * 2].decode("utf-16-le", "ignore")


def _widths(rows: Iterable[Sequence[Any]]) -> Iterator[int]:
    """The widths of the columns, from the longest first line of their cells."""
    for column in zip(*rows, strict=True):
        longest = max(_width(value) for value in column)
        yield min(MAX_WIDTH, max(MIN_WIDTH, longest + 2))


def _width(value: Any) -> int:
    if isinstance(value, datetime):
        return 24
    if isinstance(value, date):
        return 10
    return 0 if value is None else len(str(value).partition("\n")[0])


def lines_of(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a JSON document, each with its path. The elements of a list are lines of their own."""
    for name, value in document.items():
        for element in value if isinstance(value, list) else [value]:
            if isinstance(element, dict):
                yield from lines_of(element, f"{path}{name}.")
            elif element is not None:
                yield f"{path}{name}", str(element) if isinstance(element, list) else element
