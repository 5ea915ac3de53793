"""Parquet files as tables, in bounded memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from foundation.errors import InvalidInputError
from foundation.functions import function_sizes
from row_batches.document.input_format import InputFormat
from row_batches.files import parquet_reader
from row_batches.files.opening import open_input
from row_batches.files.parquet_reader import MAX_PARQUET_BYTES, stage_parquet
from row_batches.files.staged_copy import read_staged
from row_batches.files.table import InputFile, InputStaging
from row_batches.mapping.cells import value_of
from tests.support.staging import staged_alone


def parquet(folder: Path, select: str, options: str = "") -> bytes:
    """The result of a query as a Parquet file."""
    path = folder / "made.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet{options})")
    return path.read_bytes()


def opened(data: bytes, **options: Any) -> tuple[InputStaging, list[list[str]]]:
    staging = open_input(InputFile(lambda: [data], InputFormat(**options), size=len(data)))
    return staging, [cells for _, cells in read_staged(list(staging))]


def refusal(data: bytes, **options: Any) -> str:
    with pytest.raises(InvalidInputError) as error:
        opened(data, **options)
    return str(error.value)


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of files are in a folder of the test, which ends empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize(
    ("value", "text", "typed"),
    [
        ("1::BIGINT", "1", 1),
        ("18446744073709551615::UBIGINT", "18446744073709551615", 18446744073709551615),
        ("true", "true", True),
        ("1.10::DECIMAL(10,2)", "1.10", 1.1),
        ("-0.5::DECIMAL(3,3)", "-0.500", -0.5),
        ("123456789012345678901234567890.12::DECIMAL(38,2)", "123456789012345678901234567890.12", None),
        ("0.1::FLOAT", "0.1", 0.1),
        ("1e22::DOUBLE", "1e+22", 1e22),
        ("-0.0::DOUBLE", "-0.0", -0.0),
        ("'nan'::DOUBLE", "nan", "nan"),
        ("'-inf'::FLOAT", "-inf", "-inf"),
        ("'a \"b\" \\ c' || chr(13) || chr(10) || 'é'", 'a "b" \\ c\r\né', 'a "b" \\ c\r\né'),
        ("''", "", ""),
        ("'\\jnull'", "\\jnull", "\\jnull"),
        ("NULL::VARCHAR", "", None),
        ("NULL::INTEGER", "", None),
        ("DATE '2026-11-27'", "2026-11-27", "2026-11-27"),
        ("TIMESTAMP '2026-11-27 09:30:00'", "2026-11-27T09:30:00", "2026-11-27T09:30:00"),
        ("TIMESTAMP_NS '2026-11-27 09:30:00.123456789'", "2026-11-27T09:30:00.123456789", None),
        ("TIMESTAMPTZ '2026-11-27 09:30:00+02'", "2026-11-27T07:30:00+00:00", "2026-11-27T07:30:00+00:00"),
        ("TIME '09:30:00.5'", "09:30:00.5", "09:30:00.5"),
        ("'4955dc2f-5859-4cfd-a30a-c7765811f160'::UUID", "4955dc2f-5859-4cfd-a30a-c7765811f160", None),
        ("encode('bytes é')", "bytes é", "bytes é"),
        ("['a', 'b \"']", '["a","b \\""]', ["a", 'b "']),
        ("[1, NULL]", "[1,null]", [1, None]),
        ("'{\"a\": 1.10}'::JSON", '{"a": 1.10}', '{"a": 1.10}'),
    ],
)
def test_values_keep_their_types_and_every_digit(value: str, text: str, typed: Any, tmp_path: Path) -> None:
    _, [[cell, other]] = opened(parquet(tmp_path, f"SELECT {value} AS a, 'x' AS b"))

    assert (str(cell), other) == (text, "x")
    if typed is not None or not text:
        assert value_of(cell) == typed
        assert type(value_of(cell)) is type(typed)


def test_row_groups_are_read_in_their_order_and_from_any_row_on(tmp_path: Path) -> None:
    data = parquet(tmp_path, "SELECT i, 'text ' || i AS t FROM range(20000) r(i)", ", ROW_GROUP_SIZE 2048")
    rows = [[str(i), f"text {i}"] for i in range(20_000)]

    assert opened(data)[1] == rows
    for first in (1, 2_049, 10_000, 20_000, 20_001):
        later = stage_parquet(InputFile(lambda: [data]))
        later.resume({"read": first - 1, "rows": first - 1, "size": 0})
        assert [cells for _, cells in read_staged([b"\n", *later])] == rows[first - 1 :]


def test_names_that_sql_takes_for_others_are_read_as_they_are(tmp_path: Path) -> None:
    data = parquet(tmp_path, 'SELECT 1 AS "a""b", 2 AS file_row_number, 3 AS "select", 4 AS "{c}", 5 AS "A b"')

    staging, rows = opened(data)

    assert staging.header == ['a"b', "file_row_number", "select", "{c}", "A b"]
    assert rows == [["1", "2", "3", "4", "5"]]


def test_a_file_without_rows_has_its_header(tmp_path: Path) -> None:
    staging, rows = opened(parquet(tmp_path, "SELECT 1 AS a, 'x' AS b LIMIT 0"))

    assert (staging.columns, rows) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{'x': 1, 'y': {'z': 2}}", 'nested or unknown values (got "deep" ("STRUCT(x INTEGER'),
        ("[{'x': 1}]", '"deep" ("STRUCT(x INTEGER)[]")'),
        ("MAP {'k': 1}", '"deep" ("MAP(VARCHAR, INTEGER)")'),
        ("[[1]]", '"deep" ("INTEGER[][]")'),
        ("[1.5::DOUBLE]", '"deep" ("DOUBLE[]")'),
        ("'\\xff'::BLOB", "a text that is not UTF-8 (got columns of bytes: deep)"),
        ("repeat('x', 250000)", "a row is longer than 199,000 bytes as JSON (got row 1)"),
        ("repeat('x', 30000000)", "a row is longer than 199,000 bytes as JSON (got row 1)"),
        ("'a' || chr(0)", "a cell contains a NUL character (got row 1)"),
    ],
)
def test_what_cannot_be_a_cell_is_refused_by_name(value: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(parquet(tmp_path, f"SELECT 1 AS id, {value} AS deep"))


def test_columns_that_are_refused_are_named_together(tmp_path: Path) -> None:
    said = refusal(parquet(tmp_path, "SELECT {'x': 1} AS one, 2 AS good, MAP {'k': 1} AS other"))

    assert '"one"' in said
    assert '"other"' in said
    assert '"good"' not in said


@pytest.mark.parametrize("damage", ["cut off", "overwritten", "no end"])
def test_a_damaged_file_is_named_so_without_its_place_on_the_machine(damage: str, tmp_path: Path) -> None:
    data = parquet(tmp_path, "SELECT i, md5(i::VARCHAR) AS t FROM range(5000) r(i)", ", COMPRESSION zstd")
    broken = {"cut off": data[:-500], "overwritten": data[:40] + b"x" * 400 + data[440:], "no end": data[:4] + bytes(9)}

    said = refusal(broken[damage])

    assert "the Parquet file is damaged" in said
    assert str(tmp_path) not in said


def test_a_file_too_large_for_the_function_is_refused_before_it_is_read() -> None:
    def never() -> list[bytes]:
        raise AssertionError("The file is read.")

    with pytest.raises(InvalidInputError, match="over 4,000,000,000 bytes, the most that is read"):
        stage_parquet(InputFile(never, size=MAX_PARQUET_BYTES + 1))


def test_a_file_that_unpacks_to_more_than_fits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_reader, "MAX_PARQUET_BYTES", 100)

    with pytest.raises(InvalidInputError, match="the Parquet file is over 100 bytes"):
        stage_parquet(InputFile(lambda: [parquet(tmp_path, "SELECT 1 AS a")]))


def test_the_largest_file_fits_beside_the_index_of_duplicates() -> None:
    size = function_sizes("row_batches")["validate_input"]

    assert size.temporary_mb * 2**20 * 0.95 > MAX_PARQUET_BYTES + 120_000_000
    assert 2 * size.duckdb_memory_mb + 200 <= size.memory_mb


def test_the_copy_is_removed_when_the_rows_are_read_and_when_nobody_reads_them(tmp_path: Path) -> None:
    data = parquet(tmp_path, "SELECT 1 AS a, {'x': 1} AS b")
    good = parquet(tmp_path, "SELECT 1 AS a")

    refusal(data)
    opened(good)
    unread = stage_parquet(InputFile(lambda: [good]))
    assert len(list(tmp_path.glob("parquet-*"))) == 1
    del unread

    assert list(tmp_path.glob("parquet-*")) == []


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("SELECT repeat('x', 500000000) AS t", "does not fit into 384 MB"),
        ("SELECT repeat('x', 2000000) || i AS t FROM range(300) r(i)", "does not fit into 384 MB"),
        ("SELECT i, repeat(md5(i::VARCHAR), 600) AS t FROM range(20000) r(i)", ""),
    ],
    ids=["a text of 500 MB", "rows of 2 MB", "400 MB of long texts"],
)
def test_memory_is_bounded_whatever_the_file_unpacks_to(select: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "large.parquet"
    path.write_bytes(parquet(tmp_path, select, ", COMPRESSION zstd"))

    staged = staged_alone(path)

    assert said in staged.refusal
    assert bool(said) == bool(staged.refusal)
    assert staged.peak_mb < 900  # The function has 1,024 MB, and the SDK takes some of it.
