"""The text of rows objects, and how they are read ahead: in order, within bounds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import DeploymentError
from foundation.json_text import render_json
from row_batches.rows import s3
from row_batches.rows.records import FinishedRow, RowRecord, RowStatus
from row_batches.rows.rows_object import encode_rows, first_line, read_columns, split_answer
from row_batches.rows.s3 import S3RowStore
from row_batches.rows.store import RowRange, find_gaps
from tests.support.batches import KEYS
from tests.support.fakes import FakeObjectStore

TEXTS = st.text(alphabet=st.sampled_from('a",:\\{}hash\n\ré'), max_size=20)
ANSWERS: st.SearchStrategy[Any] = st.none() | TEXTS | st.dictionaries(TEXTS, TEXTS, max_size=3)


def encoded(first: int, rows: list[tuple[str, Any]], failed: frozenset[int] = frozenset()) -> bytes:
    """A rows object; the CSV text of a row, and its answer."""
    finished = []
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
            "cast_failures": {},
            "target_version": "1",
            "csv": text,
        }
        if row in failed:
            record |= {"status": RowStatus.FAILED, "error": "Boom", "failed_csv": text}
        finished.append(FinishedRow([], record, render_json(answer).encode()))
    return encode_rows(finished)


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

    read = read_columns(lines, start, start - 1)

    numbered = list(enumerate(rows, 1))[start - 1 :]
    assert read["csv"] == [text for _, (text, _) in numbered]
    assert len(read["status"]) == len(read["started_ms"]) == len(numbered)
    failures = [(row, text) for row, (text, _) in numbered if row in failed]
    assert [(failure["row"], failure["csv"]) for failure in read["failures"]] == failures


@given(answer=ANSWERS)
def test_hash_and_answer_of_a_line_are_found_without_parsing_it(answer: Any) -> None:
    line = encoded(7, [("a\n", answer)]).splitlines(keepends=True)[1]

    row_hash, text = split_answer(7, line)

    assert row_hash == "h"
    assert orjson.loads(text) == answer


def test_answers_follow_the_first_line_a_row_each() -> None:
    lines = encoded(7, [("a\n", {"b": "c\n"}), ("d", None)]).splitlines()

    assert lines[1:] == [b'{"row":7,"hash":"h","answer":{"b":"c\\n"}}', b'{"row":8,"hash":"h","answer":null}']


def test_rows_of_a_newer_form_are_refused_by_name() -> None:
    with pytest.raises(DeploymentError, match="form 3, by a newer release"):
        read_columns([b'{"schema_version": 3}'], 1, 0)


def make_store(batch_size: int = 100) -> tuple[S3RowStore, FakeObjectStore]:
    objects = FakeObjectStore()
    return S3RowStore(objects, KEYS, batch_size), objects


def test_objects_come_in_order_and_covered_ones_are_not_read() -> None:
    store, objects = make_store()
    for first, last in [(1, 5), (2, 3), (4, 8), (9, 9), (9, 12)]:
        objects.put(KEYS.rows_object(first, last), b"x\n")
    objects.reads.clear()

    assert [(rows.first, rows.last) for rows in store.read()] == [(1, 5), (4, 9), (9, 12)]
    assert KEYS.rows_object(2, 3) not in objects.reads


def test_small_neighbours_come_as_one() -> None:
    store, objects = make_store()
    count = s3.GROUP_OBJECTS + 2
    for row in range(1, count + 1):
        objects.put(KEYS.rows_object(row, row), b"%d\n" % row)

    found = list(store.read())

    assert [(rows.first, rows.last, rows.writes) for rows in found] == [
        (1, count - 2, count - 2),
        (count - 1, count, 2),
    ]
    assert found[0].position == KEYS.rows_object(count - 2, count - 2)


def test_no_more_is_read_ahead_than_the_bound_allows() -> None:
    store, objects = make_store()
    body = b"x" * (s3.MOST_BYTES_AHEAD // 4 - 1) + b"\n"
    for row in range(1, 21):
        objects.put(KEYS.rows_object(row, row), body)

    reader = store.read()
    next(reader)
    reader.close()

    assert len(objects.reads) <= 4


def test_letters_are_looked_up_only_when_a_row_has_failed() -> None:
    store, objects = make_store()
    listed: list[str] = []
    original = objects.list_objects

    def counted(prefix: str, start_after: str = "") -> Any:
        listed.append(prefix)
        return original(prefix, start_after)

    objects.list_objects = counted  # type: ignore[method-assign]
    objects.put(KEYS.rows_object(1, 1), encoded(1, [("a", None)]))
    for rows in store.read():
        rows.columns_from(1)
    assert listed == [KEYS.rows]

    objects.put(KEYS.rows_object(2, 2), encoded(2, [("a", None)], frozenset({2})))
    for rows in store.read():
        rows.columns_from(rows.first)
    assert listed == [KEYS.rows, KEYS.rows, KEYS.letters]


@given(ranges=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=10), total=st.integers(0, 30))
def test_gaps_are_exactly_the_rows_in_no_range(ranges: list[tuple[int, int]], total: int) -> None:
    listed = sorted((first, min(first + length, max(total, first))) for first, length in ranges if first <= total)
    covered = {row for first, last in listed for row in range(first, last + 1)}

    gaps = list(find_gaps((RowRange(*pair) for pair in listed), total))

    rows = [row for first, last in gaps for row in range(first, last + 1)]
    assert rows == [row for row in range(1, total + 1) if row not in covered]
