"""What every store of finished rows does: the same assertions for the one in memory, for S3 and for DynamoDB."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pytest

from foundation.aws.s3 import S3ObjectStore
from row_batches.document.plan import Keys, Storage, StorageMode
from row_batches.rows.partitions import batch_ids_of
from row_batches.rows.records import FinishedRow, KeptFailure, RowRecord, RowStatus, details_of
from row_batches.rows.s3 import S3RowStore
from row_batches.rows.store import RowStore, find_gaps
from row_batches.rows.stores import RowStores
from tests.support.aws_resources import unique
from tests.support.fakes import FakeClock, FakeObjectStore, FakeRowStore
from tests.support.local_aws import LocalAws
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_results_table

REGION = "us-east-1"
BATCH_SIZE = 10
ONE_PARTITION = Storage(mode=StorageMode.DYNAMODB, batch_ids=batch_ids_of("echo", "run-1", 1))
PARTITIONS = Storage(mode=StorageMode.DYNAMODB, batch_ids=batch_ids_of("echo", "run-1", 3))
COMPRESSED = PARTITIONS.model_copy(update={"compress": True})


def store_id(param: Any) -> str:
    if isinstance(param, str):
        return param
    storage, world = param
    partitions = f", {len(storage.batch_ids)} partition keys" if storage.batch_ids else ""
    return f"{storage.mode}{partitions}{', compressed' if storage.compress else ''} on {world}"


def opened_store(make_client: Any, storage: Storage) -> RowStore:
    """A store in a bucket and a table of its own."""
    s3, dynamodb = make_client("s3"), make_client("dynamodb")
    bucket = unique("rows")
    s3.create_bucket(Bucket=bucket)
    table = make_results_table(dynamodb) if storage.mode is StorageMode.DYNAMODB else ""
    stores = RowStores(S3ObjectStore(s3, bucket), FakeClock(), lambda: (dynamodb, table))
    return stores.open("run-1", storage, batch_size=BATCH_SIZE, columns=["n"])


STORES = [
    "fake",
    "objects in memory",
    *[(storage, "moto") for storage in (Storage(), ONE_PARTITION, PARTITIONS, COMPRESSED)],
    *[pytest.param((storage, "local_aws"), marks=pytest.mark.local_aws) for storage in (Storage(), PARTITIONS)],
]


@pytest.fixture(scope="module")
def local_aws() -> Iterator[Any]:
    with LocalAws() as aws:
        yield aws.client


@pytest.fixture
def moto() -> Iterator[Any]:
    with moto_aws(REGION):
        yield boto3.client


@pytest.fixture(params=STORES, ids=store_id)
def store(request: pytest.FixtureRequest) -> RowStore:
    if request.param == "fake":
        return FakeRowStore()
    if request.param == "objects in memory":
        return S3RowStore(FakeObjectStore(), Keys("run-1"), BATCH_SIZE)
    storage, world = request.param
    return opened_store(request.getfixturevalue(world), storage)


def row_of(row: int, *, failed: bool = False, said: str = "x", version: str = "1") -> FinishedRow:
    record: RowRecord = {
        "row": row,
        "status": RowStatus.FAILED if failed else RowStatus.SUCCESS,
        "hash": f"hash of {row}",
        "attempts": 1,
        "throttles": 0,
        "started_ms": 1000,
        "duration_ms": row,
        "worker_ms": 0,
        "worker_calls": 0,
        "cast_failures": {},
        "target_version": version,
        "csv": f"{row},{said}\n",
    }
    if failed:
        record["error"], record["failed_csv"] = "Boom: it broke", f"{row},Boom: it broke\n"
        record["error_name"] = "Boom"
    return FinishedRow([str(row)], record, json.dumps({"said": said}).encode())


def rows_of(first: int, last: int, failed: Sequence[int] = (), **more: Any) -> list[FinishedRow]:
    return [row_of(row, failed=row in failed, **more) for row in range(first, last + 1)]


def lines_of(store: RowStore, row: int = 1, position: str = "") -> list[str]:
    """The output's lines, as an aggregator takes them."""
    lines: list[str] = []
    for rows in store.read(row, position):
        lines += rows.columns_from(max(row, rows.first))["csv"]
        row = rows.last + 1
    return lines


def test_rows_are_finished_once_they_are_written_whatever_lies_between_them(store: RowStore) -> None:
    assert list(store.finished()) == []

    store.write([row_of(2), row_of(3), row_of(7)])

    assert list(store.finished()) == [(2, 3), (7, 7)]
    assert list(find_gaps(store.finished(), 8)) == [(1, 1), (4, 6), (8, 8)]


def test_only_the_rows_between_two_are_asked_for(store: RowStore) -> None:
    store.write(rows_of(1, 9))
    store.write(rows_of(11, 20))

    assert list(store.finished(5, 12)) == [(5, 9), (11, 12)]
    assert list(store.finished(10, 10)) == []
    assert any(store.finished(9, 9))


def test_rows_come_in_order_once_each_though_they_were_written_twice_and_late(store: RowStore) -> None:
    store.write(rows_of(5, 9, said="first"))
    store.write(rows_of(1, 2, said="first"))
    store.write(rows_of(2, 6, said="second"))
    store.write(rows_of(3, 4, said="third"))

    lines = lines_of(store)
    written = {1: {"first"}, 2: {"first", "second"}, 3: {"second", "third"}, 4: {"second", "third"}}
    for row, line in enumerate(lines, 1):
        number, said = line.strip().split(",")
        assert (int(number), {said} <= written.get(row, {"first", "second"})) == (row, True)
    assert len(lines) == 9
    assert lines_of(store, 6) == lines[5:], "the same one of two, whoever reads"
    assert [json.dumps(row.answer) for row in store.answers()] == [
        json.dumps({"said": line.strip().split(",")[1]}) for line in lines
    ]


def test_reading_goes_on_at_a_position(store: RowStore) -> None:
    for row in range(1, 41, 2):  # with gaps, so that none are read as one
        store.write([row_of(row)])
    reading = store.read()
    seen = [next(reading) for _ in range(7)]
    reading.close()

    assert [rows.first for rows in seen] == [1, 3, 5, 7, 9, 11, 13]
    assert lines_of(store, 14, seen[-1].position) == [f"{row},x\n" for row in range(15, 41, 2)]


def test_every_write_is_counted(store: RowStore) -> None:
    for row in (1, 2, 3, 5):
        store.write([row_of(row)])

    assert sum(rows.writes for rows in store.read()) == 4


def test_columns_hold_what_was_kept_of_each_row(store: RowStore) -> None:
    noted = row_of(1, version="3")
    noted.record["notes"], noted.record["usage"] = {"odd": 1}, {"": {"input_tokens": 5}}
    noted.record["cast_failures"] = {"score": '"yes"'}
    noted.record["missing"], noted.record["answer_keys"] = ["mood"], {"$": ["sentiment"]}
    noted.record["off_protocol"] = "null"
    noted.record["extraction"] = '{"methods":{"a":"direct"},"missing":[]}'
    store.write([noted, row_of(2, failed=True)])

    (rows,) = store.read()
    columns = rows.columns_from(1)

    assert columns["status"] == ["SUCCESS", "FAILED"]
    assert columns["duration_ms"] == [1, 2]
    assert columns["target_version"] == ["3", "1"]
    assert columns["failures"] == [
        {
            "row": 2,
            "status": "FAILED",
            "error": "Boom: it broke",
            "error_name": "Boom",
            "csv": "2,Boom: it broke\n",
            "letter_sent": False,
        }
    ]
    assert columns["cast_failures"] == [1, 0]
    assert columns["extraction"] == ['{"methods":{"a":"direct"},"missing":[]}', ""]
    assert columns["details"] == details_of([noted.record])


def test_a_failed_row_knows_whether_its_letter_is_sent(store: RowStore) -> None:
    first, second, third = rows_of(1, 4, [2, 3]), rows_of(5, 8, [6]), [*rows_of(10, 11), *rows_of(14, 15, [15])]
    for rows in (first, second, third):
        store.write(rows)
    store.mark_letters_sent(first)
    store.mark_letters_sent(third)

    def letters(row: int) -> dict[int, bool]:
        failures = [
            failure for rows in store.read(row) for failure in rows.columns_from(max(row, rows.first))["failures"]
        ]
        return {failure["row"]: failure["letter_sent"] for failure in failures}

    assert letters(1) == {2: True, 3: True, 6: False, 15: True}
    assert letters(3) == {3: True, 6: False, 15: True}


def test_answers_come_with_every_row_once_in_order(store: RowStore) -> None:
    store.write(rows_of(3, 5, [4], said="late"))
    store.write(rows_of(1, 3, said="late"))

    answered = list(store.answers())

    assert [row.row for row in answered] == [1, 2, 3, 4, 5]
    assert [row.answer for row in answered] == [{"said": "late"}] * 3 + [None, {"said": "late"}]
    failed = answered[3]
    assert (failed.status, failed.error_name, failed.error) == (RowStatus.FAILED, "Boom", "Boom: it broke")
    assert (answered[4].started_ms, answered[4].ended_ms) == (1000, 1005)
    assert [list(store.answers(row)) for row in (2, 4, 6)] == [answered[1:], answered[3:], []]


def test_the_failures_of_rows_are_found_by_their_numbers(store: RowStore) -> None:
    store.write(rows_of(1, 4, [2, 3]))
    store.write(rows_of(7, 8, [7]))

    found = list(store.failures([1, 2, 5, 7, 8]))

    assert found == [KeptFailure(row, RowStatus.FAILED, "Boom", "Boom: it broke") for row in (2, 7)]
    assert list(store.failures([])) == []


def test_answers_of_successful_rows_are_kept_as_they_came_with_hash_and_version(store: RowStore) -> None:
    text = 'a "quoted" \\ text with ","answer": in it\u2028'
    store.write([row_of(1), row_of(2, failed=True), row_of(3, said=text, version="7"), row_of(4)])
    store.write(rows_of(12, 14))

    kept = list(store.kept({2, 3, 5, 13}))

    assert [(answer.row, answer.hash, answer.target_version) for answer in kept] == [
        (3, "hash of 3", "7"),
        (13, "hash of 13", "1"),
    ]
    assert json.loads(kept[0].answer) == {"said": text}
    assert list(store.kept(())) == []


def test_failed_rows_are_counted_however_often_the_same_count_is_repeated(store: RowStore) -> None:
    assert store.failed() == 0

    store.count_failed([3, 5])
    store.count_failed([3, 5])
    store.count_failed([11])

    assert store.failed() == 3


def test_where_a_child_has_one_row_each_is_found_by_its_number() -> None:
    objects = FakeObjectStore()
    store = S3RowStore(objects, Keys("run-1"), 1)
    store.write([row_of(4)])

    assert list(store.finished(4, 4)) == [(4, 4)]
    assert list(store.finished(5, 5)) == []
    assert [kept.row for kept in store.kept({3, 4})] == [4]


def test_a_row_that_failed_for_its_columns_alone_has_its_answer(store: RowStore) -> None:
    unmatched = row_of(2, failed=True, said="y")
    unmatched.record["missing"] = ["mood"]
    store.write([row_of(1, failed=True), unmatched])

    assert [(row.answer, row.unmatched) for row in store.answers()] == [(None, False), ({"said": "y"}, True)]


def test_rows_are_listed_by_their_status_from_a_row_on(store: RowStore) -> None:
    store.write(rows_of(1, 9, [2, 5, 9]))
    store.write(rows_of(101, 240, [150, 230]))

    failed = list(store.listed({RowStatus.FAILED, RowStatus.TIMEOUT}, 3))

    assert [(row.row, row.status, row.error) for row in failed] == [
        (row, RowStatus.FAILED, "Boom: it broke") for row in (5, 9, 150, 230)
    ]
    assert failed[0].csv == "5,x\n"
    assert [row.row for row in store.listed({RowStatus.SUCCESS}, 8)] == [8, *(set(range(101, 241)) - {150, 230})]
    assert [row.row for row in store.listed({*RowStatus}, 239)] == [239, 240]


def test_many_rows_written_in_any_order_come_in_theirs(store: RowStore) -> None:
    for first in (901, 1, 401, 61, 250):
        store.write(rows_of(first, first + 30, [first + 7]))

    assert lines_of(store) == [f"{row},x\n" for first in (1, 61, 250, 401, 901) for row in range(first, first + 31)]
    assert [row.row for row in store.answers()] == [int(line.split(",")[0]) for line in lines_of(store)]
    assert list(find_gaps(store.finished(), 940))[:2] == [(32, 60), (92, 249)]
