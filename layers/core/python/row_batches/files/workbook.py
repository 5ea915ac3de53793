"""Reads one sheet of a workbook (XLSX, XLSM, ODS) as a table. The first row with content is the header.

A workbook must fit into memory, so its size is checked before it is read. Without a limit, a few cells far apart would
make a sheet of any size. Numbers and booleans keep their types on the way to the target, dates become ISO 8601 text,
and formulas become the values that were saved with them.
"""

from __future__ import annotations

import datetime
import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NoReturn

from foundation.errors import InvalidInputError, Problem
from foundation.problems import did_you_mean, listed
from row_batches.document.input_format import InputFormat
from row_batches.files.ods_size import CONTENT, check_ods, with_signs
from row_batches.files.staged_copy import staged_cells
from row_batches.files.table import InputFile, TableStaging, bounded, refuse
from row_batches.files.workbook_parts import SAVE_AGAIN, SPLIT_IT
from row_batches.files.xlsx_errors import cell_warnings
from row_batches.files.xlsx_size import check_xlsx
from row_batches.mapping.cells import JsonCell

MOST_TITLE_LINES = 20
"""Most rows of one cell above a table that are taken for titles."""
MAX_WORKBOOK_BYTES = 64_000_000
_MOST_WHOLE = 2**53
"""Up to here, a double holds every whole number exactly."""
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
_NO_WORKBOOKS = {
    "xl/workbook.bin": ("an Excel workbook in the binary format (.xlsb)", "save it as XLSX"),
    "word/document.xml": ("a Word document", "export its table as CSV"),
    "ppt/presentation.xml": ("a PowerPoint presentation", "export its table as CSV"),
    "visio/document.xml": ("a Visio drawing", "export its table as CSV"),
}
"""Parts that only another kind of Office document has, what it is, and what to do."""


def stage_workbook(file: InputFile) -> TableStaging:
    """Prepare to stage a sheet of a workbook. Raises InvalidInputError if it does not fit into memory."""
    sheet = _Sheet(_checked(_read(file)), file.form)
    rows = ((place, staged_cells(cells)) for place, cells in sheet.rows())
    return TableStaging(file, sheet.header, rows, lambda: sheet.warnings)


def _read(file: InputFile) -> bytes:
    data = io.BytesIO()
    for chunk in bounded(file, "the workbook", MAX_WORKBOOK_BYTES, SPLIT_IT):
        data.write(chunk)
    return data.getvalue()


def _checked(data: bytes) -> bytes:
    """The workbook, after a check that it fits into memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            for part, (what, fix) in _NO_WORKBOOKS.items():
                if part in names:
                    refuse("", f"the file is {what}", fix)
            if CONTENT in names:
                return with_signs(archive) if check_ods(archive) else data
            check_xlsx(archive)
    except InvalidInputError:
        raise
    except _DAMAGES as error:
        refuse("", f"the workbook is damaged: {error}", SAVE_AGAIN)
    return data


class _Sheet:
    """One sheet of a workbook."""

    def __init__(self, data: bytes, form: InputFormat) -> None:
        from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415  # only workbooks need it

        try:
            workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
            if not workbook.sheet_names:
                refuse("", "the workbook has no sheet", SAVE_AGAIN)
            self.name = _chosen(workbook.sheet_names, form.sheet)
            sheet = workbook.get_sheet_by_name(self.name)
        except CalamineError as error:
            refuse("", f"the workbook cannot be read: {error}", SAVE_AGAIN)
        self._first_row = (sheet.start or (0, 0))[0] + 1
        self._values = sheet.iter_rows()
        self._pending: list[tuple[str, Sequence[Any]]] = []
        self._others = [name for name in workbook.sheet_names if name != self.name]
        self._chosen_by_user = form.sheet is not None
        self._cell_warnings = cell_warnings(data, self.name)
        self.header = self._header(form)

    @property
    def warnings(self) -> list[str]:
        warnings = []
        if self._others and not self._chosen_by_user:
            others = listed(self._others)
            warnings.append(
                f"The workbook's first sheet, {self.name}, is read. Others: {others}. Choose with input_format.sheet."
            )
        return [*warnings, *self._cell_warnings]

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
        others = f": it has {listed(self._others)}" if self._others else ""
        fix = f"name another one in input_format.sheet{others}; or give this one a header and rows"
        refuse(self.name, "the sheet is empty", fix)

    def _check_title(self, row: int) -> None:
        """Raise InvalidInputError if rows of one cell come before the first row of more, because they are titles."""
        title = row
        lines = 0
        for values in self._values:
            number = self._first_row
            self._pending.append((f"row {number}", values))
            self._first_row += 1
            cells = sum(map(_has_content, values))
            if cells > 1:
                if not self._are_wide():
                    return
                value = f"row {row} has 1 cell, row {number} has {cells}"
                fix = f"if it is a title, set input_format.skip_lines to {title}; else give every column a name"
                refuse(value, "the first row does not fit the rows", fix)
            if cells:
                title = number
                lines += 1
            if lines == MOST_TITLE_LINES:
                return

    def _are_wide(self) -> bool:
        """Whether the next rows have several cells, too. If not, the one before them has a note beside its cell."""
        widths = []
        for values in islice(self._values, MOST_TITLE_LINES):
            self._pending.append((f"row {self._first_row}", values))
            self._first_row += 1
            widths.append(sum(map(_has_content, values)))
        wide = sum(cells > 1 for cells in widths)
        return wide >= sum(cells == 1 for cells in widths)

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
        fix = f"{did_you_mean(wanted, names)}it has: {listed(names)}"
        raise InvalidInputError([Problem("input_format.sheet", wanted, "the workbook has no such sheet", fix)])
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
        return JsonCell(str(int(value)) if value.is_integer() and abs(value) <= _MOST_WHOLE else repr(value))
    if isinstance(value, int):
        return JsonCell(str(value))
    if isinstance(value, datetime.timedelta):
        return str(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
