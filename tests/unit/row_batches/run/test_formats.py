"""The output in several formats, made from the same rows."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import orjson
import pytest
from python_calamine import CalamineWorkbook

from row_batches.files import result_file, result_table, xlsx_output
from row_batches.files.writer import Writer
from row_batches.files.writers import WRITERS
from row_batches.mapping.cells import JsonCell
from tests.support.batches import KEYS, stage_typed
from tests.support.fakes import FakeDeadline
from tests.unit.row_batches.run.test_aggregate_results import Aggregator, rows_of

COLUMNS = [
    {"name": "first", "source": "$[0]"},
    {"name": "number", "source": "$[1]", "type": "number"},
    {"name": "all", "source": "$", "type": "json_string"},
]


def json_lines(aggregator: Aggregator) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in aggregator.store.objects[f"{KEYS.results}output.jsonl"].splitlines()]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_every_writer_is_described_and_has_a_file_of_its_own(writer: Writer) -> None:
    assert writer.doc.startswith(f"`{writer.file}")
    assert [other.file for other in WRITERS].count(writer.file) == 1


def test_several_formats_have_the_same_rows_and_their_addresses_are_reported() -> None:
    aggregator = Aggregator(rows_of(5), output_format={"type": ["csv", "jsonl"]})
    aggregator.write(1, 5, failed=[3])

    document = aggregator.call().document or {}

    assert document["outputs"] == {
        "csv": f"s3://results/{KEYS.output}",
        "jsonl": f"s3://results/{KEYS.results}output.jsonl",
    }
    assert aggregator.summary["outputs"] == document["outputs"]
    lines = json_lines(aggregator)
    assert [[line["id"], line["text"]] for line in lines] == aggregator.rows
    assert [line["_row_id"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["_error_message"] for line in lines] == [None, None, "Boom: it broke", None, None]
    assert [list(line) for line in lines] == [aggregator.plan.output_header] * 5


def test_texts_of_a_csv_stay_texts_and_mapped_columns_have_their_types() -> None:
    rows = [["007", "12.50"], ["=1+1", "12345678901234567890"], ["true", "no number"]]
    aggregator = Aggregator(rows, output_format={"type": "jsonl"}, output_mapping={"columns": COLUMNS})
    aggregator.write(1, 3)

    aggregator.call()

    text = aggregator.store.objects[f"{KEYS.results}output.jsonl"].decode().splitlines()
    assert '"id":"007","text":"12.50","first":"007","number":12.5' in text[0]
    assert '"first":"=1+1","number":12345678901234567890,"all":["=1+1","12345678901234567890"]' in text[1]
    assert '"id":"true","text":"no number","first":"true","number":null' in text[2]


def test_original_cells_of_a_typed_file_keep_their_types() -> None:
    cells: list[list[str]] = [
        ["a", JsonCell("1")],
        [JsonCell("null"), JsonCell("2.50")],
        ["c", JsonCell('{"x":[true]}')],
    ]
    aggregator = Aggregator(cells, output_format={"type": "jsonl"})
    aggregator.plan = stage_typed(aggregator.plan, cells, aggregator.store)
    aggregator.write(1, 3)

    aggregator.call()

    assert [[line["id"], line["text"]] for line in json_lines(aggregator)] == [
        ["a", 1],
        [None, 2.5],
        ["c", {"x": [True]}],
    ]


def test_a_call_without_time_leaves_the_rest_of_a_format_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_file, "PART_BYTES", 300)
    monkeypatch.setattr(result_table, "BLOCK_BYTES", 300)
    aggregator = Aggregator(rows_of(20), output_format={"type": "jsonl"})
    aggregator.write(1, 20)
    calls = 0

    done = False
    while not done:
        aggregator.deadline = FakeDeadline(900, 900, 900, 900, 100)
        done = aggregator.call().done
        calls += 1

    assert calls >= 3
    assert [line["_row_id"] for line in json_lines(aggregator)] == list(range(1, 21))


def test_a_byte_order_mark_begins_the_two_csv_files_only_if_it_is_asked_for() -> None:
    aggregator = Aggregator(rows_of(2), output_format={"bom": True, "type": ["jsonl"]})
    aggregator.write(1, 2, failed=[1])

    aggregator.call()

    for key in (KEYS.output, KEYS.failed_rows):
        assert aggregator.store.objects[key].startswith(b"\xef\xbb\xbfid,text,")
    assert [line["id"] for line in json_lines(aggregator)] == ["0001", "0002"]


def test_a_workbook_has_the_output_the_failures_and_the_summary_of_the_run() -> None:
    aggregator = Aggregator(rows_of(5), output_format={"type": ["xlsx", "csv"], "bom": True})
    aggregator.write(1, 5, failed=[3])

    document = aggregator.call().document or {}

    assert document["outputs"]["xlsx"] == f"s3://results/{KEYS.results}output.xlsx"
    workbook = CalamineWorkbook.from_filelike(BytesIO(aggregator.store.objects[f"{KEYS.results}output.xlsx"]))
    output, failures, summary = (workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names)
    assert [row[:2] for row in output] == [["id", "text"], *aggregator.rows]
    assert [row[0] for row in failures] == ["id", "0003"]
    assert ["succeeded", 4.0] in summary
    assert aggregator.store.tags[f"{KEYS.results}output.xlsx"]["execution_id"] == "run-1"


def test_a_workbook_waits_for_a_call_with_enough_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_output, "CELLS_PER_SECOND", 0.1)  # 54 cells take 540 s
    aggregator = Aggregator(rows_of(6), output_format={"type": "xlsx"})
    aggregator.write(1, 6)
    aggregator.deadline = FakeDeadline(400)

    assert not aggregator.call().done

    aggregator.deadline = FakeDeadline(890)
    assert aggregator.call().done


def test_a_workbook_that_even_a_new_call_has_no_time_for_is_left_out_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(xlsx_output, "CELLS_PER_SECOND", 0.1)  # 54 cells take 540 s
    aggregator = Aggregator(rows_of(6), output_format={"type": ["xlsx", "jsonl"]})
    aggregator.write(1, 6)
    aggregator.deadline = FakeDeadline(400)

    assert not aggregator.call().done
    response = aggregator.call()

    assert response.done
    assert set(aggregator.summary["outputs"]) == {"csv", "jsonl"}
    (warning,) = aggregator.summary["warnings"]
    assert warning.startswith("output.xlsx is not written, because it can take 540 seconds in one call")


def test_a_workbook_after_other_steps_of_a_new_call_waits_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_output, "CELLS_PER_SECOND", 0.1)  # 54 cells take 540 s
    aggregator = Aggregator(rows_of(6), output_format={"type": ["jsonl", "xlsx"]})
    aggregator.write(1, 6)
    aggregator.deadline = FakeDeadline(900, 900, 100)
    assert not aggregator.call().done
    aggregator.deadline = FakeDeadline(900, 400)

    assert not aggregator.call().done
    assert f"{KEYS.results}output.jsonl" in aggregator.store.objects

    aggregator.deadline = FakeDeadline(900)
    assert aggregator.call().done
    assert set(aggregator.summary["outputs"]) == {"csv", "jsonl", "xlsx"}


def test_marks_against_formulas_are_in_the_csv_only() -> None:
    rows = [["=own", "=1+1"], ["2", "-5.00"], ["3", "'quoted"]]
    document = {"output_mapping": {"columns": [{"name": "answer", "source": "$[1]"}]}}
    formats = {"type": ["xlsx", "jsonl"], "formulas": "neutralise"}
    aggregator = Aggregator(rows, output_format=formats, **document)
    aggregator.write(1, 3)

    aggregator.call()

    assert [row["answer"] for row in aggregator.output] == ["'=1+1", "-5.00", "'quoted"]
    assert [row["id"] for row in aggregator.output] == ["=own", "2", "3"]
    assert [line["answer"] for line in json_lines(aggregator)] == ["=1+1", "-5.00", "'quoted"]
    workbook = CalamineWorkbook.from_filelike(BytesIO(aggregator.store.objects[f"{KEYS.results}output.xlsx"]))
    assert [row[2] for row in workbook.get_sheet_by_name("Output").to_python()[1:]] == ["=1+1", "-5.00", "'quoted"]


def test_parquet_has_the_address_of_its_folder() -> None:
    aggregator = Aggregator(rows_of(3), output_format={"type": "parquet"})
    aggregator.write(1, 3)

    document = aggregator.call().document or {}

    assert document["outputs"]["parquet"] == f"s3://results/{KEYS.results}output/"
    assert f"{KEYS.results}output/part-00001.parquet" in aggregator.store.objects
