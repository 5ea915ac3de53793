"""Opens a user's file: unpacks it, recognises its format, and passes it to the reader of that format.

To add a format, write a reader and list it in ``FORMATS``. ``input_format.type`` and the reference page use that list.
A reader is imported when a file of its format comes, because most files are CSV.
"""

# ruff: noqa: PLC0415 (readers are imported at first use)

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import get_args

from foundation.errors import InvalidInputError
from row_batches.document.input_format import FormatName
from row_batches.files import recognise
from row_batches.files.compression import COMPRESSIONS
from row_batches.files.csv_reader import Staging
from row_batches.files.file_text import FileText
from row_batches.files.table import MAX_FILE_BYTES, InputFile, InputStaging
from row_batches.mapping.cells import JsonCell


@dataclass(frozen=True, slots=True)
class Format:
    """A file format. ``is_it`` recognises it from the first ``HEAD_BYTES``. ``stage`` raises InvalidInputError.

    ``doc`` completes "The file is …". ``rows`` and ``cells`` describe them on the reference page.
    """

    name: str
    doc: str
    rows: str
    cells: str
    is_it: Callable[[bytes], bool]
    stage: Callable[[InputFile], InputStaging]
    missing: str = ""
    """The cell of a column that other files have and this one lacks."""
    sparse: bool = False
    """Whether a file has only the columns that its rows use."""


def _stage_csv(file: InputFile) -> InputStaging:
    text = FileText(file)
    return Staging(text, file.form, file.max_rows, lambda: [*file.notes, *text.warnings])


def _stage_workbook(file: InputFile) -> InputStaging:
    from row_batches.files.workbook import stage_workbook

    return stage_workbook(file)


def _stage_parquet(file: InputFile) -> InputStaging:
    from row_batches.files.parquet_reader import stage_parquet

    return stage_parquet(file)


def _stage_json_lines(file: InputFile) -> InputStaging:
    from row_batches.files.json_reader import stage_json_lines

    return stage_json_lines(file)


def _stage_json_array(file: InputFile) -> InputStaging:
    from row_batches.files.json_reader import stage_json_array

    return stage_json_array(file)


FORMATS = (
    Format(
        "xlsx",
        "an Excel workbook (XLSX, XLSM)",
        "rows of the first sheet, or of `sheet`; the first row with content is the header",
        "numbers and booleans keep their types, dates become ISO 8601 text. Up to 64 MB and 4,000,000 cells",
        recognise.is_workbook,
        _stage_workbook,
    ),
    Format(
        "ods",
        "an OpenDocument spreadsheet (ODS)",
        "as in an Excel workbook",
        "as in an Excel workbook",
        recognise.is_spreadsheet,
        _stage_workbook,
    ),
    Format(
        "parquet",
        "a Parquet file",
        "rows in their order",
        "numbers, booleans, and lists of texts, whole numbers or booleans keep their types; dates and times become ISO "
        "8601 text. The output has all digits of a decimal, a target gets up to 17. A column of structs, maps or other "
        "lists is refused. Up to 4 GB",
        recognise.is_parquet,
        _stage_parquet,
        JsonCell("null"),
    ),
    Format(
        "jsonl",
        "JSON Lines",
        "an object in each line; the columns are all keys that occur",
        "values keep their types; a missing key is null",
        recognise.is_json_object,
        _stage_json_lines,
        JsonCell("null"),
        sparse=True,
    ),
    Format(
        "json",
        "one JSON array",
        "the objects in the array; the columns are all keys that occur",
        "as in JSON Lines. Up to 5 GB",
        recognise.is_json_array,
        _stage_json_array,
        JsonCell("null"),
        sparse=True,
    ),
    Format("csv", "text in rows (CSV, TSV and the like)", "lines", "text", lambda _: True, _stage_csv),
)
"""The formats in order. The first one that recognises a file reads it."""
if {one.name for one in FORMATS} != set(get_args(FormatName)):
    raise TypeError("FormatName and FORMATS have to list the same formats")


def open_input(file: InputFile) -> InputStaging:
    """Read the header of a user's file and prepare to stage its rows.

    Raises InvalidInputError if the file is not a table, and says what it is, or if it has no usable header. Iterating
    raises it for later mistakes.
    """
    kind, opened = recognised(file)
    return kind.stage(opened)


def recognised(file: InputFile) -> tuple[Format, InputFile]:
    """The format of a user's file, and the file for its reader. Raises InvalidInputError if it is not a table."""
    notes = [*file.notes]
    head = _head(file.chunks())
    if packing := next((one for one in COMPRESSIONS if one.is_it(head)), None):
        packed = file.chunks
        unpacked = lambda: packing.unpacked(packed(), max_bytes=MAX_FILE_BYTES)  # noqa: E731
        file = replace(file, chunks=unpacked, size=None, chunks_from=None)
        head = _head(file.chunks())
        notes.append(f"The file is compressed with {packing.name}.")
    wanted = file.form.type
    chosen = next(one for one in FORMATS if (one.name == wanted if wanted else one.is_it(head)))
    if chosen.name == "csv" and (problem := recognise.problem_of(head, is_text=file.form.encoding is not None)):
        raise InvalidInputError([problem])
    if chosen.name != "csv" and wanted is None:
        notes.append(f"The file is {chosen.doc}.")
    return chosen, replace(file, notes=tuple(notes))


def _head(chunks: Iterable[bytes]) -> bytes:
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= recognise.HEAD_BYTES:
            break
    return head[: recognise.HEAD_BYTES]
