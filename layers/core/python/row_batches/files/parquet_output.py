"""The output as Parquet: a folder of numbered parts, which DuckDB writes. Each column has one type in all parts.

A first pass looks at the values of columns that can have types. Then each part is written from its rows as JSON. A part
is a multipart upload that is completed when all parts are there, so a reader never sees half of an output.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import orjson

from foundation.errors import Problem
from foundation.functions import function_sizes
from foundation.problems import listed, shown
from row_batches.files.jsonl_output import json_line
from row_batches.files.result_file import ResultFile
from row_batches.files.result_table import Column, Place, ResultTable
from row_batches.files.writer import Progress, Writer
from row_batches.mapping.cells import CellKind, JsonCell

PART_BYTES = 32 * 1024 * 1024
"""The rows of a part as JSON. DuckDB holds them in memory."""
BLOCKS_A_STEP = 32
LARGEST_WHOLE = 2**63 - 1
TEXT = "VARCHAR"
TYPES_OF_KIND = {CellKind.WHOLE: "BIGINT", CellKind.TIMESTAMP: "TIMESTAMPTZ", CellKind.TEXT: TEXT, CellKind.JSON: TEXT}
"""Kinds whose columns have this type, whatever their values."""
TYPES_OF_VALUES: tuple[tuple[CellKind | None, set[str], str], ...] = (
    (CellKind.NUMBER, {"whole", "number"}, "DOUBLE"),
    (CellKind.NUMBER, {"whole", "wide"}, "BIGINT"),
    (CellKind.BOOLEAN, {"boolean"}, "BOOLEAN"),
    (CellKind.DATE, {"date"}, "DATE"),
    (None, set(), TEXT),
    (None, {"whole", "wide"}, "BIGINT"),
    (None, {"whole", "number"}, "DOUBLE"),
    (None, {"boolean"}, "BOOLEAN"),
)
"""The type of a column of this kind if it has only such values; the first that fits. Other columns are texts."""


def part_name(number: int) -> str:
    """The name of a part (from 1), in the folder of the results."""
    return f"{ParquetOutput.file}part-{number:05d}.parquet"


class ParquetOutput(Writer):
    """``output/part-00001.parquet`` and so on."""

    name: ClassVar = "parquet"
    doc: ClassVar = "`output/`: numbered parts such as `part-00001.parquet`, with typed columns"
    file: ClassVar = "output/"

    @property
    def first_object(self) -> str:
        return part_name(1)

    def problem(self, rows: int, columns: Sequence[str]) -> Problem | None:  # noqa: ARG002 (any number of rows fits)
        seen: dict[str, str] = {}
        for name in columns:
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                return Problem(
                    "output_format.type",
                    f"columns {shown(other)}, {shown(name)}",
                    "the names differ only in case, which most readers of Parquet do not distinguish",
                    "rename one of them, or choose csv, jsonl or xlsx",
                )
        return None

    def write(self, table: ResultTable, progress: Progress) -> Iterator[Progress]:
        for scanned in _scan(table, progress):
            progress = scanned
            yield progress
        types = [_type(column, found) for column, found in zip(table.columns, progress.found, strict=True)]
        parts = _Parts(table, types)
        for written in parts.write(progress):
            progress = written
            yield progress
        if progress.left_out:
            return
        files = [ResultFile(table.objects, state) for state in progress.files]
        for file in files:
            file.complete()
        done = {"files": [], "proofs": [file.proof for file in files], "warnings": _warnings(table.columns, types)}
        yield progress.model_copy(update={"done": True, **done})


def _scan(table: ResultTable, progress: Progress) -> Iterator[Progress]:
    """The first pass, which collects what values each column has. Ends with ``place`` at the start again."""
    if progress.scanned:
        return
    found = [set(values) for values in progress.found] or [set[str]() for _ in table.columns]
    open_columns = [
        (at, column)
        for at, column in enumerate(table.columns)
        if column.kind not in TYPES_OF_KIND and (column.kind is not None or table.is_typed)
    ]
    place = progress.place

    def scanned(place: Place, *, end: bool = False) -> Progress:
        return progress.model_copy(update={"found": [sorted(of) for of in found], "place": place, "scanned": end})

    for number, block in enumerate(table.blocks(place) if open_columns else (), 1):
        for at, column in open_columns:
            found[at] |= _values(column.kind, [row[at] for row in block.rows])
        place = block.after
        if number % BLOCKS_A_STEP == 0:
            yield scanned(place)
    yield scanned(table.start, end=True)


def _values(kind: CellKind | None, values: Sequence[Any]) -> set[str]:
    """The kinds of the values: whole, wide (a whole number that a double rounds), number, boolean, date or text."""
    by_type = {bool: "boolean", int: "whole", float: "number"}
    kinds = set(map(type, values)) - {type(None)}
    found = {by_type[of] for of in kinds if of in by_type}
    if JsonCell in kinds:
        found |= {_number(value.json) for value in values if type(value) is JsonCell}
    if str in kinds:
        found |= {"date" if kind is CellKind.DATE and _is_date(v) else "text" for v in values if type(v) is str}
    return found


def _number(json: str) -> str:
    if json.startswith(("{", "[")):
        return "text"
    if json.lstrip("-").isdigit():
        return "wide" if abs(int(json)) <= LARGEST_WHOLE else "text"
    return "number" if Decimal(repr(float(json))) == Decimal(json) else "text"


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _type(column: Column, found: Collection[str]) -> str:
    if column.kind in TYPES_OF_KIND:
        return TYPES_OF_KIND[column.kind]
    fitting = (name for kind, values, name in TYPES_OF_VALUES if kind is column.kind and values.issuperset(found))
    return next(fitting, TEXT)


def _warnings(columns: Sequence[Column], types: Sequence[str]) -> list[str]:
    texts = [
        column.name
        for column, name in zip(columns, types, strict=True)
        if name == TEXT and column.kind not in (None, *TYPES_OF_KIND)
    ]
    if not texts:
        return []
    return [
        f"In Parquet, {listed(texts)} are texts, because a default or a value is not of the column's type, or is a "
        "number with more digits than Parquet holds."
    ]


class _Parts:
    """Writes the rows as parts."""

    def __init__(self, table: ResultTable, types: Sequence[str]) -> None:
        self._table = table
        self._keys = [f"c{number}" for number in range(1, len(types) + 1)]
        self._texts = [at for at, name in enumerate(types) if name == TEXT]
        self._columns = [
            (key, column.name, name) for key, column, name in zip(self._keys, table.columns, types, strict=True)
        ]

    def write(self, progress: Progress) -> Iterator[Progress]:
        """Continue with the next part. The first one is written even without rows, because it has the columns."""
        lines: list[bytes] = []
        place = progress.place
        size = 0
        for block in self._table.blocks(place):
            lines += map(self._line, block.rows)
            size += sum(map(len, lines[-len(block.rows) :]))
            place = block.after
            if size >= PART_BYTES:
                progress = self._add(progress, lines, place)
                yield progress
                if progress.left_out:
                    return
                lines, size = [], 0
        # Parts of an earlier ending, when the execution was redriven since, are replaced by parts without rows.
        while lines or len(progress.files) < max(1, self._parts_there):
            progress = self._add(progress, lines, place)
            lines = []
            yield progress
            if progress.left_out:
                return

    def _line(self, row: list[Any]) -> bytes:
        for at in self._texts:
            value = row[at]
            if type(value) is not str and value is not None:
                row[at] = value.json if isinstance(value, JsonCell) else orjson.dumps(value).decode()
        return json_line(dict(zip(self._keys, row, strict=True)))

    @property
    def _parts_there(self) -> int:
        """How many parts the folder has."""
        return sum(1 for _ in self._table.objects.list_objects(self._table.folder + ParquetOutput.file))

    def _add(self, progress: Progress, lines: list[bytes], place: Place) -> Progress:
        from row_batches.files import duckdb_  # noqa: PLC0415 (only Parquet needs DuckDB)

        memory_mb = function_sizes("row_batches")["aggregate_results"].duckdb_memory_mb
        number = len(progress.files) + 1
        from tempfile import TemporaryDirectory  # noqa: PLC0415 (few runs write Parquet)

        with TemporaryDirectory() as name:
            folder = Path(name)
            source, target = folder / "part.jsonl", folder / "part.parquet"
            with source.open("wb") as file:
                file.writelines(lines)
            try:
                with duckdb_.connected(folder, memory_mb) as connection:
                    longest = max(map(len, lines), default=0)
                    duckdb_.write_parquet(connection, source, self._columns, longest, target)
            except duckdb_.OutOfMemory:
                left_out = f"{ParquetOutput.file} is not written: a row takes more memory than {memory_mb} MB."
                return progress.model_copy(update={"done": True, "files": [], "left_out": left_out})
            part = ResultFile.start(
                self._table.objects,
                self._table.folder + part_name(number),
                self._table.tags,
            )
            part.append(target.read_bytes())
        part.start_parts()  # the files become visible together, after the last one
        part.upload_last_part()
        return progress.model_copy(update={"place": place, "files": [*progress.files, part.state]})
