"""Recognises files that are not tables by their first bytes, and says what to do instead.

Only the content counts, not the name: a web page saved as .csv is a web page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from foundation.errors import Problem
from row_batches.files.compression import COMPRESSIONS
from row_batches.files.encoding import as_utf8
from row_batches.files.json_decoder import is_cut
from row_batches.files.table import PATH

HEAD_BYTES = 4_096
"""The part of a file that is enough to recognise it."""

_UNPACK = "unpack it, and upload the table in it as CSV"
_COMPRESS = "unpack it, or compress it with gzip or zstd"
_EXPORT = "export its table as CSV"
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_BINARY = re.compile(rb"[\x00\x04-\x08\x0e-\x1a]")
"""Bytes that text does not have. ISO-2022-JP has ESC, and some programs put one of the others between cells."""
_FEW_BINARY = 8
_MOST_BINARY = 0.02
"""The share of such bytes in a damaged text."""
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Foreign:
    """A kind of file that cannot be read. ``is_it`` recognises it from the first ``HEAD_BYTES``."""

    what: str
    is_it: Callable[[bytes], bool]
    fix: str


def _begins(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(marks)


def _binary(mark: bytes) -> Callable[[bytes], bool]:
    """For a mark that consists of letters, because a column's name can begin with them, too."""
    return lambda head: head.startswith(mark) and _CONTROLS.search(head[:64]) is not None


def _zip_with(mark: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"PK\x03\x04") and mark in head


def _compound_with(name: str) -> Callable[[bytes], bool]:
    """A compound file (MS-CFB) that has a stream of this name, which is in its directory."""
    return lambda head: head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") and name.encode("utf-16-le") in head


def _markup(*tags: bytes) -> Callable[[bytes], bool]:
    return lambda head: _opening(head).lower().startswith(tags)


def _opening(head: bytes) -> bytes:
    return as_utf8(head).removeprefix(b"\xef\xbb\xbf").lstrip()


def is_json_object(head: bytes) -> bool:
    """Whether the file begins with a JSON object, as JSON Lines do."""
    return re.match(rb'\{\s*(?:"[^"\n]*"\s*:|\})', _opening(head)) is not None


def is_json_array(head: bytes) -> bool:
    """Whether the file is surely a list. Only a list of objects can be read, but for any other the error says so.

    A list that a delimiter follows is the first cell of a CSV.
    """
    text = _opening(head).decode("utf-8", "replace")
    if re.match(r"\[\s*\{\s*[\"}]", text):
        return True
    position = 0
    while position < len(text):
        if text[position] != "[":
            return False
        try:
            _, end = _JSON.raw_decode(text, position)
        except json.JSONDecodeError as error:
            return len(head) >= HEAD_BYTES and is_cut(error, text)
        except RecursionError:
            return True
        line_end = re.compile(r"[ \t\r]*(?:\n\s*|\Z)").match(text, end)
        if line_end is None:
            return False
        position = line_end.end()
    return position > 0


def _is_python(head: bytes) -> bool:
    return re.match(rb"(?:\[\s*)?\{\s*'[^'\n]*'\s*:", _opening(head)) is not None


def is_parquet(head: bytes) -> bool:
    return _binary(b"PAR1")(head)


def is_workbook(head: bytes) -> bool:
    """Whether the file can be a workbook. Office documents all begin alike, so others can be refused only later."""
    marks = (b"xl/", b"[Content_Types].xml", b"_rels/.rels", b"docProps/")
    return head.startswith(b"PK\x03\x04") and any(mark in head for mark in marks)


def is_spreadsheet(head: bytes) -> bool:
    return _zip_with(b"application/vnd.oasis.opendocument.spreadsheet")(head)


FOREIGN = (
    Foreign("an OpenDocument text or presentation", _zip_with(b"application/vnd.oasis.opendocument."), _EXPORT),
    Foreign("a ZIP archive", _begins(b"PK\x03\x04", b"PK\x05\x06"), _UNPACK),
    Foreign("an Excel workbook with a password", _compound_with("EncryptedPackage"), "save it without a password"),
    Foreign(
        "an Excel workbook in the old format (.xls), or one with a password",
        _begins(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        "save it as XLSX without a password",
    ),
    Foreign("a PDF document", _begins(b"%PDF-"), "export its table as CSV from the program that made it"),
    Foreign("an encrypted Parquet file", _binary(b"PARE"), "write it without encryption"),
    Foreign("an Avro file", _begins(b"Obj\x01"), _EXPORT),
    Foreign("an ORC file", _binary(b"ORC"), _EXPORT),
    Foreign("an SQLite database", _begins(b"SQLite format 3\0"), _EXPORT),
    Foreign("a TAR archive", lambda head: head[257:262] == b"ustar", _UNPACK),
    Foreign(
        "compressed twice",
        lambda head: any(one.is_it(head) for one in COMPRESSIONS),
        "unpack it once, and upload that",
    ),
    Foreign("compressed with bzip2", _binary(b"BZh"), _COMPRESS),
    Foreign("compressed with xz", _begins(b"\xfd7zXZ\0"), _COMPRESS),
    Foreign("compressed with LZ4", _begins(b"\x04\x22\x4d\x18"), _COMPRESS),
    Foreign("a 7-Zip archive", _begins(b"7z\xbc\xaf\x27\x1c"), _UNPACK),
    Foreign(
        "a file that macOS adds to another one (its name begins with ._)",
        _begins(b"\0\x05\x16\x07"),
        "upload the other file, without ._ in its name",
    ),
    Foreign("a RAR archive", _begins(b"Rar!\x1a\x07"), _UNPACK),
    Foreign(
        "an image",
        _begins(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"),
        "upload a CSV instead",
    ),
    Foreign(
        "a web page (HTML), not a table",
        _markup(b"<!doctype html", b"<html", b"<head", b"<body", b"<!--", b"<meta", b"<style", b"<script", b"<table"),
        "download the file itself: this is often a page that asks to sign in",
    ),
    Foreign("an XML document", _markup(b"<?xml"), _EXPORT),
    Foreign("an RTF document", _markup(b"{\\rtf"), _EXPORT),
    Foreign("a dictionary as Python shows it, not JSON", _is_python, "write each row with json.dumps, in its own line"),
)
"""The kinds in order. The first one that recognises a file names it."""


def problem_of(head: bytes, *, is_text: bool = False) -> Problem | None:
    """The problem with a file that begins with ``head``; None if it can be text in rows.

    ``is_text`` says that ``input_format`` names its encoding, so it is text.
    """
    for foreign in FOREIGN:
        if foreign.is_it(head):
            return Problem(PATH, "", f"the file is {foreign.what}", foreign.fix)
    text = as_utf8(head)
    if not is_text and len(_BINARY.findall(text)) > max(_FEW_BINARY, len(text) * _MOST_BINARY):
        return Problem(PATH, "", "the file is no text, but of a binary format that is not known", _EXPORT)
    return None
