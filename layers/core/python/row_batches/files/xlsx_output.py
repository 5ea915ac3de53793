"""The output as an Excel workbook: typed cells, a sheet of the failures and a sheet of the summary.

A workbook cannot be continued, so it is written in one call. A text is never a formula or a link. What Excel cannot
hold stays readable:

* A text over 32,767 UTF-16 units is cut, and a warning names its column. It is complete in the CSV.
* Whole numbers with more than 15 digits are texts, because Excel keeps 15 digits of a number.
* Dates before March 1900 are texts, because Excel counts a day that did not exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from foundation.errors import Problem
from foundation.problems import listed
from row_batches.files.result_file import ResultFile
from row_batches.files.result_table import ResultTable
from row_batches.files.writer import Progress, Writer
from row_batches.mapping.cells import CellKind, JsonCell

if TYPE_CHECKING:
    from row_batches.files.xlsx_book import Book

MAX_CELLS = 20_000_000
"""Cells of the output without its header. At ``CELLS_PER_SECOND``, they take 13.3 of the 15 minutes of a call."""
CELLS_PER_SECOND = 25_000
"""The least that the aggregator's share of a core writes, if all rows are also on the sheet of failures. ``make bench``
measures it as ``writing_xlsx_cells``: 28,700 to 52,300, depending on what else the processor does."""
MAX_TEXT_BYTES = 800_000_000
"""The largest ``output.csv`` that is written as a workbook: /tmp holds its rows twice and the packed workbook."""
MAX_WHOLE = 10**15
FIRST_DATE = date(1900, 3, 1)
CHUNK_BYTES = 8 * 1024 * 1024
NOT_SHOWN = frozenset({"schema_version", "effective_config", "estimate", "outputs", "first_failures"})
"""Sections of the summary that are not on its sheet. The failures have a sheet of their own."""


class XlsxOutput(Writer):
    """``output.xlsx``. An output with more rows than a sheet holds is on several sheets."""

    name: ClassVar = "xlsx"
    doc: ClassVar = (
        "`output.xlsx`: an Excel workbook with typed cells, a sheet of the failed rows and a sheet of the summary; up "
        f"to {MAX_CELLS:,} cells"
    )
    file: ClassVar = "output.xlsx"

    def problem(self, rows: int, columns: Sequence[str]) -> Problem | None:
        cells = rows * len(columns)
        if cells <= MAX_CELLS:
            return None
        value = f"{rows:,} rows x {len(columns):,} columns"
        message = f"a workbook is written in one call, which is enough for {MAX_CELLS:,} cells; this one has {cells:,}"
        fix = "choose csv, jsonl or parquet, split the input, or set output_mapping.include_original to false"
        return Problem("output_format.type", value, message, fix)

    def step_seconds(self, rows: int, columns: int) -> float:
        return rows * columns / CELLS_PER_SECOND

    def write(self, table: ResultTable, progress: Progress) -> Iterator[Progress]:
        from tempfile import TemporaryDirectory  # noqa: PLC0415 (few runs write a workbook)

        with TemporaryDirectory() as folder:
            path = Path(folder) / self.file
            warnings = _write(path, table)
            if warnings is None:
                left_out = (
                    f"{self.file} is not written, because output.csv has more than {MAX_TEXT_BYTES:,} bytes, the most "
                    "for a workbook."
                )
                yield progress.model_copy(update={"done": True, "left_out": left_out})
                return
            file = ResultFile.start(table.objects, table.folder + self.file, table.tags)
            with path.open("rb") as source:
                while chunk := source.read(CHUNK_BYTES):
                    file.append(chunk)
                    file.upload_full_part()
        file.upload_last_part()
        file.complete()
        yield progress.model_copy(update={"done": True, "proofs": [file.proof], "warnings": warnings})


class _TooLargeError(Exception):
    """Raised when the output has more than ``MAX_TEXT_BYTES``."""


def _write(path: Path, table: ResultTable) -> list[str] | None:
    """Write the workbook. Returns its warnings, or None if the output is too large for one."""
    from row_batches.files.xlsx_book import Book, lines_of  # noqa: PLC0415 (only workbooks need the library)

    try:
        with Book(path, table.created) as book:
            book.add("Output", [column.header for column in table.columns], _rows(table))
            if table.failed_key is not None:
                failed = table.failed_rows()
                book.add("Failures", next(failed), failed)
            warnings = _warnings(book)
            shown = {name: value for name, value in table.summary().items() if name not in NOT_SHOWN}
            if shown:
                summary = orjson.loads(orjson.dumps(shown))
                summary["warnings"] += warnings
                book.add("Summary", ["name", "value"], lines_of(summary))
    except _TooLargeError:
        return None
    return warnings


def _rows(table: ResultTable) -> Iterator[list[Any]]:
    convert = [_CONVERTERS.get(column.kind, _plain) for column in table.columns]
    for block in table.blocks(table.start):
        if block.after.output_bytes > MAX_TEXT_BYTES:
            raise _TooLargeError
        for row in block.rows:
            yield [make(value) for make, value in zip(convert, row, strict=True)]


def _warnings(book: Book) -> list[str]:
    if not book.cut:
        return []
    columns = [f"{column} {count:,} (sheet {sheet})" for (sheet, column), count in book.cut.items()]
    return [
        f"Cells of output.xlsx are cut after 32,767 characters, the most that Excel holds: {listed(columns)}. They are "
        "complete in the CSV files."
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, JsonCell):
        return _number(value.json) if value.json[0] not in "{[" else str(value)
    return str(value) if type(value) is int and abs(value) >= MAX_WHOLE else value


def _number(json: str) -> float | str:
    """A number that is not exactly the int or float that Python reads. Digits after the point can be lost."""
    is_whole = json.lstrip("-").isdigit()
    number = float(json)
    return json if is_whole or not math.isfinite(number) else number


def _date(value: Any) -> Any:
    try:
        read = date.fromisoformat(value)
    except ValueError:
        return value  # the column's default
    return read if read >= FIRST_DATE else value


def _timestamp(value: str) -> datetime:
    return datetime.fromisoformat(value).replace(tzinfo=None)


_CONVERTERS: dict[CellKind | None, Callable[[Any], Any]] = {
    CellKind.DATE: lambda value: None if value is None else _date(value),
    CellKind.TIMESTAMP: lambda value: None if value is None else _timestamp(value),
}
