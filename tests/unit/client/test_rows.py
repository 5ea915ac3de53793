"""Listing the rows of a run, on moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner

from batch_processor_client import cli
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.rows import list_rows
from foundation.aws.s3 import S3ObjectStore
from row_batches.document.plan import Storage, StorageMode
from row_batches.rows.partitions import batch_ids_of
from row_batches.rows.records import RowStatus
from row_batches.rows.stores import RowStores
from row_batches.run.batch import Batch
from row_batches.targets.protocol import Outcome
from tests.support.batches import EXECUTION, make_plan
from tests.support.fakes import FakeClock
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_results_table
from tests.unit.client.fakes import OUTPUTS

CELLS = [[str(row), f"text {row}"] for row in range(1, 13)]
FAILED = (3, 8, 9)
MODES = (
    Storage(),
    Storage(mode=StorageMode.DYNAMODB, batch_ids=batch_ids_of("echo", EXECUTION, 2)),
    Storage(mode=StorageMode.INLINE),
)


@pytest.fixture(params=MODES, ids=lambda storage: storage.mode.value)
def deployment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A run of twelve rows, of which three failed."""
    with moto_aws("us-east-1"):
        s3, dynamodb = boto3.client("s3"), boto3.client("dynamodb")
        s3.create_bucket(Bucket="results")
        s3.put_bucket_versioning(Bucket="results", VersioningConfiguration={"Status": "Enabled"})
        table = make_results_table(dynamodb)
        objects, clock = S3ObjectStore(s3, "results"), FakeClock()
        plan = make_plan(CELLS, store=objects).model_copy(update={"storage": request.param})
        objects.put(plan.keys.plan, plan.model_dump_json().encode())
        batch = Batch(plan, objects, clock, RowStores(objects, clock, lambda: (dynamodb, table)))
        batch.rows.write([finish(batch, row) for row in range(1, 13)])
        monkeypatch.setattr(Deployment, "client", lambda _, service, config=None: boto3.client(service))
        yield Deployment.model_validate({**OUTPUTS, "results_table": table})


def finish(batch: Batch, row: int) -> Any:
    outcome = Outcome(RowStatus.SUCCESS, {"a": 1}, {"a": 1})
    if row in FAILED:
        outcome = Outcome(RowStatus.FAILED, error_name="Boom", error_message="Boom: it broke")
    return batch.finish(row, CELLS[row - 1], outcome, row_hash="h", attempts=1, started_ms=0, ended_ms=5)


def test_failed_rows_are_listed_with_their_errors_and_cells(deployment: Deployment) -> None:
    page = list_rows(deployment, EXECUTION, statuses=[RowStatus.FAILED])

    assert [(row.row, row.status, row.error) for row in page.rows] == [(n, "FAILED", "Boom: it broke") for n in FAILED]
    assert (page.rows[0].values["text"], page.rows[0].values["_row_id"]) == ("text 3", "3")
    assert page.next_row is None


def test_rows_come_in_pages(deployment: Deployment) -> None:
    first = list_rows(deployment, EXECUTION, limit=5)
    assert ([row.row for row in first.rows], first.next_row) == ([1, 2, 3, 4, 5], 6)
    assert first.next_row is not None

    last = list_rows(deployment, f"arn:aws:states:x:y:execution:batch:{EXECUTION}", limit=7, first_row=first.next_row)
    assert ([row.row for row in last.rows], last.next_row) == ([6, 7, 8, 9, 10, 11, 12], None)


def test_a_run_that_is_not_known_is_refused(deployment: Deployment) -> None:
    with pytest.raises(ClientError, match="There is no plan of other"):
        list_rows(deployment, "other")


def test_the_command_prints_rows_or_json(deployment: Deployment, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.json"
    outputs.write_text(deployment.model_dump_json())

    def call(*arguments: str) -> str:
        command = ["--outputs", str(outputs), "rows", EXECUTION, *arguments]
        done = CliRunner().invoke(cli.app, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    shown = json.loads(call("--status", "FAILED", "--limit", "2", "--json"))
    assert ([row["row"] for row in shown["rows"]], shown["next_row"]) == ([3, 8], 9)
    text = call("--limit", "3")
    assert "FAILED" in text
    assert "Boom: it broke" in text
    assert "More: --from 4" in text
    assert "has no such row from row 13 on" in call("--from", "13")
