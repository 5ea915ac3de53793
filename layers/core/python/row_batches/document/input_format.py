"""The section ``input_format`` of the input document: settings that replace the detection of the file's format."""

import codecs
from typing import Annotated, Literal

from pydantic import Field

from foundation.validation import Part, compiles
from row_batches.mapping.fields import FieldName

_NO_FILES = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
"""Python's encodings of names and literals. They change plain text, and can give halves of surrogate pairs."""


_WRITE_ENCODING = 'write one such as "utf-8", "cp1252", "shift_jis" or "utf-16"'


def _known_encoding(name: str) -> None:
    """Raises ValueError for a name that no text encoding of Python's has."""
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError) as error:
        raise ValueError("Python has no encoding of this name") from error
    if not getattr(info, "_is_text_encoding", True) or info.name in _NO_FILES:
        raise ValueError("it is not an encoding of text files")


FormatName = Literal["csv", "jsonl", "json", "xlsx", "ods", "parquet"]
"""The formats of ``files.opening``, which compares the two when it is imported."""


class InputFormat(Part):
    """How the file is read. Settings that are left out are detected from the file."""

    type: FormatName | None = Field(default=None, description="the file's format; none: detected")
    sheet: str | None = Field(default=None, description="for a workbook, the name of the sheet; none: the first")
    encoding: Annotated[str, compiles(_known_encoding, "not an encoding", _WRITE_ENCODING)] | None = Field(
        default=None, description="name of the encoding, such as `cp1252`; none: detected"
    )
    encoding_errors: Literal["refuse", "replace"] = Field(
        default="refuse",
        description="bytes that the encoding does not have: refuse the file, or write U+FFFD in their place",
    )
    delimiter: Literal[",", ";", "\t", "|", " ", ":", "^", "~"] | None = Field(
        default=None, description="the character between cells; none: detected"
    )
    quote: Literal['"', "'", "none"] = Field(
        default='"',
        description="the character that quotes a cell, and is doubled inside it; `none`: quotes are content",
    )
    skip_lines: int = Field(
        default=0, ge=0, le=1_000, description="lines before the header, such as a title, that are not read"
    )
    header: bool = Field(
        default=True, description="`false`: the first line is a row; the columns are `column_1`, `column_2`, …"
    )
    row_names: bool = Field(
        default=False,
        description="`true`: each row begins with its name, for which the header has no cell, as R's `write.table` "
        "writes it; the names are the column `column_1`",
    )
    source_column: FieldName | None = Field(
        default=None,
        description="name of a column to add, with the name of the file that a row comes from: its key below the "
        "folder or the `*` of the address; none: no such column",
    )
    empty_rows: Literal["skip", "send", "refuse"] = Field(
        default="skip",
        description="rows without content, whose cells are all empty or white space: list them in the output with "
        "`_status` `SKIPPED` and do not send them, send them like other rows, or refuse the file",
    )
    ragged: Literal["refuse", "pad"] = Field(
        default="refuse",
        description="rows with fewer cells than the header: refuse the file, or add empty cells at their end",
    )
