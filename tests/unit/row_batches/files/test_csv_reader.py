"""Reading a user's CSV and staging it, against the standard library's reader and AWS's rules."""

from __future__ import annotations

import csv
import io
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foundation.errors import InvalidInputError
from row_batches.files import csv_reader, table
from row_batches.files.csv_reader import Staging
from row_batches.files.csv_writer import render_header, render_row
from row_batches.files.staged_copy import read_staged, unescaped
from row_batches.files.table import MAX_COLUMNS, MAX_ROW_BYTES
from tests.support import aws_csv

TRICKY = [
    "",
    "\\",
    '"',
    '\\"',
    '\\\\"',
    "=1+1",
    "007",
    "a,b",
    "x;y",
    "line\nend",
    "crlf\r\nhere",
    "\r",
    "😀",
    " pad ",
    "\\n",
    '","',
]
# No NUL, which is refused, and no lone surrogate, which is no text.
cell = st.one_of(
    st.sampled_from(TRICKY),
    st.text(alphabet=st.sampled_from('ab",;\t|\\\r\n é😀'), max_size=8),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)


@st.composite
def tables(draw: st.DrawFn, delimiter: str = ",") -> tuple[list[str], list[list[str]]]:
    width = draw(st.integers(1, 5))
    header = [f"column {i}" for i in range(width)]
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=6))
    return header, rows


def written(
    header: list[str], rows: list[list[str]], *, delimiter: str = ",", end: str = "\n", every: bool = False
) -> bytes:
    """As RFC 4180 has it (the standard writer leaves a lone CR unquoted). ``every``: all cells quoted."""

    def quoted(text: str) -> str:
        special = every or any(character in text for character in (delimiter, '"', "\r", "\n"))
        return '"' + text.replace('"', '""') + '"' if special else text

    return "".join(delimiter.join(map(quoted, row)) + end for row in [header, *rows]).encode()


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def staged_rows(data: bytes, size: int = 1 << 20) -> tuple[list[str], list[list[str]]]:
    staging = Staging(chunked(data, size))
    return staging.columns, [cells for _, cells in read_staged(list(staging))]


def refusal(data: bytes, size: int = 1 << 20) -> str:
    with pytest.raises(InvalidInputError) as error:
        list(Staging(chunked(data, size)))
    return str(error.value)


@given(
    table=tables(),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    every=st.booleans(),
    bom=st.booleans(),
    size=st.sampled_from([1, 2, 3, 7, 1 << 20]),
)
@example(table=(["a", "b"], [["\\", '"'], ["\r\n", ""]]), delimiter=";", end="\r\n", every=False, bom=True, size=1)
def test_any_table_round_trips_through_staging_and_the_native_reader(
    table: tuple[list[str], list[list[str]]], delimiter: str, end: str, every: bool, bom: bool, size: int
) -> None:
    header, rows = table
    if len(header) == 1:
        every = True  # with one column, only quotes tell a delimiter in a cell, and an empty cell from a blank line
    data = (b"\xef\xbb\xbf" if bom else b"") + written(header, rows, delimiter=delimiter, end=end, every=every)

    staging = Staging(chunked(data, size))
    staged = b"".join(staging)

    items = aws_csv.read(staged.decode())
    names = [f"c{i}" for i in range(1, len(header) + 1)]
    assert staging.columns == header
    assert staging.total_rows == len(rows)
    assert staging.size_bytes == len(staged)
    assert [item["r"] for item in items] == [str(n) for n in range(1, len(rows) + 1)]
    assert [[unescaped(item[name]) for name in names] for item in items] == rows
    assert b"\r" not in staged
    assert list(read_staged(chunked(staged, size))) == list(enumerate(rows, 1))


@given(
    name=st.sampled_from(["name", "x", '"quoted"', "a, b", "a,b;c", "two\nlines"]),
    cells=st.lists(st.text(st.sampled_from('ab",;\t|\n 1'), min_size=1, max_size=8), max_size=8),
    every=st.booleans(),
    size=st.sampled_from([1, 7, 1 << 20]),
)
@example(name="x", cells=["John Smith", "Jane Doe"], every=True, size=1 << 20)
@example(name="x", cells=["Smith, John", "Jane Doe"], every=False, size=1 << 20)
def test_a_file_of_one_column_is_read_as_the_standard_library_wrote_it(
    name: str, cells: list[str], every: bool, size: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL)
    writer.writerows([[name], *([cell] for cell in cells)])

    assert staged_rows(text.getvalue().encode(), size) == ([name], [[cell] for cell in cells])


@given(
    cells=st.lists(st.text(st.sampled_from('ab",;\t|\n 1'), max_size=8), max_size=8), size=st.sampled_from([1, 1 << 20])
)
@example(cells=["John Smith", "Jane Doe"], size=1 << 20)
def test_an_output_of_one_column_is_read_as_it_was_written(cells: list[str], size: int) -> None:
    for name in ("result", "Full name", "a;b", "a, b"):
        data = render_header([name]) + "".join(render_row([cell]) for cell in cells)

        assert staged_rows(data.encode(), size) == ([name], [[cell] for cell in cells])


@given(st.text(alphabet=st.sampled_from('ab",\r\n\\ é'), max_size=40).map(lambda text: "h1,h2\n" + text))
def test_accepts_what_the_strict_standard_reader_takes_for_rows_of_the_header_s_width_and_nothing_else(
    text: str,
) -> None:
    try:
        expected = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        expected = []
    # The standard reader takes a quote inside an unquoted cell as it is: refused here, so writing it back tells.
    stray = any('"' in part for part in _outside_quotes(text)) if expected else True
    rows = expected[1:]
    good = bool(expected) and not stray and all(len(row) == 2 for row in rows)
    # Each of the sampled rows ends with a delimiter: a third column, empty and without a name.
    trailing = bool(rows) and not stray and all(len(row) == 3 and not row[2] for row in rows)

    if good or trailing:
        assert staged_rows(text.encode(), 3) == (["h1", "h2", "column_3"][: 2 + trailing], rows)
    else:
        assert "problem" in refusal(text.encode(), 3)


def _outside_quotes(text: str) -> list[str]:
    """The unquoted cells of a text, found character by character."""
    cells: list[str] = []
    cell = ""
    state = "start"
    for character in text:
        if state == "quoted":
            state = "closing" if character == '"' else "quoted"
        elif state == "closing" and character == '"':
            state = "quoted"
        elif character in ",\r\n":
            cells.append(cell)
            cell, state = "", "start"
        elif state == "start" and character == '"':
            state = "quoted"
        else:
            cell += character
            state = "plain"
    return [*cells, cell]


def test_a_line_end_inside_a_cell_stays_as_it_is() -> None:
    assert staged_rows(b'a,b\r\n"x\r\ny",1\r\n"\r",2\r\n') == (["a", "b"], [["x\r\ny", "1"], ["\r", "2"]])


def test_blank_lines_are_skipped_and_do_not_count_as_rows() -> None:
    assert staged_rows(b"\n\r\na,b\n\n1,2\n\r\n\n3,4\n\n") == (["a", "b"], [["1", "2"], ["3", "4"]])


def test_an_empty_cell_of_a_one_column_file_is_a_row_when_quoted() -> None:
    assert staged_rows(b'name\n""\nx\n') == (["name"], [[""], ["x"]])


@pytest.mark.parametrize(
    ("data", "delimiter", "columns"),
    [
        (b"a;b\n1,5;2\n", ";", 2),
        (b"a\tb\n1\t2\n", "\t", 2),
        (b"a|b|c\n1|2|3\n", "|", 3),
        (b"a b\n1 2\n", " ", 2),
        (b"full name\nAcme\nTwo words\n", ",", 1),
        (b"full name\n", ",", 1),
        (b'"a;b;c",d\n1,2\n', ",", 2),
        (b"a,b;c;d\n1,x;y;z\n2,z\n", ",", 2),
        (b"name\nAda\n", ",", 1),
        (b'"name"\nJohn Smith\nJane Doe\n', ",", 1),
        (b'Full name\n"Smith, John"\nJane Doe\n', ",", 1),
        (b'"Full name"\n"{""a"":1}"\nJane Doe\n', ",", 1),
        (b"id; note\n1\n2\n", ",", 1),
        (b'a;b\n"x;y";"1"\n', ";", 2),
        (b'"a b" c\n"x y" z\n', " ", 2),
    ],
)
def test_recognises_the_delimiter(data: bytes, delimiter: str, columns: int) -> None:
    staging = Staging([data])

    assert (staging.delimiter, len(staging.columns)) == (delimiter, columns)
    assert bool(staging.warnings) == (delimiter != ",")


def test_keeps_900_long_column_names() -> None:
    names = [f"a rather long name of column number {i}, with a comma" for i in range(900)]
    cells = [f"value {i}" for i in range(900)]
    data = written(names, [cells] * 50)

    assert staged_rows(data, 4096) == (names, [cells] * 50)


def test_refuses_more_columns_than_a_staged_header_of_10_kib_holds() -> None:
    # https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html: headers of up to 10 KiB.
    def header(columns: int) -> bytes:
        return ",".join(f"name {i}" for i in range(columns)).encode() + b"\n"

    staged = next(iter(Staging([header(MAX_COLUMNS)])))

    assert len(staged) <= 10_240 < len(staged) + len(f",c{MAX_COLUMNS + 1}")
    assert "1,891 columns" in refusal(header(MAX_COLUMNS + 1))


def test_columns_without_a_name_or_with_a_repeated_one_are_addressed_by_their_place() -> None:
    staging = Staging([b",a,a\n0,x,y\n"])

    assert [cells for _, cells in read_staged(list(staging))] == [["0", "x", "y"]]
    assert (staging.header, staging.columns) == (["", "a", "a"], ["column_1", "a", "a_2"])
    assert len(staging.warnings) == 2


def test_a_header_alone_is_a_file_without_rows() -> None:
    for data in (b"a,b", b"a,b\n", b"\xef\xbb\xbfa,b\r\n"):
        staging = Staging([data])
        assert (list(staging), staging.total_rows, staging.columns) == ([b"r,c1,c2\n"], 0, ["a", "b"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"a,b\n1,2\n3\n4,5\n6,7,8\n", "line 3 (1), line 5 (3)"),
        (b'a,b\n1,2\n5" disk,x\n', "line 3"),
        (b'a,b\n1,the "big" one\n', "line 2"),
        (b'a,b\n"x"y,2\n', "line 2"),
        (b'a,b\n1,"x\ny"z\n', "line 3"),
        (b'a,b\n1,2\n3,"never closed\n4,5\n', "opened and never closed (got line 3)"),
        (b'"a,b\n1,2\n', "never closed (got line 1)"),
        (b"a,b\n1,2\n\xff,3\n", "line 3 (byte 8 of the file)"),
        (b"\xef\xbb\xbfa,b\n1,\xe9\n", "line 2 (byte 9 of the file)"),
        ("a,b\nx,y\n".encode("utf-16"), "UTF-8"),
        (b"a,b\n1,\0\n", "NUL characters (got line 2)"),
        (b"\xe9,b\n1,2\n", "line 1 (byte 0 of the file)"),
    ],
)
def test_refuses_and_names_the_line(data: bytes, said: str) -> None:
    for size in (1, 1 << 20):
        assert said in refusal(data, size)


def test_names_at_most_five_lines_of_a_kind_and_every_kind_before_them() -> None:
    data = b"a,b\n" + b'1,x"y"\n' + b"\xff,2\n" + b"1\n" * 20 + b"2,3\n" * 100_000

    text = refusal(data)

    assert text.startswith("3 problems")
    assert "line 4 (1), line 5 (1), line 6 (1), line 7 (1), line 8 (1))" in text


def test_line_numbers_hold_far_into_a_file() -> None:
    rows = b'1,"two\nlines"\r\n' * 100_000

    assert "got line 200002 (1)" in refusal(b"a,b\n" + rows + b"bad\n" + rows)


def test_refuses_a_row_that_no_child_could_take() -> None:
    fits = "x" * (MAX_ROW_BYTES - len('{"r":"1","c1":"","c2":"1"}'))
    assert staged_rows(f"a,b\n{fits},1\n".encode(), 4096)[1] == [[fits, "1"]]

    assert "line 2" in refusal(f"a,b\n{fits}x,1\n".encode())
    # As JSON, a control character has six bytes, in the file one.
    controls = "\x01" * (MAX_ROW_BYTES // 6)
    assert "line 3" in refusal(f"a,b\n1,2\n{controls},1\n".encode())


def test_an_unclosed_quote_is_found_without_reading_the_whole_file() -> None:
    read = 0

    def chunks() -> itertools.chain[bytes]:
        def counted() -> object:
            nonlocal read
            for _ in range(1000):
                read += 1
                yield b"1,2\n" * 5000

        return itertools.chain([b'a,b\n1,"open\n'], counted())  # type: ignore[arg-type]

    with pytest.raises(InvalidInputError, match="longer than 199,000 bytes"):
        list(Staging(chunks()))
    assert read < 30


def test_refuses_a_staged_copy_over_10_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (csv_reader, table):
        monkeypatch.setattr(module, "MAX_FILE_BYTES", 1_000)

    assert "1,000 bytes" in refusal(b"a,b\n" + b"1,2\n" * 200)


def test_max_rows_ends_after_so_many_rows_whatever_follows() -> None:
    data = b'a,b\n1,"x\ny"\n\n2,3\n"bad"row\n'

    staging = Staging([data], max_rows=2)

    assert [cells for _, cells in read_staged(list(staging))] == [["1", "x\ny"], ["2", "3"]]
    assert staging.total_rows == 2
