"""The typed rows of a finished output, read back from its text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.files import result_table
from row_batches.files.csv_writer import render_row
from row_batches.files.result_table import ResultTable, read_rows, row_blocks
from row_batches.mapping.cells import CellKind, JsonCell, read_cell, typed
from tests.support.batches import KEYS, make_plan, stage_typed, write_output
from tests.support.fakes import FakeObjectStore

CELLS = st.text(st.sampled_from('ab",\n\r é😀'), max_size=12)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=30), st.integers(1, 60), st.integers(1, 40))
def test_text_is_cut_only_between_rows(rows: list[list[str]], block_bytes: int, chunk_bytes: int) -> None:
    text = "".join(map(render_row, rows)).encode()
    chunks = [text[at : at + chunk_bytes] for at in range(0, len(text), chunk_bytes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_table, "BLOCK_BYTES", block_bytes)
        blocks = list(row_blocks(chunks))

    assert b"".join(blocks) == text
    assert [row for block in blocks for row in read_rows(block.decode())] == rows


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        (CellKind.NUMBER, "5", 5),
        (CellKind.NUMBER, "-5.25", -5.25),
        (CellKind.NUMBER, "1e+22", 1e22),
        (CellKind.NUMBER, "007", 7),
        (CellKind.NUMBER, "+1.5", 1.5),
        (CellKind.NUMBER, "", None),
        (CellKind.NUMBER, "n/a", "n/a"),
        (CellKind.NUMBER, "nan", "nan"),
        (CellKind.BOOLEAN, "true", True),
        (CellKind.BOOLEAN, "unknown", "unknown"),
        (CellKind.DATE, "2026-01-31", "2026-01-31"),
        (CellKind.TEXT, "007", "007"),
        (CellKind.TEXT, "true", "true"),
        (CellKind.JSON, "null", None),
        (CellKind.JSON, '"text"', "text"),
        (CellKind.JSON, "[broken", "[broken"),
        (CellKind.JSON, "007", "007"),
    ],
)
def test_a_cell_is_read_by_the_kind_of_its_column_and_stays_a_text_if_it_is_not_of_it(
    kind: CellKind, cell: str, value: Any
) -> None:
    read = read_cell(kind, cell)

    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        (CellKind.NUMBER, "12.50"),
        (CellKind.NUMBER, "12345678901234567890"),
        (CellKind.NUMBER, "0.12345678901234567890123"),
        (CellKind.JSON, '{"a":[1,null]}'),
    ],
)
def test_what_no_number_of_python_holds_exactly_keeps_its_text(kind: CellKind, cell: str) -> None:
    read = read_cell(kind, cell)

    assert isinstance(read, JsonCell)
    assert read.json == cell


def test_original_cells_have_the_types_of_the_input_and_texts_stay_texts() -> None:
    store = FakeObjectStore()
    cells = [["007", JsonCell("7")], ["true", JsonCell("true")], ["", JsonCell("null")], ["x", JsonCell('{"a":1}')]]
    plan = stage_typed(make_plan(cells, store=store), cells, store)
    write_output(plan, store)
    table = ResultTable(store, plan, KEYS.output, {})

    ((rows, after),) = [(block.rows, block.after) for block in table.blocks(table.start)]

    assert [row[:2] for row in rows] == [["007", 7], ["true", True], ["", None], ["x", JsonCell('{"a":1}')]]
    assert typed(cells[3][1]) == JsonCell('{"a":1}')
    assert after.row == 5
    assert not list(table.blocks(after))


def test_reading_goes_on_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_table, "BLOCK_BYTES", 100)
    store = FakeObjectStore()
    cells = [[f"text\n{number}", JsonCell(str(number))] for number in range(40)]
    plan = stage_typed(make_plan(cells, store=store, output_format={"bom": True}), cells, store)
    write_output(plan, store)
    table = ResultTable(store, plan, KEYS.output, {})
    place, rows = table.start, []

    while block := next(table.blocks(place), None):
        rows += block.rows
        place = block.after

    assert [row[:2] for row in rows] == [[f"text\n{number}", number] for number in range(40)]
