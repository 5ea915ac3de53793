"""Opens a user's file: unpacks it, recognises its format, and passes it to the reader of that format.

To add a format, write a reader and list it in ``FORMATS``. ``input_format.type`` and the reference page use that list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

from foundation.errors import InvalidInputError
from row_batches.document.input_format import FormatName, InputFormat
from row_batches.files import gzip_, recognise
from row_batches.files.csv_reader import Staging
from row_batches.files.encoding import Utf8Text, as_utf8
from row_batches.files.json_reader import stage_json_array, stage_json_lines
from row_batches.files.table import MAX_FILE_BYTES, PATH, InputStaging
from row_batches.files.workbook import stage_workbook

Source = Callable[[], Iterable[bytes]]
"""Each call returns the file's bytes from the start."""
Warnings = Callable[[], list[str]]


@dataclass(frozen=True, slots=True)
class Format:
    """A file format. ``is_it`` recognises it from the first ``HEAD_BYTES``. ``stage`` raises InvalidInputError."""

    name: str
    doc: str
    is_it: Callable[[bytes], bool]
    stage: Callable[[Source, InputFormat, int | None, Warnings], InputStaging]


def _stage_csv(source: Source, form: InputFormat, max_rows: int | None, source_warnings: Warnings) -> InputStaging:
    text = Utf8Text(source(), form, PATH)
    return Staging(text, form, max_rows, lambda: [*source_warnings(), *text.warnings])


FORMATS = (
    Format("xlsx", "an Excel workbook (XLSX, XLSM): one sheet", recognise.is_workbook, stage_workbook),
    Format("jsonl", "JSON Lines: an object in each line", recognise.is_json_object, stage_json_lines),
    Format("json", "one JSON array of objects", recognise.is_json_array, stage_json_array),
    Format("csv", "text in rows: CSV, TSV and the like", lambda _: True, _stage_csv),
)
"""The formats in order. The first one that recognises a file reads it."""
if {one.name for one in FORMATS} != set(get_args(FormatName)):
    raise TypeError("FormatName and FORMATS have to list the same formats")


def open_input(source: Source, form: InputFormat, *, max_rows: int | None = None) -> InputStaging:
    """Read the header of a user's file and prepare to stage its rows.

    Raises InvalidInputError if the file is not a table, and says what it is, or if it has no usable header. Iterating
    raises it for later mistakes. With ``max_rows``, later rows are neither read nor checked.
    """
    notes = []
    head = _head(source())
    if head.startswith(gzip_.MAGIC):
        packed = source
        source = lambda: gzip_.unpacked(packed(), path=PATH, max_bytes=MAX_FILE_BYTES)  # noqa: E731
        head = _head(source())
        notes.append("The file is compressed with gzip.")
    chosen = next(one for one in FORMATS if (one.name == form.type if form.type else one.is_it(head)))
    if chosen.name == "csv" and (problem := recognise.problem_of(head, PATH)):
        raise InvalidInputError([problem])
    if chosen.name != "csv" and form.type is None:
        notes.append(f"The file is {chosen.doc}.")
    return chosen.stage(source, form, max_rows, lambda: notes)


def _head(chunks: Iterable[bytes]) -> bytes:
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= recognise.HEAD_BYTES:
            break
    return as_utf8(head[: recognise.HEAD_BYTES])
