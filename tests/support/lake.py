"""The lake on DuckDB alone, and what a selection should give, in plain Python."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from bedrock_batches.lake.duckdb_ import Attach, LakeLocation
from bedrock_batches.lake.sql import rows_statement
from bedrock_batches.select.duckdb_ import Lake
from bedrock_batches.select.selection import Criteria
from bedrock_batches.violations import COLUMNS

REPOSITORY = Path(__file__).resolve().parents[2]
VIOLATIONS = REPOSITORY / "examples" / "violations" / "violations.csv"
AGENCIES = ("osha", "msha", "nhtsa", "faa", "uscg", "fra", "epa")
BUCKET_ARN = "arn:aws:s3tables:us-east-1:000000000000:bucket/lake"

Record = dict[str, Any]


@dataclass
class Slept:
    """A clock that only notes how long it should have slept."""

    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def lake_with(attach: Attach, agencies: Sequence[str] = AGENCIES, slept: Slept | None = None) -> Lake:
    location = LakeLocation(BUCKET_ARN, "silver", tuple(agencies), "http://unused", "http://unused")
    return Lake(location, attach, sleep=slept or Slept())


def file_lake(path: Path, agencies: Sequence[str] = AGENCIES, slept: Slept | None = None) -> Lake:
    """A lake in a DuckDB file; tables are there, empty."""

    def attach(connection: DuckDBPyConnection) -> None:
        connection.execute(f"ATTACH '{path}' AS lake")
        connection.execute("CREATE SCHEMA IF NOT EXISTS lake.silver")

    lake = lake_with(attach, agencies, slept)
    with lake.connected() as connection:
        create_tables(connection, agencies)
    return lake


def memory_lake(records: Iterable[Record], agencies: Sequence[str] = AGENCIES) -> Lake:
    """A lake that holds these records whenever it is opened."""
    kept = list(records)

    def attach(connection: DuckDBPyConnection) -> None:
        connection.execute("ATTACH ':memory:' AS lake")
        connection.execute("CREATE SCHEMA lake.silver")
        create_tables(connection, agencies)
        insert(connection, kept)

    return lake_with(attach, agencies)


def create_tables(connection: DuckDBPyConnection, agencies: Sequence[str]) -> None:
    columns = ", ".join(f"{column.name} {column.type}" for column in COLUMNS)
    for agency in agencies:
        connection.execute(f"CREATE TABLE IF NOT EXISTS lake.silver.{agency} ({columns})")


def insert(connection: DuckDBPyConnection, records: Iterable[Record]) -> None:
    by_agency: dict[str, list[Record]] = {}
    for record in records:
        by_agency.setdefault(record["agency"], []).append(record)
    for agency, found in by_agency.items():
        columns = [(column.name, column.type) for column in COLUMNS]
        rows = rows_statement(columns, ({name: texts(record.get(name)) for name, _ in columns} for record in found))
        connection.execute(f"INSERT INTO lake.silver.{agency} {rows.sql}", rows.parameters)


def texts(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


def rows_of(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, times as microseconds since the epoch."""
    columns = ", ".join(f"epoch_us({column.name})" if "TIME" in column.type else column.name for column in COLUMNS)
    with lake.connected() as connection:
        return {
            agency: connection.execute(f"SELECT {columns} FROM lake.silver.{agency} ORDER BY violation_id").fetchall()
            for agency in lake.agencies
        }


def example_records() -> list[Record]:
    """The records of examples/violations, typed; empty cells are None."""
    with VIOLATIONS.open(encoding="utf-8", newline="") as file:
        return [
            {
                **{name: text or None for name, text in row.items()},
                "fine_amount": Decimal(row["fine_amount"]) if row["fine_amount"] else None,
                "event_date": date.fromisoformat(row["event_date"]) if row["event_date"] else None,
            }
            for row in csv.DictReader(file)
        ]


def has_fatality(record: Record) -> bool:
    try:
        details = json.loads(record["violation_details"] or "")
    except ValueError:
        return False
    deaths = details.get("fatalities") if isinstance(details, dict) else None
    return isinstance(deaths, bool | int | float) and deaths > 0


def days_old(record: Record, today: date) -> int | None:
    return None if record["event_date"] is None else (today - record["event_date"]).days


def tier_of(record: Record, today: date) -> str:
    """The tiers in words: high, medium, else low."""
    fine, age = record["fine_amount"], days_old(record, today)
    if has_fatality(record) or (fine is not None and fine > 100_000) or (age is not None and age < 30):
        return "high"
    serious = (record["violation_type"] or "").lower() == "serious"
    if serious or (fine is not None and 50_000 <= fine <= 100_000) or (age is not None and 30 <= age <= 90):
        return "medium"
    return "low"


def matches(record: Record, criteria: Criteria) -> bool:
    given, today = criteria.filters.get, criteria.today
    fine, kind, day, age = (
        record["fine_amount"],
        (record["violation_type"] or "").lower(),
        record["event_date"],
        days_old(record, today),
    )
    low, high, start, end = (
        given("minFineAmount"),
        given("maxFineAmount"),
        given("dateRange.start"),
        given("dateRange.end"),
    )
    youngest, oldest, fatal = given("minDaysOld"), given("maxDaysOld"), given("hasFatalities")
    agencies, types, excluded = (lower(given(name)) for name in ("agencies", "violationTypes", "excludeTypes"))
    states = lower(given("states"))
    tests = [
        record.get("bedrock_title") is None,
        not agencies or record["agency"].lower() in agencies,
        low is None or (fine is not None and fine >= low),
        high is None or (fine is not None and fine <= high),
        start is None or (day is not None and day >= start),
        end is None or (day is not None and day <= end),
        not types or (bool(kind) and kind in types),
        not excluded or not kind or kind not in excluded,
        not states or (record.get("state") or "").lower() in states,
        fatal is None or has_fatality(record) == fatal,
        youngest is None or (age is not None and age >= youngest),
        oldest is None or (age is not None and age <= oldest),
        criteria.priority in ("all", tier_of(record, today)),
    ]
    return all(tests)


def lower(names: Iterable[str] | None) -> set[str]:
    return {name.lower() for name in names or ()}


def expected_ids(records: Iterable[Record], criteria: Criteria, in_flight: Iterable[str] = ()) -> list[str]:
    """What a selection should give, in its order."""
    records = list(records)
    busy = set(in_flight)
    ids = [record["violation_id"] for record in records]
    available = [
        record
        for record in records
        if matches(record, criteria) and record["violation_id"] not in busy and ids.count(record["violation_id"]) == 1
    ]
    available.sort(
        key=lambda record: (
            ("high", "medium", "low").index(tier_of(record, criteria.today)),
            -record["fine_amount"] if record["fine_amount"] is not None else math.inf,
            -record["event_date"].toordinal() if record["event_date"] is not None else math.inf,
            record["violation_id"],
        )
    )
    share = math.ceil(Decimal(str(criteria.max_percent)) * len(available) / 100)
    return [record["violation_id"] for record in available[: min(criteria.max_violations, share)]]
