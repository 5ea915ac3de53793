"""Benchmarks at a small size: each runs, and both sides do the same work. The figures mean nothing here."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from batch_processor_client.deployment import Deployment
from batch_processor_client.following import follow
from row_batches.document.plan import Keys, StorageMode
from row_batches.run.runs import Counts, Run
from row_batches.run.runs_dynamodb import DynamoDbRuns
from tests.support.batches import make_plan
from tests.support.deployment import FULL_SIZE
from tests.support.fakes import FakeObjectStore
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_results_table, make_runs_table
from tests.unit.client.fakes import EXECUTION, OUTPUTS, FakeStates
from tools.benchmarks import aggregation, lake, mapping, progress, readers, results, storage, writers

of_many_processes = pytest.mark.skipif(not FULL_SIZE, reason="a minute of starting processes: SCALE=full")


def names(measured: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in measured]


def test_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in (("REPETITIONS", 1), ("OURS_ROWS", 100), ("PEER_ROWS", 20)):
        monkeypatch.setattr(mapping, name, few)
    assert "mapping_to_parsing_per_row" in names(mapping.run())


def test_aggregation_with_the_same_output_of_every_side(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in (("ROWS", 400), ("FEWER_ROWS", 200), ("ROUNDS", 1)):
        monkeypatch.setattr(aggregation, name, few)
    assert "aggregation_against_duckdb" in names(aggregation.run())


@pytest.mark.parametrize("mode", list(StorageMode))
@pytest.mark.parametrize("rows", [300, 1_200])
def test_aggregation_of_each_storage_mode(
    mode: StorageMode, rows: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with moto_aws():
        s3, dynamodb = boto3.client("s3"), boto3.client("dynamodb")
        s3.create_bucket(Bucket="results")
        s3.put_bucket_versioning(Bucket="results", VersioningConfiguration={"Status": "Enabled"})
        deployment: Any = SimpleNamespace(
            client={"s3": s3, "dynamodb": dynamodb}.__getitem__,
            results_bucket="results",
            results_table=make_results_table(dynamodb),
        )
        monkeypatch.setattr(storage, "deployment_of", lambda _: deployment)
        monkeypatch.setattr(storage, "limit_heap", lambda: None)  # for a process that does nothing else

        execution = storage.prepare(deployment, mode, rows)
        storage.print_figures(execution)

        seconds, peak_mb = json.loads(capsys.readouterr().out)
        output = s3.get_object(Bucket="results", Key=Keys(execution).output)["Body"].read()
    assert seconds > 0
    assert peak_mb > 0
    assert output.count(b"\n") == 1 + rows


@of_many_processes
def test_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in (("ROWS", 300), ("WORKBOOK_ROWS", 100), ("ROUNDS", 1)):
        monkeypatch.setattr(readers, name, few)
    assert "reading_csv" in names(readers.run())


@of_many_processes
def test_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in (("ROWS", 300), ("WORKBOOK_ROWS", 100), ("ROUNDS", 1)):
        monkeypatch.setattr(writers, name, few)
    assert names(writers.run()) == ["writing_jsonl", "writing_parquet", "writing_xlsx", "writing_xlsx_cells"]


def test_results_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in (("RECORDS", 100), ("FEW", 100), ("MANY", 200), ("ROUNDS", 1)):
        monkeypatch.setattr(results, name, few)
    assert names(results.run()) == ["taking_results", "taking_results_memory", "taking_many_results"]


@of_many_processes
def test_the_lakes_selection_with_the_same_file_of_both_sides() -> None:
    ours, plain = lake.measurements(rows=7_000, records=300, in_flight=300, repeats=1)
    assert [one.records for one in (*ours, *plain)] == [300, 300]


class States(FakeStates):
    """Step Functions whose requests are seen as those of a boto3 client."""

    def __init__(self, descriptions: list[dict[str, Any]]) -> None:
        super().__init__(descriptions)
        self.sending: list[Callable[..., None]] = []
        self.meta = SimpleNamespace(events=SimpleNamespace(register=lambda _, hook: self.sending.append(hook)))

    def called(self, operation: str) -> None:
        for hook in self.sending:
            hook()


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run of 40 rows, of which four are counted each second
    second, rows, each = [0.0], 40, 4
    running = [{"status": "RUNNING"}] * (rows // each + 1)
    states = States([*running, {"status": "SUCCEEDED", "output": json.dumps({"succeeded": rows})}])
    with moto_aws():
        boto3.client("s3").create_bucket(Bucket="inputs")
        boto3.client("s3").create_bucket(Bucket="results")
        dynamodb = boto3.client("dynamodb")
        deployment = Deployment.model_validate({**OUTPUTS, "runs_table": make_runs_table(dynamodb)})
        table, name = DynamoDbRuns(dynamodb, deployment.runs_table), EXECUTION.rpartition(":")[2]
        plan = make_plan([["1", "a"]] * rows, store=FakeObjectStore(), execution=name)
        table.start(Run.of_plan(plan))

        def wait(seconds: float) -> None:
            second[0] += seconds
            table.count(name, Counts(succeeded=each))

        def client_of(_: Deployment, service: str, config: Any = None) -> Any:
            return states if service == "stepfunctions" else boto3.client(service)  # type: ignore[call-overload]

        monkeypatch.setattr(Deployment, "client", client_of)
        monkeypatch.setattr(progress, "deployment_of", lambda _: deployment)
        monkeypatch.setattr(progress, "start", lambda *_: EXECUTION)
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: second[0]))
        monkeypatch.setattr(progress, "follow", partial(follow, wait=wait, clock=lambda: second[0]))
        monkeypatch.setattr(progress, "ROWS", rows)
        measured = {one["name"]: one["ours"] for one in progress.run()}
    # Then the bar moves each second, and its time left is right
    assert measured == {
        "progress_pause": 1.0,
        "progress_longest_pause": 1.0,
        "progress_time_left": pytest.approx(0),
        "progress_time_left_at_the_end": pytest.approx(0),
        "progress_seconds_left_at_the_end": pytest.approx(0),
        "progress_requests": 3,
    }
