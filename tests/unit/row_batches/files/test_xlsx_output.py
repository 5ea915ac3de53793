"""The output as an Excel workbook, read back by another program's reader."""

from __future__ import annotations

import datetime
import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from foundation.functions import function_sizes
from row_batches.files import xlsx_book, xlsx_output
from row_batches.files.result_table import ResultTable, read_rows
from row_batches.files.writer import Progress
from row_batches.files.xlsx_book import Book
from row_batches.files.xlsx_output import MAX_CELLS, XlsxOutput
from row_batches.mapping.cells import JsonCell
from tests.support.batches import KEYS, STARTED_AT, make_plan, stage_typed, write_output
from tests.support.fakes import FakeObjectStore

COLUMNS = [
    {"name": "label", "source": "$[1]"},
    {"name": "score", "source": "$[2]", "type": "number"},
    {"name": "day", "source": "$[3]", "type": "date"},
    {"name": "good", "source": "$[4]", "type": "boolean"},
    {"name": "all", "source": "$[0:2]", "type": "json_string"},
]
HEADER = ("id", "text", "number", "date", "flag")


def workbook_of(store: FakeObjectStore) -> CalamineWorkbook:
    return CalamineWorkbook.from_filelike(io.BytesIO(store.objects[f"{KEYS.results}output.xlsx"]))


def sheet(store: FakeObjectStore, name: str = "Output") -> list[list[Any]]:
    return workbook_of(store).get_sheet_by_name(name).to_python()


def written(
    rows: list[list[str]], *, typed: bool = False, store: FakeObjectStore | None = None, **document: Any
) -> tuple[FakeObjectStore, Progress]:
    store = store or FakeObjectStore(smallest_part=0)
    document = {"output_mapping": {"columns": COLUMNS, "add_metadata": False}, **document}
    plan = make_plan(rows, HEADER[: len(rows[0])], store=store, **document)
    if typed:
        plan = stage_typed(plan, rows, store)
    write_output(plan, store, rows)
    store.put(KEYS.failed_rows, b'id,_error_message\n007,"Boom: it, broke"\n')
    table = ResultTable(store, plan, KEYS.output, {}, KEYS.failed_rows, lambda: {"status": "X", "warnings": ["w"]})
    *_, progress = XlsxOutput().write(table, Progress(place=table.start))
    return store, progress


def test_texts_of_a_csv_stay_texts_and_mapped_columns_are_typed() -> None:
    store, progress = written([["007", "=1+1", "12.50", "2026-01-31", "true"]])

    header, row = sheet(store)

    assert header == [*HEADER, *(column["name"] for column in COLUMNS)]
    assert row[:5] == ["007", "=1+1", "12.50", "2026-01-31", "true"]
    assert row[5:] == ["=1+1", 12.5, datetime.date(2026, 1, 31), True, '["007","=1+1"]']
    assert progress.done
    assert not progress.warnings


def test_cells_of_a_typed_file_keep_their_types() -> None:
    cells = [["a", JsonCell("1.5"), JsonCell("true"), JsonCell("null"), JsonCell('{"a":1}')]]
    store, _ = written(cells, typed=True, output_mapping={"add_metadata": False})

    assert sheet(store)[1][:5] == ["a", 1.5, True, "", '{"a":1}']


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("123456789012345", 123456789012345.0),
        ("1234567890123456", "1234567890123456"),
        ("-12345678901234567890", "-12345678901234567890"),
        ("0.30000000000000004", 0.30000000000000004),
        ("1e+22", 1e22),
        ("not a number", ""),
    ],
)
def test_whole_numbers_that_excel_would_round_are_texts(text: str, shown: Any) -> None:
    store, _ = written([["1", "", text, "", ""]])

    assert sheet(store)[1][6] == shown


@pytest.mark.parametrize("day", ["1899-12-31", "1900-02-28"])
def test_a_date_that_excel_counts_differently_is_a_text(day: str) -> None:
    store, _ = written([["1", "", "", day, ""]])

    assert sheet(store)[1][7] == day


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            st.text(st.sampled_from("_x0041<r>&/ \r\n\t\x07\ufffe😀")),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("book") / "x.xlsx"

    with Book(path, STARTED_AT) as book:
        book.add("Output", ["text"], [[text] for text in texts])

    xml = zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml").decode()
    assert [unescaped(found) for found in re.findall(r'<t xml:space="preserve">(.*?)</t>', xml, re.DOTALL)][1:] == texts


def unescaped(xml: str) -> str:
    text = xml.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return re.sub("_x([0-9A-F]{4})_", lambda found: chr(int(found[1], 16)), text)


def test_a_text_is_cut_where_excel_ends_and_the_warning_names_the_column() -> None:
    store, progress = written([["1", "é" * 32_768, "", "", ""], ["2", "😀" * 16_384, "", "", ""]])

    (_, first, second) = sheet(store)

    assert first[1] == "é" * 32_767
    assert second[1] == "😀" * 16_383
    (warning,) = progress.warnings
    assert "32,767 characters" in warning
    assert "text 2 (sheet Output)" in warning
    assert ["warnings", warning] in sheet(store, "Summary")


def test_failures_and_summary_have_sheets_and_headers_are_frozen_with_a_filter() -> None:
    store, _ = written([["007", "a", "1", "", ""]])

    assert workbook_of(store).sheet_names == ["Output", "Failures", "Summary"]
    assert sheet(store, "Failures") == [["id", "_error_message"], ["007", "Boom: it, broke"]]
    assert sheet(store, "Summary") == [["name", "value"], ["status", "X"], ["warnings", "w"]]
    with zipfile.ZipFile(io.BytesIO(store.objects[f"{KEYS.results}output.xlsx"])) as archive:
        xml = archive.read("xl/worksheets/sheet1.xml").decode()
    assert '<pane ySplit="1" topLeftCell="A2"' in xml
    assert '<autoFilter ref="A1:J2"/>' in xml
    assert re.search('<col [^>]*max="10"', xml)


def test_more_rows_than_a_sheet_holds_go_on_in_a_second_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_book, "MAX_ROWS", 4)
    monkeypatch.setattr(xlsx_book, "SAMPLED_ROWS", 2)
    store, _ = written([[str(row), "", "", "", ""] for row in range(7)])

    assert workbook_of(store).sheet_names[:3] == ["Output", "Output 2", "Output 3"]
    rows = [row[0] for name in ("Output", "Output 2", "Output 3") for row in sheet(store, name)[1:]]
    assert rows == [str(row) for row in range(7)]


def test_the_same_rows_give_the_same_bytes() -> None:
    rows = [["1", "a", "2", "2026-01-31", "true"]]
    (first, _), (second, _) = written(rows), written(rows)

    assert first.objects == second.objects


def test_texts_that_do_not_fit_leave_the_workbook_out_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_output, "MAX_TEXT_BYTES", 50)
    store, progress = written([["1", "a" * 50, "", "", ""]])

    assert f"{KEYS.results}output.xlsx" not in store.objects
    assert "output.csv has more than 50 bytes" in progress.left_out


def test_more_cells_than_one_call_writes_are_refused_with_the_figure() -> None:
    problem = XlsxOutput().problem(4_000_000, ["a"] * 6)

    assert problem is not None
    assert problem.path == "output_format.type"
    assert problem.value == "4,000,000 rows x 6 columns"
    assert "20,000,000 cells; this one has 24,000,000" in problem.message
    assert XlsxOutput().problem(2_000_000, ["a"] * 10) is None


def test_the_largest_workbook_fits_into_a_call_of_the_aggregator_with_a_minute_to_spare() -> None:
    call = function_sizes("row_batches")["aggregate_results"].timeout_seconds

    assert XlsxOutput().step_seconds(MAX_CELLS // 10, 10) <= call - 60


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed: no soffice on the PATH")
def test_libreoffice_opens_it_and_saves_the_same_csv(tmp_path: Path) -> None:
    rows = [
        ["007", "=HYPERLINK(1)", "12.5", "2026-01-31", "true"],
        ["00", "+49 30 1234", "-5.25", "1999-12-31", "false"],
        ["12345678901234567890", 'a "quoted", text', "0.125", "2024-02-29", "true"],
        ["1E5", "two\nlines 😀 _x0041_ <r>b</r>", "1000000", "", ""],
        [" spaces ", "@me", "", "2100-06-01", "false"],
    ]
    store, _ = written(rows)
    path = tmp_path / "output.xlsx"
    path.write_bytes(store.objects[f"{KEYS.results}output.xlsx"])
    # Comma, quotes, UTF-8, cells as they are shown (https://wiki.documentfoundation.org/Documentation/DevGuide/Spreadsheet_Documents).
    convert = ["--convert-to", "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,1"]
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    subprocess.run(
        ["soffice", profile, "--headless", *convert, "--outdir", str(tmp_path), str(path)],
        check=True,
        capture_output=True,
        timeout=300,
    )

    (found,) = tmp_path.glob("*.csv")
    shown = read_rows(found.read_text(encoding="utf-8"))
    expected = read_rows(store.objects[KEYS.output].decode())
    # LibreOffice writes booleans in capitals.
    assert [[{"TRUE": "true", "FALSE": "false"}.get(cell, cell) for cell in row] for row in shown] == expected
