"""Cells of an Excel workbook without a value that can be read: errors, such as #N/A, and formulas without a result."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass

from row_batches.files.workbook_parts import pieces
from row_batches.files.xlsx_size import BEGIN

_ERROR_CELL = re.compile(
    rb"""<(?:[\w.-]+:)?c(\s[^<>]*(?<=\s)t\s*=\s*["']e["'][^<>]*)>(?:\s*<(?:[\w.-]+:)?f\b[^<>]*(?:/>|>[^<]*</[^<>]*>))?"""
    rb"""\s*<(?:[\w.-]+:)?v>([^<]*)<"""
)
"""A cell with an error, such as #N/A: its attributes and the error."""
_FORMULA_ALONE = re.compile(
    rb"""<(?:[\w.-]+:)?c(\s[^<>]*)>\s*<(?:[\w.-]+:)?f\b[^<>]*(?:/>|>[^<]*</[^<>]*>)"""
    rb"""\s*(?:<(?:[\w.-]+:)?v\s*(?:/>|>\s*</)|</(?:[\w.-]+:)?c\s*>)"""
)
"""A cell with a formula and no result: its attributes."""
_TEXT_RESULT = re.compile(rb"""\st\s*=\s*["']str["']""")
"""The result is a text, which can be empty."""
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]+[0-9]+)["']""")
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def cell_warnings(data: bytes, sheet: str) -> list[str]:
    """Warnings about the sheet's cells that are read as empty: those with an error of Excel, and those whose formula
    was never calculated, as a program writes them."""
    errors, formulas = _Found(), _Found()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        part = _part_of(archive, sheet)
        for tags in pieces(archive, archive.getinfo(part), BEGIN) if part in archive.namelist() else ():
            for cell in _ERROR_CELL.finditer(tags):
                errors.add(cell[1], cell[2].decode("utf-8", "replace"))
            has_formulas = b"<f" in tags or b":f" in tags  # most sheets have none, and this looks much faster
            for cell in _FORMULA_ALONE.finditer(tags) if has_formulas else ():
                if not _TEXT_RESULT.search(cell[1]):
                    formulas.add(cell[1], "")
    return [
        *errors.said("has an error of Excel and is", "have errors of Excel and are"),
        *(
            f"{said} Open the workbook in Excel and save it, to have the results."
            for said in formulas.said("has a formula without a result and is", "have formulas without results and are")
        ),
    ]


@dataclass(slots=True)
class _Found:
    """How many cells of a kind a sheet has, and the first of them."""

    count: int = 0
    first: str = ""

    def add(self, attributes: bytes, value: str) -> None:
        self.count += 1
        if self.count == 1:
            place = _REFERENCE.search(attributes)
            shown = f" ({value})" if value else ""
            self.first = f"{place[1].decode()}{shown}" if place else value

    def said(self, one: str, several: str) -> list[str]:
        if self.count == 1:
            return [f"1 cell {one} read as empty{f': {self.first}' if self.first else ''}."]
        first = f"; the first is {self.first}" if self.first else ""
        return [f"{self.count:,} cells {several} read as empty{first}."] if self.count else []


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
