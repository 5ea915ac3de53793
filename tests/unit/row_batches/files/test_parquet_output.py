"""The output as Parquet: types, parts, and what an earlier ending left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from foundation.functions import function_sizes
from row_batches.files import parquet_output, result_table
from row_batches.files.parquet_output import ParquetOutput
from row_batches.files.result_table import ResultTable
from row_batches.files.writer import Progress
from row_batches.mapping.cells import JsonCell
from tests.support.batches import KEYS, make_plan, stage_typed, write_output
from tests.support.fakes import FakeObjectStore

COLUMNS = [
    {"name": "label", "source": "$[0]"},
    {"name": "number", "source": "$[1]", "type": "number"},
    {"name": "day", "source": "$[2]", "type": "date"},
    {"name": "good", "source": "$[3]", "type": "boolean"},
    {"name": "all", "source": "$[0:2]", "type": "json_string"},
]
MAPPING = {"columns": COLUMNS, "add_metadata": ["_row_id", "_timestamp"]}
HEADER = ("id", "n", "d", "b")


class Output:
    """The Parquet of some rows, written at once or in steps."""

    def __init__(self, tmp_path: Path, rows: list[list[str]], *, typed: bool = False, **document: Any) -> None:
        self.tmp_path = tmp_path
        self.store = FakeObjectStore(smallest_part=0)
        plan = make_plan(rows, HEADER[: len(rows[0])] if rows else HEADER, store=self.store, **document)
        self.plan = stage_typed(plan, rows, self.store) if typed else plan
        write_output(self.plan, self.store, rows)
        self.table = ResultTable(self.store, self.plan, KEYS.output, {})

    def write(self) -> Progress:
        *_, progress = ParquetOutput().write(self.table, Progress(place=self.table.start))
        return progress

    def query(self, what: str) -> list[tuple[Any, ...]]:
        for key in self.keys:
            (self.tmp_path / key.rpartition("/")[2]).write_bytes(self.store.objects[key])
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(what.replace("$parts", f"'{self.tmp_path}/*.parquet'")).fetchall()

    @property
    def keys(self) -> list[str]:
        return sorted(key for key in self.store.objects if key.startswith(f"{KEYS.results}output/"))

    @property
    def types(self) -> dict[str, str]:
        return {name: kind for name, kind, *_ in self.query("DESCRIBE SELECT * FROM $parts")}


def test_columns_have_the_types_of_the_document_and_texts_of_a_csv_stay_texts(tmp_path: Path) -> None:
    rows = [["007", "12.50", "2026-01-31", "true"], ["a", "no number", "", "false"]]
    output = Output(tmp_path, rows, output_mapping=MAPPING)

    progress = output.write()

    assert progress.done
    assert progress.warnings == []
    assert output.types == {
        **dict.fromkeys([*HEADER, "label", "all"], "VARCHAR"),
        "number": "DOUBLE",
        "day": "DATE",
        "good": "BOOLEAN",
        "_row_id": "BIGINT",
        "_timestamp": "TIMESTAMP WITH TIME ZONE",
    }
    found = output.query('SELECT id, n, label, number, day::VARCHAR, good, "all", _row_id FROM $parts')
    assert found == [
        ("007", "12.50", "007", 12.5, "2026-01-31", True, '["007","12.50"]', 1),
        ("a", "no number", "a", None, None, False, '["a","no number"]', 2),
    ]


def test_columns_of_a_typed_file_keep_their_types_where_all_values_have_one(tmp_path: Path) -> None:
    def row(*json: str) -> list[str]:
        return [JsonCell(text) for text in json]

    rows = [row("1", "1.5", "true", "1"), row("9007199254740993", "2", "null", '{"a":1}')]
    output = Output(tmp_path, rows, typed=True, output_mapping={"add_metadata": False})

    output.write()

    assert [output.types[name] for name in HEADER] == ["BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR"]
    assert output.query("SELECT id, n, d, b FROM $parts") == [
        (1, 1.5, True, "1"),
        (9007199254740993, 2.0, None, '{"a":1}'),
    ]


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "2.5"], "DOUBLE", [1.0, 2.5]),
        (["1", ""], "DOUBLE", [1.0, None]),
        (["9007199254740993", "1"], "BIGINT", [9007199254740993, 1]),
        (["9007199254740993", "1.5"], "VARCHAR", ["9007199254740993", "1.5"]),
        (["12345678901234567890123", "1"], "VARCHAR", ["12345678901234567890123", "1"]),
        (["0.12345678901234567890123", "1"], "VARCHAR", ["0.12345678901234567890123", "1"]),
    ],
)
def test_a_number_is_a_double_unless_that_would_round_it(
    tmp_path: Path, texts: list[str], kind: str, values: list[Any]
) -> None:
    mapping = {"columns": [{"name": "number", "source": "$[1]", "type": "number"}]}
    output = Output(tmp_path, [["x", text] for text in texts], output_mapping=mapping)

    progress = output.write()

    assert output.types["number"] == kind
    assert [value for (value,) in output.query("SELECT number FROM $parts")] == values
    assert bool(progress.warnings) == (kind == "VARCHAR")


def test_a_default_of_another_type_makes_the_column_a_text_and_the_warning_names_it(tmp_path: Path) -> None:
    mapping = {"columns": [{"name": "number", "source": "$[9]", "type": "number", "default": "n/a"}]}
    output = Output(tmp_path, [["1", "2"]], output_mapping=mapping)

    (warning,) = output.write().warnings

    assert "number are texts" in warning
    assert output.query("SELECT number FROM $parts") == [("n/a",)]


def test_parts_are_numbered_and_visible_only_when_all_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_output, "PART_BYTES", 1_500)
    monkeypatch.setattr(parquet_output, "BLOCKS_A_STEP", 1)
    monkeypatch.setattr(result_table, "BLOCK_BYTES", 500)
    output = Output(tmp_path, [[str(row), f"text\n{row}"] for row in range(60)], output_mapping=MAPPING)
    progress = Progress(place=output.table.start)
    steps = 0

    while not progress.done:  # every step is another call, which knows only what the checkpoint holds
        assert output.keys == []
        progress = Progress.model_validate_json(progress.model_dump_json())
        progress = next(ParquetOutput().write(output.table, progress))
        steps += 1

    assert steps > 6
    assert [key.rpartition("/")[2] for key in output.keys[:2]] == ["part-00001.parquet", "part-00002.parquet"]
    assert output.query("SELECT count(*), count(DISTINCT id) FROM $parts") == [(60, 60)]
    ids = output.query("SELECT id FROM $parts ORDER BY _row_id")
    assert ids == [(str(row),) for row in range(60)]


def test_an_output_without_rows_has_its_columns(tmp_path: Path) -> None:
    output = Output(tmp_path, [], output_mapping=MAPPING)

    output.write()

    assert output.query("SELECT count(*) FROM $parts") == [(0,)]
    assert output.types["_row_id"] == "BIGINT"


def test_parts_of_an_earlier_ending_do_not_stay_beside_fewer_new_ones(tmp_path: Path) -> None:
    output = Output(tmp_path, [["1", "a"]], output_mapping=MAPPING)
    for number in (1, 2, 3):
        output.store.put(f"{KEYS.results}output/part-{number:05d}.parquet", b"of the finishing machine")

    output.write()

    assert len(output.keys) == 3
    assert output.query("SELECT id FROM $parts") == [("1",)]


def test_names_with_quotes_are_names(tmp_path: Path) -> None:
    columns = [{"name": '"; DROP', "source": "$[0]"}, {"name": "it's", "source": "$[1]"}]
    output = Output(tmp_path, [["1", "2"]], output_mapping={"columns": columns, "include_original": False})

    output.write()

    assert list(output.types)[:2] == ['"; DROP', "it's"]


def test_a_row_that_needs_too_much_memory_leaves_the_format_out_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(tmp_path, [["1", "x" * 100_000]] * 60, output_mapping=MAPPING)
    sizes = function_sizes("row_batches")
    small = sizes["aggregate_results"].model_copy(update={"duckdb_memory_mb": 5})
    monkeypatch.setattr(parquet_output, "function_sizes", lambda _: {"aggregate_results": small})

    progress = output.write()

    assert progress.done
    assert "more memory than 5 MB" in progress.left_out
    assert output.keys == []


def test_names_that_differ_only_in_case_are_refused() -> None:
    problem = ParquetOutput().problem(5, ["Name", "id", "name"])

    assert problem is not None
    assert problem.value == 'columns "Name", "name"'
    assert ParquetOutput().problem(5, ["name", "id"]) is None
