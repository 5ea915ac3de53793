"""The parts of a workbook, which is a ZIP archive of XML, in pieces: unpacked within bounds, cut between elements."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from typing import NoReturn

from foundation.errors import InvalidInputError
from row_batches.files.table import MAX_COLUMNS, refuse, too_many_columns

MAX_UNPACKED_BYTES = 600_000_000
"""The largest part of a workbook, such as a sheet's XML or the table of its texts."""
MAX_CELLS = 4_000_000
"""Rows times columns of the largest sheet: 24 bytes each while the sheet is read, and its texts."""
MAX_TEXT_BYTES = 300_000_000
"""The most bytes of text in the cells of a sheet. A workbook can have a text once; in memory, each cell has its own."""
_LONGEST_TAG = 10_000
SPLIT_IT = "split it, or save the sheet as CSV"
SAVE_AGAIN = "open it, save it again and upload it"


def pieces(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, begin: re.Pattern[bytes]) -> Iterator[bytes]:
    """The part's content in pieces, cut where an element of interest can begin, so that each of their tags is in one.

    ``begin`` matches the beginning of such a tag, up to the space, slash or angle bracket after its name. Raises
    InvalidInputError if the part is too large.
    """
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
            if b"<!ENTITY" in data:
                refuse(name, "the workbook defines XML entities, which can stand for any amount of text", SAVE_AGAIN)
            end = _cut(name, data, begin)
            yield data[:end]
            carry = data[end:]
    yield carry


def _cut(name: str, data: bytes, begin: re.Pattern[bytes]) -> int:
    """Where to cut the data, so that no tag of interest is cut. Raises InvalidInputError for a tag that is too long."""
    # The tag of a cell, and that of its value behind it, are in the last bytes.
    found = begin.search(data, max(0, len(data) - _LONGEST_TAG))
    if found is not None:
        return found.start()
    end = data.rfind(b"<")
    if end >= 0 and len(data) - end <= _LONGEST_TAG:
        return end
    opened = begin.match(data, max(end, 0))
    if opened and data[opened.end() : opened.end() + 1].isspace():
        message = f"the workbook is damaged: a tag is longer than {_LONGEST_TAG:,} characters"
        refuse(name, message, SAVE_AGAIN)
    return len(data)


def _check_unpacked(name: str, size: int) -> None:
    if size > MAX_UNPACKED_BYTES:
        refuse_large(f"{name}: over {MAX_UNPACKED_BYTES:,} bytes unpacked")


def check_span(name: str, rows: int, columns: int) -> None:
    """Raises InvalidInputError if a sheet whose content spans so many rows and columns does not fit into memory."""
    if columns > MAX_COLUMNS:
        raise InvalidInputError([too_many_columns(columns)])
    if rows * columns > MAX_CELLS:
        value = f"{name}: {rows:,} rows x {columns:,} columns"
        refuse(value, f"a sheet spans more than {MAX_CELLS:,} cells, the most that is read", SPLIT_IT)


def check_text(name: str, size: int) -> None:
    """Raises InvalidInputError if the texts of a sheet's cells, each of which takes memory, are too large."""
    if size > MAX_TEXT_BYTES:
        refuse_large(f"{name}: over {MAX_TEXT_BYTES:,} bytes of text")


def refuse_large(value: str) -> NoReturn:
    """Raise InvalidInputError for a workbook that does not fit into memory. ``value`` is its place, or its size."""
    refuse(value, "the workbook is too large to be read", SPLIT_IT)
