"""Every format and every compression gives the same rows. A new one is part of these tests as soon as it is listed."""

from __future__ import annotations

from typing import Any

import pytest

from row_batches.document.input_format import InputFormat
from row_batches.files.compression import COMPRESSIONS
from row_batches.files.opening import FORMATS, open_input
from row_batches.files.staged_copy import read_staged
from row_batches.files.table import InputFile
from row_batches.mapping.cells import value_of
from tests.support.tables import PACKERS, WRITERS, Rows

TEXTS: Rows = [
    ["id", "full name", "note", "formula"],
    ["1", "Ada", 'a "quoted" one, with\ntwo lines', "=1+1"],
    ["007", "Zoë 😀", "C:\\temp\\new", "x" * 3_000],
    ["3", " spaces ", "null", "1.10"],
]
TYPED: Rows = [
    ["id", "price", "sold", "text", "late"],
    [1, 1.5, True, "one", None],
    [-20, 0.1, False, "2", "here"],
    [3_000_000_000, -2.25, True, "", "there"],
]
BY_NAME = {one.name: one for one in FORMATS}
PACKINGS = [None, *(one.name for one in COMPRESSIONS)]


def written(table: Rows, form: str, packing: str | None) -> bytes:
    data = WRITERS[form](table)
    return data if packing is None else PACKERS[packing](data)


def staged(data: bytes, **options: Any) -> bytes:
    chunks = [data[i : i + 5_000] for i in range(0, len(data), 5_000)]
    staging = open_input(InputFile(lambda: chunks, InputFormat(**options)))
    copy = b"".join(staging)
    assert staging.size_bytes == len(copy)
    return copy


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", BY_NAME)
def test_a_table_of_texts_is_the_same_in_every_format(form: str, packing: str | None) -> None:
    assert staged(written(TEXTS, form, packing)) == staged(WRITERS["csv"](TEXTS))


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", [name for name in BY_NAME if name != "csv"])
def test_a_table_of_values_is_the_same_in_every_format_that_has_types(form: str, packing: str | None) -> None:
    rows = [cells for _, cells in read_staged([staged(written(TYPED, form, packing))])]

    empty = "" if form in ("xlsx", "ods") else None  # A workbook has no empty text, and no null.
    expected = [[empty if value in (None, "") and empty is not None else value for value in row] for row in TYPED[1:]]
    assert [[value_of(cell) for cell in cells] for cells in rows] == expected
    assert [list(map(str, cells)) for cells in rows] == [
        ["1", "1.5", "true", "one", ""],
        ["-20", "0.1", "false", "2", "here"],
        ["3000000000", "-2.25", "true", "", "there"],
    ]


@pytest.mark.parametrize("form", BY_NAME)
def test_a_format_that_the_document_names_is_read(form: str) -> None:
    table = [["a"], ["1"]]

    assert staged(WRITERS[form](table), type=form) == staged(b"a\n1\n")


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", BY_NAME)
def test_only_the_first_rows_are_read_on_request(form: str, packing: str | None) -> None:
    staging = open_input(InputFile(lambda: [written(TEXTS[:3], form, packing)], InputFormat(), max_rows=1))

    assert [row for row, _ in read_staged(list(staging))] == [1]
    assert staging.total_rows == 1
