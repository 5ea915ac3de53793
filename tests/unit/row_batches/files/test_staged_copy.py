"""Reading the staged copy: all rows, or some."""

from __future__ import annotations

from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.files.csv_reader import Staging
from row_batches.files.csv_writer import render_header, render_row
from row_batches.files.staged_copy import (
    parse_staged,
    picked_lines,
    read_staged,
    staged_cells,
    staged_header,
    staged_lines,
)


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


@given(
    st.lists(st.tuples(st.integers(1, 3), st.text(alphabet='a1"\n,\\', max_size=8)), min_size=1, max_size=20),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
)
def test_picked_lines_are_those_of_the_copy_with_their_places(
    rows: list[tuple[int, str]], size: int, random: Random
) -> None:
    numbers = list(accumulate(step for step, _ in rows))
    lines = {
        row: f'"{row}",{staged_cells([cell, ""])}\n'.encode() for row, (_, cell) in zip(numbers, rows, strict=True)
    }
    copy = staged_header(2) + b"".join(lines.values())
    wanted = sorted(random.sample(numbers, random.randint(0, len(numbers))))

    chunks = [copy[at : at + size] for at in range(0, len(copy), size)]
    picked = list(picked_lines(chunks, wanted))

    assert [(row, line) for row, _, line in picked] == [(row, lines[row]) for row in wanted]
    assert all(copy[begin : begin + len(line)] == line for _, begin, line in picked)
    for row, begin, line in picked:
        assert next(picked_lines([copy[begin - 1 :]], [row])) == (row, 1, line)


def test_a_row_that_the_copy_lacks_ends_the_picking() -> None:
    copy = [staged_header(1), b'"1","a"\n"3","c"\n']
    assert [row for row, _, _ in picked_lines(copy, [1, 2, 3])] == [1]
