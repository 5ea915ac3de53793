"""Cells of an Excel workbook with an error, such as #N/A."""

from __future__ import annotations

import io
import re
import zipfile

from row_batches.files.workbook_parts import pieces
from row_batches.files.xlsx_size import BEGIN

_ERROR_CELL = re.compile(
    rb"""<(?:[\w.-]+:)?c(\s[^<>]*(?<=\s)t\s*=\s*["']e["'][^<>]*)>(?:\s*<(?:[\w.-]+:)?f\b[^<>]*(?:/>|>[^<]*</[^<>]*>))?"""
    rb"""\s*<(?:[\w.-]+:)?v>([^<]*)<"""
)
"""A cell with an error, such as #N/A: its attributes and the error."""
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]+[0-9]+)["']""")
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def error_warning(data: bytes, sheet: str) -> list[str]:
    """A warning about the sheet's cells with an error of Excel, such as #N/A, which are read as empty."""
    count, first = 0, ""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        part = _part_of(archive, sheet)
        for tags in pieces(archive, archive.getinfo(part), BEGIN) if part in archive.namelist() else ():
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
