"""The lake on S3 Tables of the local AWS: Iceberg through DuckDB, with everything the tables are used for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from threading import Barrier, Thread

import duckdb
import pytest

from batch_processor.adapters.bedrock.lake import Lake, Merged, TableCounts, aws_lake
from batch_processor.domain.bedrock.selection import Criteria
from batch_processor.domain.errors import DeploymentError
from tests.support.content import update
from tests.support.lake import AGENCIES, VIOLATIONS, Filters, Slept, rows_of
from tests.support.local_aws import LocalAws
from tools.seed_lake import seed

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


def test_a_selection_is_that_of_plain_sql_over_the_csv(seeded: Lake) -> None:
    criteria = Criteria(Filters(agencies=["OSHA"], min_fine_amount=50_000), date(2026, 10, 1))
    with seeded.select(criteria) as selection:
        chosen = {row.violation_id for row in selection.records}
    plain = f"SELECT violation_id FROM read_csv('{VIOLATIONS}') WHERE agency = 'osha' AND fine_amount >= 50000"
    assert chosen == {row[0] for row in duckdb.sql(plain).fetchall()}


def test_content_changes_its_rows_and_no_other(seeded: Lake) -> None:
    before = rows_of(seeded)
    assert seeded.merge("faa", [update("FAA-000001"), update("FAA-9")]) == Merged(1, 0, ("FAA-9",))
    after = rows_of(seeded)
    changed = [(a, x[0]) for a in AGENCIES for x, y in zip(before[a], after[a], strict=True) if x != y]
    assert changed == [("faa", "FAA-000001")]
    assert seeded.merge("faa", [update("FAA-000001", hours=-1, title="old")]) == Merged(0, 1, ())


def test_writers_at_the_same_time_lose_nothing(local_aws: LocalAws, seeded: Lake) -> None:
    """Without the lease: each commit but the first meets the catalog's 409 and is repeated."""
    barrier, slept = Barrier(WRITERS), Slept()
    ids = [[f"EPA-{number:06d}" for number in range(writer + 1, 41, WRITERS)] for writer in range(WRITERS)]
    merged: list[Merged] = []

    def write(writer: int) -> None:
        lake = lake_on(local_aws, slept)
        barrier.wait()
        merged.append(lake.merge("epa", [update(violation_id) for violation_id in ids[writer]]))

    threads = [Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.updated for one in merged) == 40
    assert seeded.counts()["epa"] == TableCounts(240, 40)
    assert slept.seconds, "no commit met another"


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
