"""Rows objects read ahead, in order, without their answers."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from row_batches.rows import rows_reader
from row_batches.rows.records import RowRecord, RowStatus
from row_batches.rows.rows_object import encode_answer, encode_rows, first_line
from row_batches.rows.rows_reader import FinishedRows, find_gaps, read_finished_rows
from tests.support.batches import KEYS
from tests.support.fakes import FakeObjectStore

TEXTS = st.text(alphabet=st.sampled_from('a",:\\{}hash\n\ré'), max_size=20)
ANSWERS: st.SearchStrategy[Any] = st.none() | TEXTS | st.dictionaries(TEXTS, TEXTS, max_size=3)


def encoded(first: int, rows: list[tuple[str, Any]], failed: frozenset[int] = frozenset()) -> bytes:
    """A rows object; the CSV text of a row, and its answer."""
    records: list[RowRecord] = []
    for row, (text, answer) in enumerate(rows, first):
        record: RowRecord = {
            "row": row,
            "status": RowStatus.SUCCESS,
            "hash": "h",
            "attempts": 1,
            "throttles": 0,
            "worker_ms": 0,
            "worker_calls": 0,
            "started_ms": 0,
            "duration_ms": 1,
            "cast_failures": 0,
            "csv": text,
            "answer": answer,
        }
        if row in failed:
            record |= {"status": RowStatus.FAILED, "error": "Boom", "failed_csv": text}
        records.append(record)
    return encode_rows(records, [encode_answer(record) for record in records])


@given(
    objects=st.lists(st.lists(st.tuples(TEXTS, ANSWERS), min_size=1, max_size=4), min_size=1, max_size=3),
    start=st.integers(1, 4),
    failed=st.frozensets(st.integers(1, 12)),
)
def test_columns_hold_the_rows_from_one_on_whatever_the_texts_hold(
    objects: list[list[tuple[str, Any]]], start: int, failed: frozenset[int]
) -> None:
    start = min(start, len(objects[0]))
    rows = [row for rows in objects for row in rows]
    lines, first = [], 1
    for part in objects:
        lines.append(first_line(encoded(first, part, failed)))
        first += len(part)

    read = FinishedRows("key", 1, len(rows), lines).columns_from(start)

    numbered = list(enumerate(rows, 1))[start - 1 :]
    assert read["csv"] == [text for _, (text, _) in numbered]
    assert len(read["status"]) == len(read["started_ms"]) == len(numbered)
    failures = [(row, text) for row, (text, _) in numbered if row in failed]
    assert [(failure["row"], failure["csv"]) for failure in read["failures"]] == failures


def test_answers_follow_the_first_line_a_row_each() -> None:
    lines = encoded(7, [("a\n", {"b": "c\n"}), ("d", None)]).splitlines()

    assert lines[1:] == [b'{"row":7,"hash":"h","answer":{"b":"c\\n"}}', b'{"row":8,"hash":"h","answer":null}']


def test_objects_come_in_order_and_covered_ones_are_not_read() -> None:
    store = FakeObjectStore()
    for first, last in [(1, 5), (2, 3), (4, 8), (9, 9), (9, 12)]:
        store.put(KEYS.rows_object(first, last), b"x\n")
    store.reads.clear()

    found = [(rows.first, rows.last) for rows in read_finished_rows(store, KEYS, 1)]

    assert found == [(1, 5), (4, 9), (9, 12)]
    assert KEYS.rows_object(2, 3) not in store.reads


def test_small_neighbours_come_as_one() -> None:
    store = FakeObjectStore()
    count = rows_reader.GROUP_OBJECTS + 2
    for row in range(1, count + 1):
        store.put(KEYS.rows_object(row, row), b"%d\n" % row)

    found = list(read_finished_rows(store, KEYS, 1))

    assert [(rows.first, rows.last, len(rows.lines)) for rows in found] == [
        (1, count - 2, count - 2),
        (count - 1, count, 2),
    ]
    assert [line for rows in found for line in rows.lines] == [b"%d" % row for row in range(1, count + 1)]
    assert found[0].key == KEYS.rows_object(count - 2, count - 2)


def test_no_more_is_read_ahead_than_the_bound_allows() -> None:
    store = FakeObjectStore()
    size = rows_reader.MOST_BYTES_AHEAD // 4
    body = b"x" * (size - 1) + b"\n"
    for row in range(1, 21):
        store.put(KEYS.rows_object(row, row), body)

    reader = read_finished_rows(store, KEYS, 1)
    next(reader)
    reader.close()

    assert len(store.reads) <= 4


@given(ranges=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=10), total=st.integers(0, 30))
def test_gaps_are_exactly_the_rows_in_no_range(ranges: list[tuple[int, int]], total: int) -> None:
    listed = sorted((first, min(first + length, max(total, first))) for first, length in ranges if first <= total)
    covered = {row for first, last in listed for row in range(first, last + 1)}

    gaps = list(find_gaps(iter(listed), total))

    rows = [row for first, last in gaps for row in range(first, last + 1)]
    assert rows == [row for row in range(1, total + 1) if row not in covered]
