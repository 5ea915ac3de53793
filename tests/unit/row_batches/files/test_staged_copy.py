"""Reading the staged copy: all rows, or some."""

from __future__ import annotations

import pytest

from row_batches.files.csv_reader import Staging
from row_batches.files.csv_writer import render_header, render_row
from row_batches.files.staged_copy import parse_staged, read_staged, staged_lines


def test_a_staged_copy_gives_the_rows_of_some_ranges() -> None:
    rows = [[str(i), f'\n"{i}","x\\'] for i in range(1, 5001)]
    staged = b"".join(Staging([(render_header(["a", "b"]) + "".join(map(render_row, rows))).encode()]))

    for size in (10, 1000, 1 << 20):
        got = list(
            read_staged([staged[i : i + size] for i in range(0, len(staged), size)], [(1, 2), (777, 777), (4999, 6000)])
        )
        assert got == [(i, rows[i - 1]) for i in (1, 2, 777, 4999, 5000)]
    assert list(read_staged([staged], [])) == []


def test_staged_lines_are_the_copy_s_own_bytes() -> None:
    staged = b"".join(Staging([b'a\n"\\\n""x"\ny\n']))

    assert staged == b'r,c1\n"1","\\\\\\\\\n""x"\n"2","y"\n'
    assert list(staged_lines([staged])) == [(1, b'"1","\\\\\\\\\n""x"\n'), (2, b'"2","y"\n')]
    assert parse_staged(b'"1","\\\\\\\\\n""x"\n') == ['\\\n"x']


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_copy_that_lacks_rows_is_read_with_the_numbers_that_it_has(size: int) -> None:
    copy = b'r,c1\n"2","a ""2"",\n""3"",b"\n"17","c"\n"18","d\\\\\\\\"\n'
    chunks = [copy[at : at + size] for at in range(0, len(copy), size)]

    assert list(read_staged(chunks)) == [(2, ['a "2",\n"3",b']), (17, ["c"]), (18, ["d\\"])]
    assert list(read_staged([b"r,c1\n"])) == []
