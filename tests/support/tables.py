"""One table in each format that is read, and each compression: ``WRITERS`` and ``PACKERS``, by the names of both."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.sax.saxutils import escape

import duckdb
import xlsxwriter

Rows = Sequence[Sequence[Any]]
"""The header and the rows."""

_OFFICE = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
_TABLE = 'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
_MANIFEST = 'xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"'
_TEXT = 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'


def as_csv(table: Rows) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue().encode()


def as_jsonl(table: Rows) -> bytes:
    header, *rows = table
    lines = [json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def as_json(table: Rows) -> bytes:
    header, *rows = table
    return json.dumps([dict(zip(header, row, strict=True)) for row in rows]).encode()


def as_xlsx(table: Rows) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"strings_to_formulas": False}) as workbook:
        sheet = workbook.add_worksheet()
        for number, row in enumerate(table):
            for column, value in enumerate(row):
                if isinstance(value, str):
                    sheet.write_string(number, column, value)
                else:
                    sheet.write(number, column, value)
    return buffer.getvalue()


def as_ods(table: Rows) -> bytes:
    rows = "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in table)
    return ods_of(f'<table:table table:name="Sheet1">{rows}</table:table>')


def ods_of(tables: str) -> bytes:
    """An OpenDocument spreadsheet with this XML of its tables."""
    buffer = io.BytesIO()
    body = f"<office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", compress_type=zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", f"<manifest:manifest {_MANIFEST}/>")
        archive.writestr(
            "content.xml",
            f"<office:document-content {_OFFICE} {_TABLE} {_TEXT}>{body}</office:document-content>",
        )
    return buffer.getvalue()


def _ods_cell(value: Any) -> str:
    if value is None:
        return "<table:table-cell/>"
    if isinstance(value, bool):
        return f'<table:table-cell office:value-type="boolean" office:boolean-value="{str(value).lower()}"/>'
    if isinstance(value, int | float):
        return f'<table:table-cell office:value-type="float" office:value="{value}"/>'
    # A paragraph for each line, as LibreOffice writes it.
    lines = "".join(f"<text:p>{escape(line)}</text:p>" for line in value.split("\n"))
    return f'<table:table-cell office:value-type="string">{lines}</table:table-cell>'


def as_parquet(table: Rows) -> bytes:
    header, *rows = table
    kinds = {str: "VARCHAR", bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE"}
    types = [
        next((kinds[type(value)] for value in column if value is not None), "VARCHAR")
        for column in zip(*rows, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in zip(header, types, strict=True))
        connection.execute(f"CREATE TABLE made ({columns})")
        if rows:
            connection.executemany(f"INSERT INTO made VALUES ({', '.join('?' * len(header))})", list(rows))
        path = Path(folder) / "made.parquet"
        connection.execute(f"COPY made TO '{path}'")
        return path.read_bytes()


WRITERS: Mapping[str, Callable[[Rows], bytes]] = MappingProxyType(
    {
        "csv": as_csv,
        "jsonl": as_jsonl,
        "json": as_json,
        "xlsx": as_xlsx,
        "ods": as_ods,
        "parquet": as_parquet,
    }
)
zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
PACKERS: Mapping[str, Callable[[bytes], bytes]] = MappingProxyType({"gzip": gzip.compress, "zstd": zstd.compress})
