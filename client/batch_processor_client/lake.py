"""The lake of Bedrock batches: create its missing tables and load violations from a CSV.

The header has the eleven columns of a raw violation, in any order; the columns for generated content stay empty. If a
record's violation_id is in the lake already, the existing record stays unchanged, so the same file can be loaded again.
If any row is invalid, nothing is loaded. An id is unique over all agencies, because it is the key of generated content.
"""

# ruff: noqa: S608 (identifiers are checked, values are bound)

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from bedrock_batches.lake.sql import identifier, rows_statement
from bedrock_batches.select.duckdb_ import Lake, aws_lake
from bedrock_batches.violations import COLUMNS, MOST_ID_CHARACTERS
from foundation.errors import InvalidInputError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_RAW = [(column.name, column.type) for column in COLUMNS if not column.generated]
RAW_COLUMNS = tuple(name for name, _ in _RAW)
CHUNK_ROWS = 10_000
LARGEST_FINE = Decimal(10) ** 16
"""The first amount that is too large for DECIMAL(18, 2)."""
MOST_PROBLEMS = 1_000
MOST_CELL_CHARACTERS = 10_000_000

Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Loaded:
    """One agency's numbers of new records in the lake, and of records that it had before."""

    inserted: int
    existing: int


class RowReader:
    """Reads and checks a CSV, and collects ``problems``."""

    def __init__(self, path: Path, agencies: Sequence[str]) -> None:
        self._path = path
        self._agencies = {agency.lower(): agency for agency in agencies}
        self.problems: list[Problem] = []

    def rows(self) -> Iterator[Row]:
        """The valid rows, in the order of RAW_COLUMNS. The agency is as configured; empty cells are None.

        Raises InvalidInputError if the whole file cannot be read.
        """
        csv.field_size_limit(MOST_CELL_CHARACTERS)
        lines_by_id: dict[str, int] = {}
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                header = next(reader, [])
                self._check_header(header)
                for cells in reader:
                    if not cells:
                        continue
                    found = len(self.problems)
                    row = self._row(header, cells, reader.line_num)
                    violation_id = row[0] or ""
                    first = lines_by_id.setdefault(violation_id, reader.line_num)
                    if violation_id and first != reader.line_num:
                        told = f"line {first} has it too"
                        self._add(reader.line_num, "violation_id", violation_id, told, "one row an id")
                    if len(self.problems) == found:
                        yield row
                    elif found >= MOST_PROBLEMS:
                        return
        except UnicodeDecodeError as error:
            raise _refused(
                self._path, f"is not UTF-8 ({error.reason} at byte {error.start})", "save it as UTF-8"
            ) from error
        except csv.Error as error:
            raise _refused(
                self._path, f"is not a CSV: line {reader.line_num}: {error}", "correct the quoting"
            ) from error
        except OSError as error:
            raise ClientError(f"{self._path} cannot be read: {error.strerror}.") from error

    def _check_header(self, header: Sequence[str]) -> None:
        missing = [name for name in RAW_COLUMNS if name not in header]
        unknown = [name for name in header if name not in RAW_COLUMNS]
        repeated = sorted({name for name in header if header.count(name) > 1})
        faults = {"lacks": missing, "has unknown": unknown, "repeats": repeated}
        told = "; ".join(f"{fault} {', '.join(map(repr, names))}" for fault, names in faults.items() if names)
        if told:
            raise _refused(self._path, f"has a header that {told}", f"use the columns {', '.join(RAW_COLUMNS)}")

    def _row(self, header: Sequence[str], cells: Sequence[str], line: int) -> Row:
        if len(cells) != len(header):
            self._add(line, "", "", f"{len(cells)} cells for {len(header)} columns", "quote cells that hold a comma")
            return ("",)
        cell = dict(zip(header, cells, strict=True))
        values: dict[str, str | None] = {name: text or None for name, text in cell.items()}
        violation_id = cell["violation_id"]
        if not 0 < len(violation_id) <= MOST_ID_CHARACTERS or not violation_id.isprintable():
            fix = f"1 to {MOST_ID_CHARACTERS} printable characters"
            self._add(line, "violation_id", violation_id, "cannot be a key", fix)
        values["agency"] = self._agencies.get(cell["agency"].strip().lower())
        if values["agency"] is None:
            fix = f"one of {', '.join(self._agencies.values())}"
            self._add(line, "agency", cell["agency"], "the lake has no such agency", fix)
        values["fine_amount"] = _fine(cell["fine_amount"])
        if cell["fine_amount"] and values["fine_amount"] is None:
            fix = "an amount like 1234.50, or nothing"
            self._add(line, "fine_amount", cell["fine_amount"], "is not an amount", fix)
        if cell["event_date"] and not _is_date(cell["event_date"]):
            self._add(line, "event_date", cell["event_date"], "is not a day", "YYYY-MM-DD, or nothing")
        if cell["violation_details"] and not _is_json(cell["violation_details"]):
            self._add(line, "violation_details", cell["violation_details"], "is not JSON", "JSON, or nothing")
        return tuple(values[name] for name in RAW_COLUMNS)

    def _add(self, line: int, column: str, value: str, message: str, fix: str) -> None:
        path = f"{self._path.name} line {line}" + (f", {column}" if column else "")
        self.problems.append(Problem(path, repr(value[:80]) if value else "", message, fix))


def _refused(path: Path, message: str, fix: str) -> InvalidInputError:
    return InvalidInputError([Problem(path.name, "", message, fix)])


def _fine(text: str) -> str | None:
    """The amount as DuckDB reads it, in any script's digits; None if the text is not an amount."""
    if "_" in text:  # Decimal reads 1_000 as a thousand.
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount < LARGEST_FINE or amount != amount.quantize(Decimal("0.01")):
        return None
    return format(amount, "f")


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def seed(lake: Lake, path: Path) -> dict[str, Loaded]:
    """Load the file. Raises InvalidInputError and the errors of ``Lake``; then no record of the file is in the lake."""
    reader = RowReader(path, lake.agencies)
    with lake.connected() as connection:
        columns = ", ".join(f"{name} {kind}" for name, kind in _RAW)
        connection.execute(f"CREATE TEMP TABLE seed ({columns})")
        for chunk in _chunks(reader.rows(), CHUNK_ROWS):
            _insert(connection, chunk)
        if reader.problems:
            raise InvalidInputError(reader.problems)
        for agency in lake.agencies:
            lake.make_table(connection, agency)
        _check_ids(connection, lake)
        # One transaction an agency: S3 Tables commits one table at a time.
        return {agency: _load(connection, lake, agency) for agency in lake.agencies}


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _insert(connection: DuckDBPyConnection, rows: Sequence[Row]) -> None:
    chunk = rows_statement(_RAW, (dict(zip(RAW_COLUMNS, row, strict=True)) for row in rows))
    connection.execute(f"INSERT INTO seed {chunk.sql}", chunk.parameters)


def _check_ids(connection: DuckDBPyConnection, lake: Lake) -> None:
    """Raise InvalidInputError for ids that the lake has for another agency."""
    for agency in lake.agencies:
        table = f"{lake.location.schema}.{identifier(agency)}"
        taken = connection.execute(
            f"SELECT violation_id, agency FROM seed WHERE agency <> $agency "
            f"AND violation_id IN (SELECT violation_id FROM {table}) ORDER BY violation_id",
            {"agency": agency},
        ).fetchall()
        if taken:
            raise InvalidInputError(
                Problem(
                    f"violation_id of {of}", repr(violation_id), f"{agency} has it in the lake", "one id a violation"
                )
                for violation_id, of in taken
            )


def _load(connection: DuckDBPyConnection, lake: Lake, agency: str) -> Loaded:
    table = f"{lake.location.schema}.{identifier(agency)}"
    names = ", ".join(RAW_COLUMNS)
    rows = _count(connection, "SELECT count(*) FROM seed WHERE agency = $agency", agency)
    before = f"SELECT violation_id FROM {table}"
    new = f"FROM seed WHERE agency = $agency AND violation_id NOT IN ({before} WHERE violation_id IS NOT NULL)"
    inserted = _count(connection, f"SELECT count(*) {new}", agency)
    if inserted:
        connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} {new}", {"agency": agency})
    return Loaded(inserted, rows - inserted)


def _count(connection: DuckDBPyConnection, sql: str, agency: str) -> int:
    row = connection.execute(sql, {"agency": agency}).fetchone()
    assert row is not None
    return int(row[0])


def lake_of(deployment: Deployment) -> Lake:
    """The lake of a deployment, with the caller's own credentials, or for the local AWS with its root's.

    Raises ClientError if the deployment has no Bedrock batches.
    """
    return aws_lake(
        deployment.bedrock(deployment.lake_table_bucket_arn),
        deployment.bedrock(deployment.lake_namespace),
        deployment.bedrock(deployment.lake_agencies),
        session=deployment.session(),
        endpoint_url=deployment.endpoint_url,
    )
