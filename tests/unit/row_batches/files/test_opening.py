"""Files as people really have them: other encodings, titles, trailing delimiters, compression, and no tables at all."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import zipfile
from typing import Any

import pytest
from pydantic import ValidationError

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.files.opening import open_input, recognised
from row_batches.files.staged_copy import read_staged
from row_batches.files.table import InputFile, InputStaging


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def opened(data: bytes, size: int = 1 << 20, **form: Any) -> tuple[InputStaging, list[list[str]]]:
    staging = open_input(InputFile(lambda: chunked(data, size), InputFormat(**form)))
    return staging, [cells for _, cells in read_staged(list(staging))]


def refusal(data: bytes, **form: Any) -> str:
    with pytest.raises(InvalidInputError) as error:
        opened(data, **form)
    return str(error.value)


WESTERN = "nom,ville\nHélène,Besançon\nRené,Orléans\nFrançoise,Nîmes\n"
CENTRAL = "imię,miasto\nŁukasz,Łódź\nŻaneta,Gdańsk\nMałgorzata,Kraków\n"
TEXTS = [
    (WESTERN, "cp1252"),
    (WESTERN, "mac_roman"),
    ("Name,Straße\nMüller,Königsallee\nJäger,Gößweinstraße\n", "cp1252"),
    ("a,b\n1,It’s a “test” – ok\n2,£20\n", "cp1252"),
    ("t,u\n20 °C,±2\n25 °C,x\n", "cp1252"),
    ("a,b\nPeña,Málaga\nMuñoz,¿Qué?\n", "cp1252"),
    (CENTRAL, "cp1250"),
    (CENTRAL, "iso8859_2"),
    ("имя,город\nИван,Москва\nПётр,Казань\n", "cp1251"),
    ("имя,город\nИван,Москва\nПётр,Казань\n", "koi8_r"),
    ("όνομα,πόλη\nΓιώργος,Αθήνα\nΕλένη,Θεσσαλονίκη\n", "cp1253"),
    ("ad,şehir\nİbrahim,İstanbul\nÇağrı,Diyarbakır\n", "cp1254"),
    ("名前,都市\n田中太郎,東京都\n鈴木一郎,大阪府です\n", "cp932"),
    ("姓名,城市\n张伟,北京市\n王芳,上海市浦东新区\n", "gb18030"),
    ("姓名,城市\n張偉,臺北市\n王芳,高雄市左營區\n", "big5"),
    ("이름,도시\n김철수,서울특별시\n이영희,부산광역시\n", "cp949"),
    (WESTERN, "utf-16"),
    (WESTERN, "utf-16-le"),
    (WESTERN, "utf-16-be"),
    (WESTERN, "utf-32"),
]


@pytest.mark.parametrize(("text", "encoding"), TEXTS)
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_an_encoding_other_than_utf_8_is_recognised_and_said(text: str, encoding: str, size: int) -> None:
    expected = list(csv.reader(io.StringIO(text)))

    staging, rows = opened(text.encode(encoding), size)

    assert [staging.header, *rows] == expected
    assert any("encoding" in warning for warning in staging.warnings)


@pytest.mark.parametrize("before", range(2))
@pytest.mark.parametrize(
    ("text", "encoding"), [pair for pair in TEXTS if pair[1] in ("cp932", "gb18030", "big5", "cp949")]
)
def test_an_encoding_is_recognised_wherever_the_sample_ends(text: str, encoding: str, before: int) -> None:
    data = b"x" * before + text.encode(encoding) * 8_000

    staging, rows = opened(data, 65_536)

    assert rows[:2] == [line.split(",") for line in text.splitlines()[1:3]]
    assert any("encoding" in warning for warning in staging.warnings)


@pytest.mark.parametrize(("text", "encoding"), TEXTS)
def test_the_encoding_that_the_document_names_is_used(text: str, encoding: str) -> None:
    staging, rows = opened(text.encode(encoding), encoding=encoding)

    assert [staging.header, *rows] == list(csv.reader(io.StringIO(text)))


def test_ascii_lines_before_the_first_other_byte_stay_as_they_are() -> None:
    rows = [["plain", "text"]] * 100_000
    text = "a,b\n" + "plain,text\n" * 100_000 + WESTERN

    staging, read = opened(text.encode("cp1252"), 65_536)

    assert read == [*rows, *csv.reader(io.StringIO(WESTERN))]
    assert any("Windows-1252" in warning for warning in staging.warnings)


def test_encodings_that_fit_equally_well_are_refused_with_both_and_the_field_that_decides() -> None:
    said = refusal("jméno,město\nJiří,Plzeň\nŠárka,Děčín\n".encode("iso8859_2"))

    assert "ISO 8859-2" in said
    assert "Windows-1250" in said
    assert "input_format.encoding" in said
    assert "Šárka" in said


@pytest.mark.parametrize("word", ["café", "Köln", "Kraków", "£20"])
def test_one_accented_word_that_all_western_encodings_share_is_read(word: str) -> None:
    assert opened(f"id,name\n1,{word}\n2,plain\n".encode("cp1252"))[1] == [["1", word], ["2", "plain"]]


@pytest.mark.parametrize("word", ["Hélène", "Muñoz"])
def test_one_accented_word_that_two_encodings_read_differently_is_shown_in_both(word: str) -> None:
    said = refusal(f"id,name\n1,{word}\n2,plain\n".encode("cp1252"))

    assert word in said
    assert "Windows-1252" in said
    assert "Windows-1250" in said


def test_a_damaged_character_in_a_utf_8_file_is_named_by_its_line_and_replaced_on_request() -> None:
    data = "a,b\nÉlan,1\n".encode() + b"bad \xff,2\n" + "Noël,3\n".encode()

    assert "line 3" in refusal(data)
    assert opened(data, encoding_errors="replace")[1] == [["Élan", "1"], ["bad �", "2"], ["Noël", "3"]]


def test_bytes_that_a_named_encoding_does_not_have_are_named_by_their_place() -> None:
    data = b"a,b\n1,ok\n2,\x81\n"

    assert "byte 11 of the file" in refusal(data, encoding="cp1252")
    assert opened(data, encoding="cp1252", encoding_errors="replace")[1][1] == ["2", "�"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_utf_16_without_a_mark_is_recognised_in_text_with_few_latin_letters(encoding: str, end: str) -> None:
    data = end.join(["名字,城市", "李雷,上海", "韩梅梅,北京", ""]).encode(encoding)

    staging, rows = opened(data)

    assert (staging.header, rows) == (["名字", "城市"], [["李雷", "上海"], ["韩梅梅", "北京"]])
    assert any("UTF-16" in warning for warning in staging.warnings)


@pytest.mark.parametrize("data", [b"a,b\nab,x\0y\n", b"a,b\n\0,1\n", b"a,b\r\n1,2\n\0\n"])
def test_a_few_nul_characters_do_not_make_a_file_utf_16(data: bytes) -> None:
    assert "NUL characters" in refusal(data)


def test_a_header_without_any_name_is_a_warning_with_what_to_do() -> None:
    data = b",,\nid,name,city\n1,Ada,London\n"

    assert any("set input_format.skip_lines to 1" in warning for warning in opened(data)[0].warnings)
    assert opened(data, skip_lines=1)[1] == [["1", "Ada", "London"]]


def test_byte_order_marks_are_no_part_of_the_first_name() -> None:
    assert opened(codecs.BOM_UTF8 * 2 + b"a,b\n1,2\n")[0].header == ["a", "b"]


@pytest.mark.parametrize("line", [b"sep=;\n", b"SEP=;\r\n", b'"sep=;"\n'])
def test_a_line_that_tells_excel_the_delimiter_is_no_row(line: bytes) -> None:
    staging, rows = opened(line + b"a;b\n1,5;2\n")

    assert (staging.header, rows) == (["a", "b"], [["1,5", "2"]])
    assert any("first line says" in warning for warning in staging.warnings)


R_FILES = {
    "write.table": b'"speed" "dist"\n"1" 4 2\n"a b" 7 "x y"\n',
    "write.table with commas": b'"speed","dist"\n"1",4,NA\n"2",7,4\n',
    "tabs, line ends of Windows": b'"a"\t"b"\t"c"\r\n"1"\t1\tx\ty\r\n"2"\t2\tx\tz\r\n',
}


@pytest.mark.parametrize("name", R_FILES)
def test_the_names_of_rows_as_r_writes_them_are_a_column_without_a_name(name: str) -> None:
    data = R_FILES[name]
    rows = [line for line in csv.reader(io.StringIO(data.decode()), delimiter=staged_delimiter(data)) if line]

    staging, cells = opened(data)

    assert staging.header == ["", *rows[0]]
    assert staging.columns == ["column_1", *rows[0]]
    assert cells == rows[1:]
    assert any("as R writes it" in warning for warning in staging.warnings)


@pytest.mark.parametrize(
    "data",
    [
        b"Report,2026\nid,name,city\n1,Ada,London\n2,Alan,Wilmslow\n",
        b"Report,draft\nid,name,born\n1,Ada,1815\n2,Alan,1912\n",
        b"Report,draft,secret\nid,name,city,born\n1,Ada,London,1815\n2,Alan,Wilmslow,1912\n",
        b'"Report","draft"\n"id","name","born"\n"1","Ada","1815"\n"2","Alan","1912"\n',
        b"Report,12.5,secret\n1,Ada,London,1815\n2,Alan,Wilmslow,1912\n",
        b"sku,qty,price\nA1,3,9.99,blue\nA2,4,8.50,red\n",
        b"id,qty,price\n1,3,9.99,blue\n2,4,8.50,red\n",
        b"sku,qty,price\nA1,3,9.99,\nA2,4,8.50,red\n",
        b'"sku","qty"\n"A1",3,"blue"\n"A2",4,"red"\n',
        b'"sku","qty"\n"1","3","blue"\n"2","4","red"\n',
        b'"a" "b"\n"x" 1 2\n"x" 1 2\n',
        b'"a" "b"\n"" 1 2\n"y" 1 2\n',
        b'"a" "a"\n"x" 1 2\n"y" 1 2\n',
    ],
    ids=[
        "few cells",
        "two cells",
        "a header below it",
        "a header in quotes below it",
        "a number in it",
        "the last name is missing",
        "the last name is missing after a number",
        "a delimiter at the end of one row",
        "the last name is missing, texts in quotes",
        "the last name is missing, all in quotes",
        "repeated names of rows",
        "rows without a name",
        "repeated names",
    ],
)
def test_a_title_is_not_taken_for_a_header_above_names_of_rows(data: bytes) -> None:
    assert "the first line does not fit the rows" in refusal(data)


def staged_delimiter(data: bytes) -> str:
    return next(sign for sign in "\t, " if sign.encode() in data.partition(b"\n")[0])


def test_a_title_is_recognised_and_skipped_only_on_request() -> None:
    data = b"Sales, 2026\n\nid,name,city\n1,Ada,London\n2,Alan,Wilmslow\n"

    said = refusal(data)

    assert "line 1 has 2 cells, the rows after it 3" in said
    assert "input_format.skip_lines to 2" in said
    for lines in (1, 2):
        assert opened(data, skip_lines=lines)[1] == [["1", "Ada", "London"], ["2", "Alan", "Wilmslow"]]
    assert "no line after those to skip" in refusal(data, skip_lines=900)


TITLED = b"""Dataset name:,"RT331601"
Description:,"Area and population,
1996, in two lines"

Table
,Area,Population,
"United Kingdom",242910,58801
Scotland,78133,5128
Aberdeen,186,217
"""


def test_several_lines_above_the_table_are_counted_and_skipped_only_on_request() -> None:
    said = refusal(TITLED)

    assert "line 5 (1), line 6 (4), line 7 (3)" in said
    assert "if lines 1 to 5 are no part of the table, set input_format.skip_lines to 5" in said
    staging, rows = opened(TITLED, skip_lines=5)
    assert (staging.columns, rows[2]) == (["column_1", "Area", "Population"], ["Aberdeen", "186", "217"])


def test_the_numbers_of_rows_and_columns_above_a_table_without_names_are_recognised() -> None:
    data = b"3,2,yes,no\n1.5,2.5,3,4,0\n1.7,2.1,3,4,1\n1.8,2.2,3,4,1\n"

    assert "set input_format.skip_lines to 1 and input_format.header to false" in refusal(data)
    assert opened(data, skip_lines=1, header=False)[1][0] == ["1.5", "2.5", "3", "4", "0"]


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "pipe")])
def test_a_title_above_cells_with_another_delimiter_than_the_comma_is_a_warning(delimiter: str, name: str) -> None:
    data = "Report\n\nid;name\n1;Ada\n2;Alan\n".replace(";", delimiter).encode()

    (warning,) = opened(data)[0].warnings

    assert f"line 1 has no {name}" in warning
    assert "set input_format.skip_lines to 2" in warning
    assert opened(data, skip_lines=2)[1] == [["1", "Ada"], ["2", "Alan"]]


@pytest.mark.parametrize("delimiter", [",", " ", "\t"])
def test_names_of_rows_without_quotes_are_read_when_the_document_says_that_they_are(delimiter: str) -> None:
    data = "Weight,Feed\na1,26.5,NA\nb2,27.6,5.2\n".replace(",", delimiter).encode()

    if delimiter != " ":
        assert "set input_format.row_names to true" in refusal(data)
    staging, rows = opened(data, row_names=True)

    assert (staging.columns, staging.header) == (["column_1", "Weight", "Feed"], ["", "Weight", "Feed"])
    assert rows == [["a1", "26.5", "NA"], ["b2", "27.6", "5.2"]]
    assert any("as R writes it" in warning for warning in staging.warnings)


def test_names_of_rows_that_have_a_name_in_the_header_need_nothing() -> None:
    assert opened(b"id,a\n1,x\n2,y\n", row_names=True)[0].columns == ["id", "a"]


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_quotes_are_content_when_no_character_quotes_cells(size: int) -> None:
    data = b'item\tsize\npipe\t5" x 3"\n"x"y\t"never closed\n\n\t""\n'

    assert "set input_format.quote to none" in refusal(data)
    assert opened(data, size, quote="none")[1] == [["pipe", '5" x 3"'], ['"x"y', '"never closed'], ["", '""']]


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_cells_can_stand_in_single_quotes(size: int) -> None:
    data = b"'a','b'\n'it''s','1,5'\n'5\" pipe','two\nlines'\n'',''''\n"

    assert opened(data, size, quote="'")[1] == [["it's", "1,5"], ['5" pipe', "two\nlines"], ["", "'"]]
    assert "there is a single quote inside" in refusal(b"a,b\nit's,1\n", quote="'")


def test_spaces_before_a_quote_are_named_with_what_to_do() -> None:
    data = b'name, country\n"Ada", "GB"\n'

    assert "there are spaces between the delimiter and a double quote" in refusal(data)
    assert opened(data, quote="none")[1] == [['"Ada"', ' "GB"']]


@pytest.mark.parametrize("chunk", [1_000, 65_536, 1 << 22])
@pytest.mark.parametrize("width", [73, 199])
def test_lines_to_skip_can_be_longer_than_the_sample(width: int, chunk: int) -> None:
    data = (b"x" * (width - 1) + b"\n") * 900 + b"a;b\n" + b"1,5;2\n" * 50_000

    staging, rows = opened(data, chunk, skip_lines=900)

    assert (staging.header, len(rows), rows[-1]) == (["a", "b"], 50_000, ["1,5", "2"])


def test_a_line_before_a_long_header_does_not_shorten_the_sample() -> None:
    names = [f"n{i}" + "x" * 60 for i in range(1_500)]
    data = ("sep=;\n" + ";".join(names) + "\n" + ";".join(["1"] * 1_500) + "\n").encode()

    assert opened(data, 1_000)[0].header == names


@pytest.mark.parametrize("name", ["undefined", "idna", "punycode", "unicode_escape", "utf-7"])
def test_encodings_that_files_do_not_have_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="not an encoding"):
        InputFormat(encoding=name)


def test_a_quote_in_a_cell_too_many_is_content() -> None:
    assert "line 3 (3)" in refusal(b'a,b\n1,2\n1,2,""""\n', ragged="pad")


def test_a_file_without_a_header_has_columns_by_their_place() -> None:
    staging, rows = opened(b"1,Ada\n2,Alan\n", header=False)

    assert (staging.columns, rows) == (["column_1", "column_2"], [["1", "Ada"], ["2", "Alan"]])
    assert staging.warnings == []


def test_rows_that_all_end_with_a_delimiter_have_a_column_without_a_name() -> None:
    staging, rows = opened(b"a,b\n1,2,\n3,4,\n")

    assert (staging.header, staging.columns) == (["a", "b", ""], ["a", "b", "column_3"])
    assert rows == [["1", "2", ""], ["3", "4", ""]]


def test_a_header_that_alone_ends_with_a_delimiter_has_no_column_there() -> None:
    assert opened(b"a,b,\n1,2\n3,4\n")[0].columns == ["a", "b"]


def test_ragged_rows_are_padded_on_request_and_counted() -> None:
    data = b'a,b,c\n1,2,3\n\n4\n"5\n5",6\n7,8,9,,""\n'

    assert "set input_format.ragged to pad" in refusal(data)
    staging, rows = opened(data, 1, ragged="pad")

    assert rows == [["1", "2", "3"], ["4", "", ""], ["5\n5", "6", ""], ["7", "8", "9"]]
    assert any("2 rows" in warning and "line 4" in warning for warning in staging.warnings)


def test_padding_never_drops_a_cell() -> None:
    assert "line 4 (3)" in refusal(b"a,b\n1,2\n3\n4,5,6\n", ragged="pad")
    assert "ragged to pad" not in refusal(b"a,b\n1,2\n3\n4,5,6\n")


def test_a_delimiter_that_the_document_names_is_used() -> None:
    assert opened(b"a:b\n1,5:2\n", delimiter=":")[1] == [["1,5", "2"]]


# --- what is no text in rows


def _zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


# Archives hold the time at which they were made, so a test's name must not show them.
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (_zip("[Content_Types].xml", "word/document.xml"), "a Word document"),
        (_zip("data.csv"), "a ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an Excel workbook in the old format"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PARE\x15\x04", "an encrypted Parquet file"),
        (b"\x89PNG\r\n\x1a\n\0\0", "an image"),
        (b"\n <!DOCTYPE HTML><html><body>Sign in", "a web page"),
        (b'<?xml version="1.0"?><rows/>', "an XML document"),
        (gzip.compress(b"%PDF-1.7\n"), "a PDF document"),
        (gzip.compress(gzip.compress(b"a,b\n")), "compressed twice"),
        (b"\0\x05\x16\x07\0\x02\0\0", "a file that macOS adds to another one"),
        (b"ORC\x0a\x14\x0a\x04\x08", "an ORC file"),
        (b"<!-- saved -->\n<html>", "a web page"),
        (b"<table><tr><td>a</td></tr></table>", "a web page"),
        (b"{\\rtf1\\ansi a,b}", "an RTF document"),
        (b"{'a': 1}\n{'a': 2}\n", "a dictionary as Python shows it"),
        (b"[{'a': 1}, {'a': 2}]", "a dictionary as Python shows it"),
        (gzip.compress(b"a.csv".ljust(257, b"\0") + b"ustar\x0000"), "a TAR archive"),
        (bz2.compress(b"a,b\n"), "compressed with bzip2"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 60, "no text, but of a binary format"),
        (b"\x78\x9c" + bytes(range(256)) * 4, "no text, but of a binary format"),
    ],
    ids=[
        *["word", "zip", "xls", "pdf", "parquet", "png", "html", "xml", "pdf in gzip", "gzip in gzip", "._name", "orc"],
        *["html comment", "html table", "rtf", "python", "python list", "tar.gz", "bzip2", "program", "all bytes"],
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(data: bytes, what: str) -> None:
    said = refusal(data)

    assert f"the file is {what}" in said
    assert "1 problem" in said


@pytest.mark.parametrize(
    "data",
    [
        b'"{""a"": 1}",b\n1,2\n',
        b"[x],b\n1,2\n",
        b"[2019],[2020]\n1,2\n",
        b"[null],b\n1,2\n",
        b"a\x01,b\n1\x01,2\n",
        b"{'a'},b\n1,2\n",
        b"<id>,b\n1,2\n",
        b"PK,b\n1,2\n",
        b"ORC,b\n1,2\n",
        b"PARENT,b\n1,2\n",
        b"PAR1,b\n1,2\n",
        b"BZh,b\n1,2\n",
        b"GIF8,b\n1,2\n",
    ],
)
def test_a_csv_whose_first_name_looks_odd_is_still_a_csv(data: bytes) -> None:
    assert len(opened(data)[1]) == 1


@pytest.mark.parametrize("first", ["[1],b", '["x","y"],b', "[],b", "[1;2],b"])
def test_a_csv_whose_first_cell_looks_like_a_list_is_csv(first: str) -> None:
    assert recognised(InputFile(lambda: [f"{first}\n1,2\n".encode()]))[0].name == "csv"


def test_the_error_of_a_list_of_lists_names_csv_as_the_way_out() -> None:
    assert "input_format.type: csv" in refusal(b"[1, 2]\n[3, 4]\n")
