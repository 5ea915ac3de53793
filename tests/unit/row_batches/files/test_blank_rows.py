"""Rows without content are taken out of the staged copy, whatever the format of the file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.document.input_format import InputFormat
from row_batches.files.blank_rows import BlankRows
from row_batches.files.opening import open_input
from row_batches.files.staged_copy import read_staged, staged_cells, staged_header
from row_batches.files.table import InputFile

SPACES = "".join(map(chr, range(0x10000)))
SPACES = "".join(character for character in SPACES if character.isspace())


def staged_line(row: int, cells: Sequence[str]) -> bytes:
    return f'"{row}",{staged_cells(cells)}\n'.encode()


def divided(chunks: Sequence[bytes]) -> tuple[list[tuple[int, list[str]]], list[tuple[int, list[str]]], BlankRows]:
    """The rows with content, those without, and what was counted."""
    blank = BlankRows()
    kept = b"".join(blank.taken_out(chunk) for chunk in chunks)
    return list(read_staged([kept])), list(read_staged([b"h\n" + blank.take_lines()])), blank


@given(
    rows=st.lists(
        st.lists(
            st.one_of(st.just(""), st.text(SPACES, max_size=3), st.text('ab"\\r1,\n\r ', max_size=4)),
            min_size=2,
            max_size=2,
        ),
        max_size=8,
    ),
    cut=st.integers(1, 4),
)
def test_exactly_the_rows_are_taken_out_whose_cells_are_all_white_space(rows: list[list[str]], cut: int) -> None:
    numbered = list(enumerate(rows, 1))
    lines = [staged_header(2)] + [staged_line(row, cells) for row, cells in numbered]
    chunks = [b"".join(lines[at : at + cut]) for at in range(0, len(lines), cut)]

    content, blank, counted = divided(chunks)

    has_content = {row for row, cells in numbered if any(cell.strip() for cell in cells)}
    assert content == [(row, cells) for row, cells in numbered if row in has_content]
    assert blank == [(row, cells) for row, cells in numbered if row not in has_content]
    assert counted.rows == len(blank)
    numbers = [row for row, _ in blank]
    assert counted.groups == sum(row - 1 not in numbers for row in numbers)
    assert counted.first == numbers[:5]


def test_every_character_of_white_space_is_one() -> None:
    content, blank, _ = divided([staged_line(row, [space]) for row, space in enumerate(SPACES, 1)])

    assert content == []
    assert len(blank) == len(SPACES)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_lines_of_delimiters_are_rows_without_content(line_end: str, quoting: int, delimiter: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([["id", "text"], ["1", "a"], ["", ""], ["2", ""], ["", ""]])
    staging = open_input(InputFile(lambda: [text.getvalue().encode()], InputFormat()))

    content, blank, _ = divided(list(staging))

    assert content == [(1, ["1", "a"]), (3, ["2", ""])]
    assert blank == [(2, ["", ""]), (4, ["", ""])]
    assert staging.total_rows == 4


def test_an_object_whose_values_are_all_null_has_no_content() -> None:
    lines = b'{"a": 1, "b": "x"}\n{"a": null, "b": " "}\n{}\n{"a": 0, "b": null}\n{"a": "null", "b": ""}\n'
    staging = open_input(InputFile(lambda: [lines], InputFormat()))

    content, blank, _ = divided(list(staging))

    assert [row for row, _ in content] == [1, 4, 5]
    assert [row for row, _ in blank] == [2, 3]
