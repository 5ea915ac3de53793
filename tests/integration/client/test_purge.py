"""All that a run left is deleted, on moto: every version of its objects, its rows and its item in the table of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner

from batch_processor_client import cli, files, purge, workbench
from batch_processor_client.cli import purging
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from foundation.aws.leases import DynamoDbLeases
from foundation.aws.s3 import S3ObjectStore
from row_batches.document.plan import EarlierExecution, Keys, Plan, StorageMode
from row_batches.rows.records import RowStatus
from row_batches.rows.stores import RowStores
from row_batches.run.batch import Batch
from row_batches.run.runs import Counts, Run, RunEnding, RunState, lease_name
from row_batches.run.runs_dynamodb import DynamoDbRuns
from row_batches.targets.protocol import Outcome
from tests.support.batches import make_plan
from tests.support.fakes import FakeClock
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_results_table, make_runs_table
from tests.unit.client.fakes import OUTPUTS, refusal

ROWS = 130  # more than one block of rows, more than one write of deletions
BEGAN = datetime(2026, 11, 27, 22, tzinfo=UTC)


@dataclass
class FakeExecutions:
    """Step Functions with the executions that it remembers."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def describe_execution(self, executionArn: str) -> dict[str, Any]:  # noqa: N803
        name = executionArn.rpartition(":")[2]
        if name not in self.known:
            raise refusal("ExecutionDoesNotExist", "DescribeExecution")
        return self.known[name]


@dataclass
class World:
    deployment: Deployment
    executions: FakeExecutions
    table: DynamoDbRuns
    objects: S3ObjectStore
    s3: Any
    dynamodb: Any

    def run(self, name: str, mode: StorageMode = StorageMode.DYNAMODB, **changes: Any) -> Plan:
        """A run that has ended, with objects of every kind."""
        cells = [[str(row), "secret"] for row in range(1, ROWS + 1)]
        plan = make_plan(cells, store=self.objects, execution=name, **changes)
        ids = [f"nightly#{name}#{number:02d}" for number in range(2)] if mode is StorageMode.DYNAMODB else []
        plan = plan.model_copy(update={"storage": plan.storage.model_copy(update={"mode": mode, "batch_ids": ids})})
        self.objects.put(plan.keys.plan, plan.model_dump_json().encode())
        stores = RowStores(self.objects, FakeClock(), lambda: (self.dynamodb, self.deployment.results_table))
        batch = Batch(plan, self.objects, FakeClock(), stores)
        outcome = Outcome(RowStatus.SUCCESS, {"a": 1}, {"a": 1})
        batch.rows.write(
            [
                batch.finish(row, one, outcome, row_hash="h", attempts=1, started_ms=0, ended_ms=5)
                for row, one in enumerate(cells, 1)
            ]
        )
        keys = plan.keys
        for key in (keys.output, keys.output, keys.summary, keys.proof, f"{keys.oversized}1.json"):
            self.objects.put(key, b"{}")
        self.objects.delete(plan.keys.summary)  # a marker of a deletion stays
        self.s3.put_object(Bucket="inputs", Key=f"uploads/{name}/hash/rows.csv", Body=b"id,text")
        self.table.start(Run.of_plan(plan).model_copy(update={"started_at": BEGAN}))
        self.table.count(name, Counts(succeeded=ROWS))
        DynamoDbLeases(self.dynamodb, self.deployment.runs_table, FakeClock()).acquire(lease_name(name), "dead", 60)
        self.table.end(name, RunEnding(state=RunState.SUCCEEDED, counts=Counts(succeeded=ROWS), ended_at=BEGAN))
        return plan

    def everything(self) -> list[str]:
        """All versions and items there are."""
        found = []
        for bucket in ("inputs", "results"):
            for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                found += [f"{version['Key']} {version['VersionId']}" for version in versions]
        for table in (self.deployment.results_table, self.deployment.runs_table):
            for page in self.dynamodb.get_paginator("scan").paginate(TableName=table):
                found += [json.dumps(item, sort_keys=True) for item in page["Items"]]
        return sorted(found)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with moto_aws("us-east-1"):
        s3, dynamodb, executions = boto3.client("s3"), boto3.client("dynamodb"), FakeExecutions()
        for bucket in ("results", "inputs"):
            s3.create_bucket(Bucket=bucket)
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        tables = {"runs_table": make_runs_table(dynamodb), "results_table": make_results_table(dynamodb)}
        deployment = Deployment.model_validate({**OUTPUTS, **tables})
        clients = {"stepfunctions": executions, "s3": s3, "dynamodb": dynamodb}
        monkeypatch.setattr(Deployment, "client", lambda _, service, config=None: clients[service])
        table, objects = DynamoDbRuns(dynamodb, deployment.runs_table), S3ObjectStore(s3, "results")
        yield World(deployment, executions, table, objects, s3, dynamodb)


@pytest.mark.parametrize("mode", [StorageMode.DYNAMODB, StorageMode.S3])
def test_nothing_of_the_run_is_left_and_nothing_of_another_is_touched(world: World, mode: StorageMode) -> None:
    # Given runs whose names begin alike
    for name in ("night-10", "a-night-1", "night"):
        world.run(name, mode)
    others = world.everything()
    world.run("night-1", mode)
    # When one of them is purged
    found = purge.look(world.deployment, "night-1")
    done = purge.purge(world.deployment, found)
    # Then the others are as before
    assert world.everything() == others
    assert (found.is_deleted, done.is_deleted) == (False, True)
    # And what was listed is what is gone
    counts = {part.what: part.count for part in found.parts}
    rows = {"rows": ROWS + 2} if mode is StorageMode.DYNAMODB else {}
    assert counts.pop("rows and plan") > 1
    assert counts == {**rows, "uploaded input": 1, "dead letters": 1, "outputs and proof": 5, "table of runs": 3}
    assert {part.what: part.size_bytes for part in found.parts}["outputs and proof"] == 8


def test_looking_deletes_nothing_and_a_second_purge_finds_nothing(world: World) -> None:
    world.run("night")
    before = world.everything()
    found = purge.look(world.deployment, "night")
    assert world.everything() == before
    purge.purge(world.deployment, found)
    assert purge.look(world.deployment, "night").parts == []
    purge.purge(world.deployment, found)
    assert world.everything() == []


def test_a_purge_that_broke_off_goes_on_with_the_rows_that_only_the_plan_knows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run("night")
    found = purge.look(world.deployment, "night")
    # Given that AWS keeps an object under work/
    delete = world.s3.delete_objects

    def refused(Bucket: str, Delete: Any) -> Any:  # noqa: N803
        if any(one["Key"].startswith("work/") for one in Delete["Objects"]):
            return {"Errors": [{"Key": "work/night/x", "Code": "AccessDenied", "Message": "no"}]}
        return delete(Bucket=Bucket, Delete=Delete)

    with monkeypatch.context() as patch:
        patch.setattr(world.s3, "delete_objects", refused)
        with pytest.raises(ClientError, match=r"AWS refused to delete work/night/x of results: AccessDenied: no\. "):
            purge.purge(world.deployment, found)
    # Then the plan is still there, and so is the run in its table
    assert {part.what for part in purge.look(world.deployment, "night").parts} == {"rows and plan", "table of runs"}
    assert world.objects.exists(Keys("night").plan)
    purge.purge(world.deployment, found)
    assert world.everything() == []


def test_items_that_a_throttled_table_left_over_are_deleted_after_a_pause(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run("night")
    write, pauses = world.dynamodb.batch_write_item, list[float]()

    def throttled(RequestItems: Any) -> Any:  # noqa: N803
        ((table, requests),) = RequestItems.items()
        write(RequestItems={table: requests[:10]})
        return {"UnprocessedItems": {table: requests[10:]} if requests[10:] else {}}

    monkeypatch.setattr(world.dynamodb, "batch_write_item", throttled)
    purge.purge(world.deployment, purge.look(world.deployment, "night"), wait=pauses.append)
    assert world.everything() == []
    assert set(pauses) == {purge.PAUSE_SECONDS}


@pytest.mark.parametrize("status", ["RUNNING", "PENDING_REDRIVE"])
def test_a_run_that_still_runs_is_refused(world: World, status: str) -> None:
    world.run("night")
    before = world.everything()
    world.executions.known["night"] = {"status": status}
    with pytest.raises(ClientError, match=r"night still runs\. Stop it first: make stop EXECUTION=night"):
        purge.look(world.deployment, "night")
    assert world.everything() == before


def test_a_run_whose_output_is_still_written_is_refused_for_an_hour(world: World) -> None:
    world.run("night")
    world.table.reopen("night")
    world.executions.known["night"] = {"status": "ABORTED", "stopDate": datetime.now(UTC) - timedelta(minutes=20)}
    with pytest.raises(ClientError, match="is still being written"):
        purge.look(world.deployment, "night")
    world.executions.known["night"]["stopDate"] -= timedelta(hours=1)
    assert purge.look(world.deployment, "night").parts


def test_a_run_whose_rows_a_running_retry_reads_is_refused(world: World) -> None:
    # Given a retry of a retry, which reads the rows of both
    chain = [EarlierExecution(name=name, batch_size=2) for name in ("night-retry-1", "night")]
    world.run("night")
    world.run("night-retry-1")
    world.run("night-retry-2", resume_from=chain)
    assert purge.look(world.deployment, "night").parts
    world.table.reopen("night-retry-2")
    for name in ("night", "night-retry-1"):
        with pytest.raises(ClientError, match="night-retry-2 is still running and reuses rows of night"):
            purge.look(world.deployment, name)


def test_a_retry_that_is_not_planned_yet_can_read_any_run(world: World) -> None:
    world.run("night")
    world.run("late")
    world.table.reopen("late")
    world.objects.delete(Keys("late").plan)
    for document, is_refused in (({"execution_config": {"resume_from": "night"}}, True), ({}, False)):
        world.executions.known["late"] = {"status": "RUNNING", "input": json.dumps(document)}
        if is_refused:
            with pytest.raises(ClientError, match="late is still running"):
                purge.look(world.deployment, "night")
        else:
            assert purge.look(world.deployment, "night").parts


def test_a_running_run_of_another_release_is_not_taken_for_one_that_reads_nothing(world: World) -> None:
    world.run("night")
    world.run("other")
    world.table.reopen("other")
    world.objects.put(Keys("other").plan, b"{}")
    with pytest.raises(ClientError, match="The plan of other is of another release"):
        purge.look(world.deployment, "night")


def test_files_that_were_uploaded_alone_stay(world: World) -> None:
    for prefix in (files.SHARED_PREFIX, workbench.PREFIX):
        world.s3.put_object(Bucket="inputs", Key=f"{prefix}hash/rows.csv", Body=b"id")
        name = prefix.split("/")[1]
        # Even with a run of that name, which can have uploads of its own
        world.s3.put_object(Bucket="inputs", Key=f"uploads/{name}/hash/rows.csv", Body=b"id")
        found = purge.look(world.deployment, name)
        purge.purge(world.deployment, found)
        assert [part.what for part in found.parts] == ["uploaded input"]
    left = [version.split(" ")[0] for version in world.everything()]
    assert left == ["shared/console/hash/rows.csv", "shared/files/hash/rows.csv"]


@pytest.mark.parametrize("name", ["", "a/b", "arn:aws:states:us-east-1:000000000000:execution:other-machine:night"])
def test_what_is_no_run_of_the_deployment_is_refused(world: World, name: str) -> None:
    with pytest.raises(ClientError):
        purge.look(world.deployment, name)


def command(world: World, tmp_path: Path, *arguments: str, answer: str | None = None) -> Any:
    outputs = tmp_path / "outputs.json"
    outputs.write_text(world.deployment.model_dump_json())
    return CliRunner().invoke(cli.app, ["--outputs", str(outputs), "purge", *arguments], input=answer)


def test_the_command_lists_and_deletes_only_when_told_so(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.run("night")
    before = world.everything()
    unasked = command(world, tmp_path, "night")
    assert (unasked.exit_code, world.everything() == before) == (1, True)
    assert "Nothing was deleted. To delete without a question: YES=1 with make, or --yes." in unasked.output
    assert "not deleted  copies that were delivered to output_s3_uri" in unasked.output
    assert command(world, tmp_path, "night", "--dry-run", "--yes").exit_code == 0
    monkeypatch.setattr(purging, "has_terminal", lambda: True)
    assert command(world, tmp_path, "night", answer="n\n").exit_code == 1
    assert world.everything() == before
    done = command(world, tmp_path, "night", answer="y\n")
    assert (done.exit_code, world.everything()) == (0, [])
    assert done.output.endswith("Deleted. Nothing of night is left here.\n")
    assert command(world, tmp_path, "night", "--yes").output == "There is nothing of night here.\n"


def test_as_json_the_command_asks_nothing(world: World, tmp_path: Path) -> None:
    world.run("night")
    assert json.loads(command(world, tmp_path, "night", "--json", "--dry-run").stdout)["is_deleted"] is False
    assert json.loads(command(world, tmp_path, "night", "--json", "--yes").stdout)["is_deleted"] is True
    assert json.loads(command(world, tmp_path, "night", "--json", "--yes").stdout)["parts"] == []
