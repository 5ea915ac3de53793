"""The lake on S3 Tables of the local AWS: Iceberg through DuckDB, with everything the tables are used for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from threading import Barrier, Thread
from typing import Any

import duckdb
import pytest

from batch_processor_client.lake import seed
from bedrock_batches.select.duckdb_ import Lake, TableCounts, aws_lake
from bedrock_batches.select.selection import Criteria
from bedrock_batches.sync.duckdb_ import Merged
from bedrock_batches.sync.failed_items import FAILED_PREFIX
from foundation.errors import DeploymentError
from tests.support.content import image, stream_record, update
from tests.support.lake import AGENCIES, REPOSITORY, VIOLATIONS, Slept, insert, rows_of
from tests.support.local_aws import LocalAws

pytestmark = pytest.mark.local_aws

WRITERS = 3


@pytest.fixture(scope="module")
def local_aws() -> Iterator[LocalAws]:
    with LocalAws() as server:
        yield server


def lake_on(server: LocalAws, slept: Slept | None = None) -> Lake:
    buckets = server.client("s3tables").list_table_buckets()["tableBuckets"]
    return aws_lake(
        buckets[0]["arn"],
        "silver",
        AGENCIES,
        sleep=slept or Slept(),
        session=server.session(),
        endpoint_url=server.endpoint_url,
    )


@pytest.fixture(scope="module")
def seeded(local_aws: LocalAws) -> Lake:
    """A lake with the made-up violations."""
    tables = local_aws.client("s3tables")
    arn = tables.create_table_bucket(name="lake")["arn"]
    tables.create_namespace(tableBucketARN=arn, namespace=["silver"])
    lake = lake_on(local_aws)
    seed(lake, VIOLATIONS)
    return lake


def test_the_made_up_violations_are_there_and_loading_them_again_adds_none(seeded: Lake) -> None:
    assert sum(one.inserted for one in seed(seeded, VIOLATIONS).values()) == 0
    assert sum(one.records for one in seeded.counts().values()) == sum(
        1 for rows in rows_of(seeded).values() for _ in rows
    )


def test_texts_lie_in_small_row_groups_so_that_reading_them_takes_little_memory(seeded: Lake) -> None:
    with seeded.connected() as connection:
        assert seeded.make_table(connection, "wide") == seeded.make_table(connection, "wide")
        connection.execute(
            "INSERT INTO lake.silver.wide (violation_id, raw_description) "
            "SELECT i::VARCHAR, repeat(md5(i::VARCHAR), 180) FROM range(12000) AS t(i)"
        )
        files = connection.execute("SELECT file_path FROM iceberg_metadata(lake.silver.wide)").fetchall()
        sizes = connection.execute(
            "SELECT total_uncompressed_size FROM parquet_metadata($files) WHERE path_in_schema = 'raw_description'",
            {"files": [path for (path,) in files]},
        ).fetchall()
    assert len(sizes) > 1
    assert max(size for (size,) in sizes) < 32 * 1024 * 1024


def test_a_selection_is_that_of_plain_sql_over_the_csv(seeded: Lake) -> None:
    criteria = Criteria({"agencies": ["OSHA"], "minFineAmount": 50_000}, date(2026, 10, 1))
    with seeded.select(criteria) as selection:
        chosen = {row.violation_id for _, row in selection.records}
    plain = f"SELECT violation_id FROM read_csv('{VIOLATIONS}') WHERE agency = 'osha' AND fine_amount >= 50000"
    assert chosen == {row[0] for row in duckdb.sql(plain).fetchall()}


def test_content_changes_its_rows_and_no_other(seeded: Lake) -> None:
    before = rows_of(seeded)
    assert seeded.merge("faa", [update("FAA-000001"), update("FAA-9")]) == Merged(1, 0, ("FAA-9",))
    after = rows_of(seeded)
    changed = [(a, x[0]) for a in AGENCIES for x, y in zip(before[a], after[a], strict=True) if x != y]
    assert changed == [("faa", "FAA-000001")]
    assert seeded.merge("faa", [update("FAA-000001", hours=-1, title="old")]) == Merged(0, 1, ())


class Meeting(Lake):
    """Its first commit waits for ``meet``."""

    meet: Callable[[], object]

    @contextmanager
    def connected(self) -> Iterator[Any]:
        with super().connected() as connection:
            yield _Connection(connection, self)


class _Connection:
    def __init__(self, connection: duckdb.DuckDBPyConnection, lake: Meeting) -> None:
        self._connection = connection
        self._lake = lake

    def execute(self, sql: str, parameters: object = None) -> Any:
        if sql == "COMMIT":
            self._lake.meet()
            self._lake.meet = lambda: None
        return self._connection.execute(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_an_id_that_two_rows_share_is_written_to_neither(seeded: Lake) -> None:
    with seeded.connected() as connection:
        insert(connection, [{"violation_id": "FAA-000002", "agency": "faa"}])
    verified = update("FAA-000003", agency="faa", is_verified=True)
    assert seeded.merge("faa", [update("FAA-000002"), verified]) == Merged(1, 0, repeated=("FAA-000002",))
    assert seeded.merge("faa", [update("FAA-000003", hours=1)]) == Merged(0, 0, verified=("FAA-000003",))


def test_writers_at_the_same_time_lose_nothing(local_aws: LocalAws, seeded: Lake) -> None:
    """Without the lease: each commit but the first meets the catalog's 409 and is repeated."""
    barrier, slept = Barrier(WRITERS, timeout=120), Slept()
    ids = [[f"EPA-{number:06d}" for number in range(writer + 1, 41, WRITERS)] for writer in range(WRITERS)]
    merged: list[Merged] = []

    def write(writer: int) -> None:
        lake = Meeting(seeded.location, lake_on(local_aws)._attach, sleep=slept)
        lake.meet = barrier.wait
        merged.append(lake.merge("epa", [update(violation_id) for violation_id in ids[writer]]))

    threads = [Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.updated for one in merged) == 40
    assert seeded.counts()["epa"] == TableCounts(240, 40)
    assert len(slept.seconds) >= WRITERS - 1


def test_without_the_right_the_error_names_the_role(local_aws: LocalAws, seeded: Lake) -> None:
    lake = aws_lake(
        seeded.location.table_bucket_arn,
        "silver",
        AGENCIES,
        session=local_aws.session("AKIAUNKNOWN", "wrong"),
        endpoint_url=local_aws.endpoint_url,
    )
    with pytest.raises(DeploymentError, match="role of this function"):
        lake.counts()


def test_the_function_merges_a_batch_keeps_what_it_cannot_and_replays_it(local_aws: LocalAws, seeded: Lake) -> None:
    # Given the function's table and bucket, and content of a violation that is not in the lake yet
    dynamodb = local_aws.client("dynamodb")
    for table in ("jobs", "violations"):
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
        )
    storage = local_aws.client("s3")
    storage.create_bucket(Bucket="data")
    contents = [update("FRA-000001", agency="FRA"), update("FRA-9", agency="fra")]
    for content in contents:
        dynamodb.put_item(TableName="violations", Item=image(content))
    records = [stream_record(content, place) for place, content in enumerate(contents, 5)]
    # When its batch comes
    merged = call(local_aws, seeded, {"Records": records})
    # Then the one is merged and the other kept
    assert (merged["updated"], merged["failed"]) == (1, 1)
    assert merged["failed_key"].startswith(FAILED_PREFIX)
    assert merged["failed_key"].endswith("/5-6.jsonl")
    # And when the violation is loaded, a replay merges it
    with seeded.connected() as connection:
        insert(connection, [{"violation_id": "FRA-9", "agency": "fra"}])
    replayed = call(local_aws, seeded, {"replay": merged["failed_key"]})
    assert (replayed["updated"], replayed["failed"]) == (1, 0)
    assert storage.list_objects_v2(Bucket="data").get("Contents", []) == []
    assert seeded.counts()["fra"].with_content == 2
    # And content that no record of the stream brought is found
    dynamodb.put_item(TableName="violations", Item=image(update("FRA-000002", agency="fra")))
    compared = call(local_aws, seeded, {"compare": ""})
    assert (compared["updated"], compared["unchanged"], compared["cursor"]) == (1, 2, "")


def call(server: LocalAws, lake: Lake, event: dict[str, Any]) -> dict[str, Any]:
    """The handler's answer, in a process with the variables of the function."""
    program = (
        "import json, sys, types; from functions.bedrock_sync.handler import handler; "
        "context = types.SimpleNamespace(function_name='sync', aws_request_id='request', "
        "get_remaining_time_in_millis=lambda: 120000); "
        "print(json.dumps(handler(json.load(sys.stdin), context)))"
    )
    variables = {
        "S3_TABLE_BUCKET_ARN": lake.location.table_bucket_arn,
        "LAKE_NAMESPACE": "silver",
        "AGENCIES": json.dumps(AGENCIES),
        "LAKE_MEMORY_MB": "256",
        "DATA_BUCKET": "data",
        "BATCH_JOBS_TABLE": "jobs",
        "VIOLATIONS_TABLE": "violations",
        "METRICS_NAMESPACE": "BatchProcessor",
        "POWERTOOLS_SERVICE_NAME": "bedrock-batches",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(event),
        env={**os.environ, **server.environment(), **variables},
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
