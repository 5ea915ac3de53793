"""Excel workbooks as tables, within bounds that are checked before they are read."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.files import workbook_parts
from row_batches.files.opening import open_input
from row_batches.files.staged_copy import read_staged
from row_batches.files.table import InputFile, InputStaging
from row_batches.mapping.cells import value_of
from tests.support.staging import staged_alone
from tests.support.tables import ods_of

ROWS: list[list[Any]] = [
    ["id", "name", "price", "sold", "paid"],
    [1, "Ada", 1.5, datetime.date(2026, 11, 27), True],
    [2, "007", -3, datetime.datetime(2026, 11, 27, 9, 30), False],  # noqa: DTZ001  # Excel knows no zones
]


def book(*sheets: Sequence[Sequence[Any]]) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as made:
        date = made.add_format({"num_format": "yyyy-mm-dd"})
        time = made.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        for rows in sheets:
            sheet = made.add_worksheet()
            for r, row in enumerate(rows):
                for c, value in enumerate(row):
                    if isinstance(value, datetime.datetime):
                        sheet.write_datetime(r, c, value, time)
                    elif isinstance(value, datetime.date):
                        sheet.write_datetime(r, c, datetime.datetime.combine(value, datetime.time()), date)
                    elif value is not None:
                        sheet.write(r, c, value)
    return buffer.getvalue()


def opened(data: bytes, **options: Any) -> tuple[InputStaging, list[list[str]]]:
    staging = open_input(InputFile(lambda: [data], InputFormat(**options)))
    return staging, [cells for _, cells in read_staged(list(staging))]


def refusal(data: bytes, **options: Any) -> str:
    with pytest.raises(InvalidInputError) as error:
        opened(data, **options)
    return str(error.value)


def test_a_sheet_is_read_with_the_types_of_its_values() -> None:
    staging, rows = opened(book(ROWS))

    assert staging.columns == ROWS[0]
    assert [list(map(str, row)) for row in rows] == [
        ["1", "Ada", "1.5", "2026-11-27", "true"],
        ["2", "007", "-3", "2026-11-27T09:30:00", "false"],
    ]
    assert [value_of(cell) for cell in rows[1]] == [2, "007", -3, "2026-11-27T09:30:00", False]


def test_the_first_sheet_is_read_and_the_others_are_named() -> None:
    data = book(ROWS, [["other"], ["x"]])

    staging, _ = opened(data)

    assert any("Sheet2" in warning for warning in staging.warnings)
    assert opened(data, sheet="Sheet2")[1] == [["x"]]
    assert "did you mean Sheet2" in refusal(data, sheet="Sheet 2")


def test_rows_without_content_keep_their_numbers() -> None:
    _, rows = opened(book([["a", "b"], [1, 2], [None, None], [None, None], [3, 4]]))

    assert rows == [["1", "2"], ["", ""], ["", ""], ["3", "4"]]


def test_a_title_is_named_and_skipped_on_request() -> None:
    data = book([["Sales 2026"], [], ["id", "name"], [1, "Ada"]])

    assert opened(data, skip_lines=1)[1] == [["1", "Ada"]]
    assert "row 1 has 1 cell, row 3 has 2" in refusal(data)
    assert "set input_format.skip_lines to 1" in refusal(data)


def test_a_title_of_several_lines_is_named_and_skipped_on_request() -> None:
    data = book([["Sales 2026"], ["exported in March"], [], ["id", "name"], [1, "Ada"]])

    assert "set input_format.skip_lines to 2;" in refusal(data)
    assert opened(data, skip_lines=2)[1] == [["1", "Ada"]]


def test_a_note_beside_one_of_many_cells_is_no_table() -> None:
    data = book([["question"], ["a"], ["b"], ["c", "note"], ["d"], ["e"]])

    assert [row[0] for row in opened(data)[1]] == ["a", "b", "c", "d", "e"]


def test_many_rows_of_one_cell_are_no_titles() -> None:
    data = book([["note"], *[[f"line {number}"] for number in range(30)], ["stray", "cell"]])

    assert len(opened(data)[1]) == 31


def test_columns_without_a_name_are_addressed_by_their_place() -> None:
    assert opened(book([["a", None, "a"], [1, 2, 3]]))[0].columns == ["a", "column_2", "a_2"]


@pytest.mark.parametrize("number", [2**53, -(2**53), 1_234_567_890_123_460, 10**15])
def test_large_whole_numbers_have_no_fraction(number: int) -> None:
    ((cell,),) = opened(book([["a"], [number]]))[1]

    assert str(cell) == str(number)


def test_a_sheet_without_content_is_refused() -> None:
    assert "the sheet is empty" in refusal(book([]))
    assert "name another one in input_format.sheet: it has Sheet2; or" in refusal(book([], [["a"], [1]]))


def test_a_few_cells_far_apart_are_refused_before_the_sheet_is_read() -> None:
    rows: list[list[Any]] = [[None] for _ in range(1_048_576)]
    data = io.BytesIO()
    with xlsxwriter.Workbook(data) as made:
        sheet = made.add_worksheet()
        sheet.write(0, 0, "a")
        sheet.write(len(rows) - 1, 1_000, "b")

    assert "1,048,576 rows x 1,001 columns" in refusal(data.getvalue())


def test_16384_columns_are_refused() -> None:
    assert "16,384 columns" in refusal(book([[f"c{i}" for i in range(16_384)]]))


def test_what_unpacks_to_more_than_fits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook_parts, "MAX_UNPACKED_BYTES", 1_000_000)
    data = book(ROWS)
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings2.xml", b"x" * 2_000_000)

    assert "sharedStrings2.xml: over 1,000,000 bytes unpacked" in refusal(buffer.getvalue())


def test_a_damaged_workbook_is_named_so() -> None:
    assert "the workbook is damaged" in refusal(book(ROWS)[:-200])


def test_a_workbook_whose_parts_are_missing_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "x")
        archive.writestr("xl/other.xml", "x")

    assert "the workbook cannot be read" in refusal(buffer.getvalue())


MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_BOOK = f'<Relationship Id="rId1" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/>'
HEADER = '<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row>'


def written_by_hand(rows: str, *, part: str = "worksheets/sheet1.xml", sheet: str = "S", more: str = "") -> bytes:
    """A workbook with this XML in its sheet, and ``more`` in its table of texts."""
    buffer = io.BytesIO()
    sheets = f'<sheet name="{sheet}" sheetId="1" r:id="rId1"/>' if sheet else ""
    links = "http://schemas.openxmlformats.org/package/2006/relationships"
    prefix = "x:" if "<x:" in rows else ""
    namespace = MAIN.replace("xmlns", "xmlns:x") if prefix else MAIN
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{links}">{_BOOK}</Relationships>')
        archive.writestr(
            "xl/workbook.xml", f'<workbook {MAIN} xmlns:r="{RELATIONS}"><sheets>{sheets}</sheets></workbook>'
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{links}"><Relationship Id="rId1" Type="{RELATIONS}/worksheet" Target="{part}"/>'
            f'<Relationship Id="rId2" Type="{RELATIONS}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        )
        archive.writestr("xl/sharedStrings.xml", f"<sst {MAIN}>{more}</sst>")
        data = f"<{prefix}sheetData>{rows}</{prefix}sheetData>"
        archive.writestr(f"xl/{part}", f"<{prefix}worksheet {namespace}>{data}</{prefix}worksheet>")
    return buffer.getvalue()


def test_cells_with_errors_of_excel_are_empty_and_named() -> None:
    rows = (
        '<row r="2"><c r="A2" t="e"><f>VLOOKUP(1,B:B,1)</f><v>#N/A</v></c></row>'
        '<row r="3"><c t="e" s="1" r="A3"><v>#REF!</v></c><c r="B3" t="str"><v>e</v></c></row>'
    )
    staging, cells = opened(written_by_hand(HEADER.replace("</row>", '<c r="B1"><v>1</v></c></row>') + rows))
    assert cells[-1] == ["", "e"]
    assert "2 cells have errors of Excel and are read as empty; the first is A2 (#N/A)." in staging.warnings

    staging, _ = opened(written_by_hand(HEADER + '<row r="2"><c r="A2"><v>1</v></c></row>'))
    assert not [warning for warning in staging.warnings if "Excel" in warning and "empty" in warning]


@pytest.mark.parametrize("result", ["<v/>", "<v />", "<v></v>", ""])
@pytest.mark.parametrize("formula", ["<f>A1*2</f>", '<f t="shared" si="0"/>'])
def test_cells_whose_formula_was_never_calculated_are_named(formula: str, result: str) -> None:
    rows = (
        f'<row r="2"><c r="A2" s="1">{formula}{result}</c></row><row r="3"><c r="A3">{formula}{result}</c></row>'
        f'<row r="4"><c r="A4">{formula}<v>2</v></c></row><row r="5"><c t="str" r="A5">{formula}<v></v></c></row>'
    )
    (said,) = [said for said in opened(written_by_hand(HEADER + rows))[0].warnings if "formula" in said]

    assert said == (
        "2 cells have formulas without results and are read as empty; the first is A2. "
        "Open the workbook in Excel and save it, to have the results."
    )


def test_errors_on_other_sheets_are_not_named() -> None:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as made:
        for name in ("Data", "Other"):
            made.add_worksheet(name).write_row(0, 0, ["a", "b"])
        made.get_worksheet_by_name("Data").write_row(1, 0, [1, 2])
        made.get_worksheet_by_name("Other").write(1, 0, 1)
        made.get_worksheet_by_name("Other").write_formula(1, 1, "=NA()", None, "#N/A")

    assert "#N/A" not in " ".join(opened(buffer.getvalue())[0].warnings)
    (said,) = [said for said in opened(buffer.getvalue(), sheet="Other")[0].warnings if "#N/A" in said]
    assert said == "1 cell has an error of Excel and is read as empty: B2 (#N/A)."


@pytest.mark.parametrize(
    "cell",
    [
        '<c r="XFD1048576"><v>1</v></c>',
        '<c s="1" r="XFD1048576"><v>1</v></c>',
        '<c s=">" r="XFD1048576"><v>1</v></c>',
        "<c r='XFD1048576'><v>1</v></c>",
        '<c\n  r = "xfd1048576"\n><v>1</v></c>',
        '<x:c r="XFD1048576"><x:v>1</x:v></x:c>',
        '<c r="ZZZZZZZZ99999999999"><v>1</v></c>',
        '<c r="AA1048576"><v>1</v></c>',
        f'<c {" " * 12_000} r="XFD1048576"><v>1</v></c>',
    ],
    ids=range(9),
)
@pytest.mark.parametrize("part", ["worksheets/sheet1.xml", "sheets/one/Data.bin"])
def test_a_far_cell_is_found_however_it_is_written(cell: str, part: str) -> None:
    said = refusal(written_by_hand(HEADER + f"<row>{cell}</row>", part=part))

    assert "columns" in said or "a tag is longer" in said


def test_cells_without_references_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written_by_hand("<row><c><v>1</v></c><c/><c><v>2</v></c></row>" * 40)
    assert opened(data, header=False)[1] == [["1", "", "2"]] * 40

    monkeypatch.setattr(workbook_parts, "MAX_CELLS", 100)

    assert "40 rows x 3 columns" in refusal(data)


def test_more_texts_than_cells_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook_parts, "MAX_CELLS", 100)

    assert "more than 100 texts" in refusal(written_by_hand(HEADER, more="<si/>" * 101))


def test_a_workbook_without_sheets_is_refused() -> None:
    assert "the workbook has no sheet" in refusal(written_by_hand("", sheet=""))


def test_a_workbook_with_damaged_bytes_is_refused() -> None:
    data = bytearray(written_by_hand(HEADER * 1_000))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.infolist()[-1].header_offset
    data[start + 60 : start + 90] = bytes(30)

    assert "the workbook is damaged" in refusal(bytes(data))


def test_a_number_that_json_does_not_have_is_a_text() -> None:
    assert [value_of(cell) for cell in opened(written_by_hand(HEADER + "<row><c><v>1e999</v></c></row>"))[1][0]] == [
        "inf"
    ]


@pytest.mark.parametrize("cell", ['<c t="s"><v>1</v></c>', "<c t='s' s='1'>\n<v>1</v></c>"])
def test_a_text_that_many_cells_repeat_counts_in_each(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = "<si><t>a</t></si><si><t>" + "x" * 1_000 + "</t></si>"
    few, many = (
        written_by_hand("<row><c t='s'><v>0</v></c></row>" + f"<row>{cell}</row>" * count, more=texts)
        for count in (9, 100_000)
    )
    monkeypatch.setattr(workbook_parts, "MAX_TEXT_BYTES", 90_000_000)

    assert opened(few)[1] == [["x" * 1_000]] * 9
    assert "over 90,000,000 bytes of text" in refusal(many)


def test_many_cells_with_short_texts_beside_a_long_one_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = "<si><t>" + "x" * 100_000 + "</t></si><si><t>a</t></si>"
    monkeypatch.setattr(workbook_parts, "MAX_TEXT_BYTES", 1_000_000)

    assert opened(written_by_hand("<row><c t='s'><v>1</v></c></row>" * 100, more=texts))[1] == [["a"]] * 99


# --- OpenDocument spreadsheets

TITLE = '<table:table-row><table:table-cell office:value-type="string"><text:p>a</text:p></table:table-cell>'
TITLE += "</table:table-row>"
ONE = '<table:table-cell office:value-type="float" office:value="1"/>'


def sheet_of(rows: str) -> bytes:
    return ods_of(f'<table:table table:name="S">{TITLE}{rows}</table:table>')


def text_cell(text: str, attributes: str = "") -> str:
    return f'<table:table-cell {attributes} office:value-type="string"><text:p>{text}</text:p></table:table-cell>'


MANY_ONES = ONE.replace(" ", " table:number-columns-repeated='1000000000' ", 1)
MANY_SPACES = text_cell("a<text:s text:c='400000000'/>b")


def test_dates_and_rows_that_stand_for_several_are_read() -> None:
    data = sheet_of(
        '<table:table-row table:number-rows-repeated="2"><table:table-cell office:value-type="date" '
        'office:date-value="2026-11-27"/></table:table-row><table:table-row table:number-rows-repeated="1048573">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
    )

    assert opened(data)[1] == [["2026-11-27"]] * 2


def test_tabs_line_ends_and_spaces_in_a_text_stay() -> None:
    text = 'a<text:tab/>b<text:line-break/>c<text:s text:c="3"/>d'

    assert opened(sheet_of(f"<table:table-row>{text_cell(text)}</table:table-row>"))[1] == [["a\tb\nc   d"]]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (f'<table:table-row>{ONE}<table:table-cell table:number-columns-repeated="16382"/>{ONE}</table:table-row>',
         "16,384 columns"),
        (f'<table:table-row table:number-rows-repeated="1048575">{ONE * 4}</table:table-row>',
         "sheet 1: 1,048,576 rows x 4 columns"),
        (f"<table:table-row>{MANY_ONES}</table:table-row>",
         "1,000,000,000 columns"),
        (f"<table:table-row>{MANY_SPACES}</table:table-row>",
         "over 300,000,000 bytes of text"),
        ('<table:table-row table:number-rows-repeated="1000">'
         + text_cell("x" * 1_000, 'table:number-columns-repeated="1000"') + "</table:table-row>",
         "over 300,000,000 bytes of text"),
    ],
    ids=["columns", "rows", "a repeated cell", "spaces", "a repeated text"],
)  # fmt: skip
def test_a_spreadsheet_that_a_few_bytes_make_large_is_refused_before_it_is_read(rows: str, said: str) -> None:
    assert said in refusal(sheet_of(rows))


def test_a_second_sheet_is_checked_too() -> None:
    far = f'<table:table table:name="T"><table:table-row table:number-rows-repeated="5000000">{ONE}</table:table-row>'

    assert "sheet 2: 5,000,000 rows" in refusal(
        ods_of(f'<table:table table:name="S">{TITLE}</table:table>{far}</table:table>')
    )


def with_part(data: bytes, name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry, old.read(entry))
        new.writestr(name, text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (with_part(sheet_of(""), "META-INF/manifest.xml", "<manifest:encryption-data/>"), "has a password"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"),
         "an Excel workbook with a password"),
        (with_part(written_by_hand(HEADER), "xl/workbook.bin", "x"), "in the binary format (.xlsb)"),
        (with_part(written_by_hand(HEADER), "ppt/presentation.xml", "x"), "a PowerPoint presentation"),
        (ods_of("").replace(b"opendocument.spreadsheet", b"opendocument.text1234567"),
         "an OpenDocument text or presentation"),
    ],
    ids=["ods with a password", "xlsx with a password", "xlsb", "pptx", "odt"],
)  # fmt: skip
def test_documents_of_other_kinds_are_called_by_their_names(data: bytes, said: str) -> None:
    assert said in refusal(data)


BOMB = "<!DOCTYPE x [" + "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9)) + "]><x>&e9;</x>"


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (written_by_hand(HEADER), "xl/sharedStrings.xml"),
        (written_by_hand(HEADER), "xl/worksheets/sheet1.xml"),
        (sheet_of(""), "content.xml"),
    ],
    ids=["texts", "sheet", "ods"],
)
def test_entities_that_stand_for_gigabytes_are_refused(data: bytes, part: str) -> None:
    assert "defines XML entities" in refusal(with_part(data, part, BOMB))


@pytest.mark.parametrize(
    ("count", "row"),
    [(150_000, ONE * 20), (10_000, text_cell("x" * 2_900) * 10)],
    ids=["cells", "texts"],
)
def test_nearly_the_largest_workbook_fits_into_the_function(count: int, row: str, tmp_path: Path) -> None:
    path = tmp_path / "large.ods"
    rows = f'<table:table-row table:number-rows-repeated="{count}">{row}</table:table-row>'
    path.write_bytes(ods_of(f'<table:table table:name="S">{rows}</table:table>'))

    staged = staged_alone(path)

    assert (staged.rows, staged.refusal) == (count - 1, "")
    assert staged.peak_mb < 900  # The function has 1,024 MB, and the SDK takes some of it.
