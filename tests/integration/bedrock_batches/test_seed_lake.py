"""Loading a CSV of violations into a lake on DuckDB."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from batch_processor_client.lake import RAW_COLUMNS, Loaded, seed
from bedrock_batches.select.duckdb_ import Lake
from foundation.errors import InvalidInputError
from tests.support.content import update
from tests.support.lake import VIOLATIONS, example_records, file_lake, rows_of

ROW = {
    "violation_id": "OSHA-1",
    "agency": "osha",
    "company_name": "Acme",
    "fine_amount": "10.50",
    "violation_type": "Serious",
    "raw_title": "Title",
    "raw_description": "Text",
    "violation_details": '{"fatalities": 0}',
    "city": "Toledo",
    "state": "OH",
    "event_date": "2026-01-31",
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return file_lake(tmp_path / "lake.duckdb")


def write(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, RAW_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def problems(lake: Lake, path: Path) -> list[str]:
    with pytest.raises(InvalidInputError) as refused:
        seed(lake, path)
    assert not any(rows_of(lake).values()), "nothing is loaded"
    return [str(problem) for problem in refused.value.problems]


def test_the_made_up_violations_are_loaded_as_they_are(lake: Lake) -> None:
    loaded = seed(lake, VIOLATIONS)
    records = example_records()
    assert {agency: one.inserted for agency, one in loaded.items()} == Counter(row["agency"] for row in records)
    stored = [row[: len(RAW_COLUMNS)] for rows in rows_of(lake).values() for row in rows]
    assert sorted(stored) == sorted(tuple(row[name] for name in RAW_COLUMNS) for row in records)


def test_loading_again_leaves_what_is_there_and_adds_what_is_new(lake: Lake, tmp_path: Path) -> None:
    seed(lake, write(tmp_path / "first.csv", ROW))
    lake.merge("osha", [update("OSHA-1")])
    changed = {**ROW, "company_name": "Other"}
    loaded = seed(lake, write(tmp_path / "second.csv", changed, {**ROW, "violation_id": "OSHA-2"}))
    assert loaded["osha"] == Loaded(inserted=1, existing=1)
    first = rows_of(lake)["osha"][0]
    assert (first[2], first[11]) == ("Acme", "Title of OSHA-1")


def test_empty_cells_are_unknown_and_agencies_match_whatever_their_case(lake: Lake, tmp_path: Path) -> None:
    empty = dict.fromkeys(ROW, "") | {"violation_id": "OSHA-1", "agency": " OSHA"}
    seed(lake, write(tmp_path / "file.csv", empty))
    assert rows_of(lake)["osha"] == [("OSHA-1", "osha", *[None] * 15)]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("agency", "doj", "no such agency"),
        ("violation_id", "", "cannot be a key"),
        ("violation_id", "a\tb", "cannot be a key"),
        ("violation_id", "x" * 201, "cannot be a key"),
        ("fine_amount", "$10", "not an amount"),
        ("fine_amount", "-1", "not an amount"),
        ("fine_amount", "1.234", "not an amount"),
        ("fine_amount", "NaN", "not an amount"),
        ("fine_amount", "1e20", "not an amount"),
        ("fine_amount", "1_000", "not an amount"),
        ("event_date", "31.01.2026", "not a day"),
        ("event_date", "2026-02-30", "not a day"),
        ("violation_details", "{", "not JSON"),
        ("violation_details", "NaN", "not JSON"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(lake: Lake, tmp_path: Path, column: str, value: str, told: str) -> None:
    good = {**ROW, "violation_id": "OSHA-0"}
    (problem,) = problems(lake, write(tmp_path / "file.csv", good, {**ROW, column: value}))
    assert problem.startswith(f"file.csv line 3, {column}: ")
    assert told in problem


def test_every_wrong_row_is_named(lake: Lake, tmp_path: Path) -> None:
    told = problems(lake, write(tmp_path / "file.csv", {**ROW, "agency": "x"}, ROW, ROW, {**ROW, "violation_id": ""}))
    assert [problem.split(":")[0] for problem in told] == [
        "file.csv line 2, agency",
        "file.csv line 3, violation_id",
        "file.csv line 4, violation_id",
        "file.csv line 5, violation_id",
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "lacks 'violation_id'"),
        (b"violation_id,agency,what\n", "has unknown 'what'"),
        (",".join([*RAW_COLUMNS, "city"]).encode(), "repeats 'city'"),
        (",".join(RAW_COLUMNS).encode() + b"\nOSHA-1,osha\n", "2 cells for 11 columns"),
        (",".join(RAW_COLUMNS).encode() + b"\n\xff", "is not UTF-8"),
        (",".join(RAW_COLUMNS).encode() + b'\n"a"b', "is not a CSV"),
    ],
)
def test_a_file_that_is_no_such_csv_is_refused(lake: Lake, tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    assert told in problems(lake, path)[0]


def test_an_id_that_another_agency_has_in_the_lake_is_refused(lake: Lake, tmp_path: Path) -> None:
    seed(lake, write(tmp_path / "first.csv", ROW))
    with pytest.raises(InvalidInputError, match="osha has it in the lake"):
        seed(lake, write(tmp_path / "second.csv", {**ROW, "agency": "epa"}))


def test_the_example_is_what_its_script_writes(tmp_path: Path) -> None:
    script = VIOLATIONS.with_name("generate.py")
    subprocess.run([sys.executable, str(script), str(tmp_path / "violations.csv")], check=True)
    assert (tmp_path / "violations.csv").read_bytes() == VIOLATIONS.read_bytes()


@pytest.mark.parametrize(
    ("written", "stored"), [("１２３.５０", "123.50"), ("1e3", "1000.00"), ("٤٢", "42.00"), ("0.5", "0.50")]
)
def test_a_fine_is_read_whatever_digits_it_is_written_in(lake: Lake, tmp_path: Path, written: str, stored: str) -> None:
    seed(lake, write(tmp_path / "v.csv", {**ROW, "fine_amount": written}))
    (row,) = rows_of(lake)["osha"]
    assert str(row[RAW_COLUMNS.index("fine_amount")]) == stored


@pytest.mark.parametrize("written", ["NaN", "-1", "1.005", "1,234", "12 USD", "1e17", "Infinity"])
def test_a_fine_that_cannot_be_read_is_refused_never_dropped(lake: Lake, tmp_path: Path, written: str) -> None:
    (problem,) = problems(lake, write(tmp_path / "v.csv", {**ROW, "fine_amount": written}))
    assert "is not an amount" in problem
