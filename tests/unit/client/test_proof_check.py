"""An output is compared with its proof: each kind of damage is found, and the row is named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_processor_client.proof_check import MOST_FINDINGS, Bytes, Checked, OutputCheck, Part, hashed_parts
from row_batches.files.csv_writer import render_header, render_row
from row_batches.rows.proof_rows import row_proof

FIRST = render_header(["id", "text"]).encode()
ROWS = [[str(number), f'text "{number}",\n' + "x" * (number % 7)] for number in range(1, 41)]


def lines_of(rows: Sequence[Sequence[str]]) -> list[bytes]:
    return [render_row(cells).encode() for cells in rows]


def proofs_of(rows: Sequence[Sequence[str]]) -> bytes:
    return "".join(row_proof(cells, b"null", render_row(cells)) for cells in rows).encode()


def chunks(text: bytes, size: int = 50) -> Iterator[bytes]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


def check(
    lines: Sequence[bytes], *, rows: Sequence[Sequence[str]] = ROWS, inputs: Sequence[Sequence[str]] | None = None
) -> Checked:
    """Compare an output of these lines with the proof of ``rows``."""
    return OutputCheck(
        len(rows),
        chunks(FIRST + b"".join(lines)),
        chunks(proofs_of(rows)),
        iter(rows if inputs is None else inputs),
        first_line=Part(len(FIRST), hashlib.sha256(FIRST).hexdigest()),
        original_columns=[0, 1],
    ).run()


def found(checked: Checked) -> list[str]:
    return list(map(str, checked.findings))


def test_an_output_that_is_as_it_was_written_agrees() -> None:
    checked = check(lines_of(ROWS))

    assert checked.findings == []
    assert (checked.rows, checked.compared, checked.unknown, checked.unchanged) == (40, 40, 0, True)


@pytest.mark.parametrize("row", [1, 2, 20, 39, 40])
def test_every_flipped_bit_of_a_row_is_found_and_names_the_row(row: int) -> None:
    lines = lines_of(ROWS)
    for place in range(len(lines[row - 1])):
        for bit in (1, 2, 32, 128):
            changed = bytearray(lines[row - 1])
            changed[place] ^= bit
            assert found(check([*lines[: row - 1], bytes(changed), *lines[row:]])) == [f"row {row}: it was changed"]


def test_every_flipped_byte_of_the_first_line_is_found() -> None:
    lines = lines_of(ROWS)
    for place in range(len(FIRST)):
        changed = bytearray(FIRST)
        changed[place] ^= 1
        checked = OutputCheck(
            len(ROWS),
            chunks(bytes(changed) + b"".join(lines)),
            chunks(proofs_of(ROWS)),
            None,
            first_line=Part(len(FIRST), hashlib.sha256(FIRST).hexdigest()),
            original_columns=[0, 1],
        ).run()
        assert found(checked) == ["the first line of the output, with the names of the columns, was changed"]


@pytest.mark.parametrize("row", [1, 2, 20, 40])
def test_a_removed_row_is_missing(row: int) -> None:
    lines = lines_of(ROWS)
    assert found(check(lines[: row - 1] + lines[row:])) == [f"row {row}: it is missing"]


@pytest.mark.parametrize("row", [1, 20, 40])
def test_a_doubled_row_is_there_twice(row: int) -> None:
    lines = lines_of(ROWS)
    said = f"row {row}: it is in the output twice, again after row {row}"
    assert found(check(lines[:row] + lines[row - 1 :])) == [said]


def test_a_row_that_is_repeated_elsewhere_is_there_twice() -> None:
    lines = lines_of(ROWS)
    assert found(check([*lines[:30], lines[4], *lines[30:]])) == [
        "row 5: it is in the output twice, again after row 30"
    ]


@pytest.mark.parametrize("row", [1, 20, 39])
def test_two_rows_that_changed_places_are_out_of_place(row: int) -> None:
    lines = lines_of(ROWS)
    lines[row - 1], lines[row] = lines[row], lines[row - 1]
    (finding,) = check(lines).findings
    assert finding.row in (row, row + 1)
    assert "not in its place" in finding.what


def test_two_rows_that_changed_places_over_a_distance_are_both_named() -> None:
    lines = lines_of(ROWS)
    lines[4], lines[29] = lines[29], lines[4]
    assert found(check(lines)) == ["row 5: row 30 is in its place", "row 30: row 5 is in its place"]


def test_an_added_line_and_a_longer_one_are_found() -> None:
    lines = lines_of(ROWS)
    added = [*lines[:7], b"new,line\n", *lines[7:]]
    assert found(check(added)) == ["row 7: after it, there is a line that no row has (9 bytes)"]
    longer = [*lines[:7], lines[7].replace(b"text", b"a longer text"), *lines[8:]]
    assert found(check(longer)) == ["row 8: it was changed"]
    assert found(check([*lines, b"new,line\n"])) == ["row 40: after it, there is a line that no row has (9 bytes)"]


def test_an_output_that_ends_early_lacks_its_rows() -> None:
    assert found(check(lines_of(ROWS)[:39])) == ["row 40: it is missing"]
    assert found(check(lines_of(ROWS)[:38])) == ["row 39: it and the 1 rows after it are missing"]


def test_an_input_with_another_row_is_found() -> None:
    other = [*ROWS[:9], ["10", "other"], *ROWS[10:]]
    assert found(check(lines_of(ROWS), inputs=other)) == ["row 10: the input's row is not the one that the run read"]
    assert found(check(lines_of(ROWS), inputs=ROWS[:39])) == ["row 40: the input has no such row"]
    assert found(check(lines_of(ROWS), inputs=[*ROWS, ["41", ""]])) == ["the input has more than 40 rows"]


def test_an_output_that_was_written_with_other_cells_than_the_input_is_found() -> None:
    """The proof agrees with the output, but the run itself changed a cell."""
    line = render_row(["1", "changed"])
    proofs = row_proof(["1", "text"], b"null", line).encode()
    checked = OutputCheck(
        1,
        [FIRST + line.encode()],
        [proofs],
        iter([["1", "text"]]),
        first_line=Part(len(FIRST), hashlib.sha256(FIRST).hexdigest()),
        original_columns=[0, 1],
    ).run()
    assert found(checked) == ["row 1: the output has other cells than the input"]


def test_another_output_is_not_searched_through() -> None:
    rows = [[str(number), "a text of a row"] for number in range(2_000)]
    changed = [line.replace(b"\n", b"\r\n") for line in lines_of(rows)]
    assert found(check(changed, rows=rows)) == ["row 1: from here on, the output is another one"]
    every_second = [line.upper() if place % 2 else line for place, line in enumerate(lines_of(rows))]
    assert MOST_FINDINGS <= len(check(every_second, rows=rows).findings) <= 2 * MOST_FINDINGS
    strange = check([b"quite another file"], rows=rows)
    assert found(strange)[0].startswith("row 1:")


@given(st.lists(st.lists(st.text('ab",\n\r', max_size=4), min_size=2, max_size=2), min_size=2, max_size=12), st.data())
def test_whatever_the_cells_are_a_damage_is_found(rows: list[list[str]], data: st.DataObject) -> None:
    lines = lines_of(rows)
    assert check(lines, rows=rows).findings == []
    row = data.draw(st.integers(0, len(rows) - 1))
    match data.draw(st.sampled_from(["flip", "remove", "double"])):
        case "flip":
            changed = bytearray(lines[row])
            changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1
            damaged = [*lines[:row], bytes(changed), *lines[row + 1 :]]
        case "remove":
            damaged = lines[:row] + lines[row + 1 :]
        case _:
            damaged = lines[: row + 1] + lines[row:]
    assert check(damaged, rows=rows).findings != []


def test_the_bytes_of_parts_are_compared_whatever_the_chunks() -> None:
    text = bytes(range(256)) * 4
    parts = [Part(len(part), hashlib.sha256(part).hexdigest()) for part in (text[:500], text[500:])]
    for size in (1, 7, 500, 1024):
        wrong: list[int] = []
        assert b"".join(hashed_parts(chunks(text, size), parts, lambda: wrong.append(1))) == text  # noqa: B023
        assert wrong == []
    for damaged in (text[:-1], text + b"x", text[:600] + b"x" + text[601:]):
        wrong = []
        assert b"".join(hashed_parts(chunks(damaged, 100), parts, lambda: wrong.append(1))) == damaged  # noqa: B023
        assert wrong == [1]


def test_bytes_can_be_looked_at_before_they_are_read_on() -> None:
    stream = Bytes([b"ab", b"cd", b"e"])
    assert (stream.peek(3), stream.peek(1)) == (b"abc", b"a")
    stream.skip(2)
    assert stream.peek(10) == b"cde"
    stream.skip(3)
    assert stream.peek(1) == b""
