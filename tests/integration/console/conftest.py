"""A console over a deployment with a finished run of hostile rows, on moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from batch_processor_client.console.app import create_app
from batch_processor_client.console.page import Console
from batch_processor_client.deployment import Deployment
from foundation.aws.dynamodb_items import to_item
from foundation.aws.s3 import S3ObjectStore
from row_batches.document.plan import Keys
from row_batches.rows.records import RowStatus
from row_batches.rows.stores import RowStores
from row_batches.run.batch import Batch
from row_batches.run.causes import Cause
from row_batches.run.runs import Counts, Run, RunEnding, RunState
from row_batches.run.runs_dynamodb import DynamoDbRuns
from row_batches.targets.protocol import Outcome
from tests.integration.console.browser import PORT, TOKEN, Browser
from tests.support.batches import make_plan
from tests.support.fakes import FakeClock
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_results_table, make_runs_table
from tests.unit.client.fakes import OUTPUTS, FakeStates
from tests.unit.client.test_targets import FakeLambda

IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(2)</script>"
RIGHT_TO_LEFT = "مرحبا \u202e abc"
LONG = "long <b>" * 24_000  # 190 KB
HOSTILE = (IMAGE, SCRIPT, RIGHT_TO_LEFT, LONG, "\"quoted\" & 'quoted'")
ROWS = 12
FAILED = (3, 8, 9)
TARGETS: list[dict[str, Any]] = [
    {
        "name": "sentiment",
        "type": "tool",
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:sentiment",
        "invocation": "lambda",
        "cost_per_call_usd": 0.002,
        "input": {"text": {"description": f"what to read {IMAGE}", "required": True}, "language": {"required": False}},
    },
    {
        "name": "planner",
        "type": "agent",
        "arn": "arn:aws:states:us-east-1:000000000000:stateMachine:planner",
        "invocation": "standard",
        "enabled": False,
    },
]


@dataclass
class World:
    """The console, the browser that shows it, and what is behind it."""

    browser: Browser
    console: Console
    states: FakeStates
    lambdas: FakeLambda
    table: DynamoDbRuns
    objects: S3ObjectStore

    def begin(self, name: str, **changes: Any) -> Run:
        """A run that goes on, as its workers see it. It has finished rows, of which some failed."""
        cells = [[str(row), HOSTILE[(row - 1) % len(HOSTILE)]] for row in range(1, ROWS + 1)]
        plan = make_plan(cells, store=self.objects, execution=name)
        self.objects.put(plan.keys.plan, plan.model_dump_json().encode())
        batch = Batch(plan, self.objects, FakeClock(), RowStores(self.objects, FakeClock(), lambda: None))  # type: ignore[arg-type, return-value]
        batch.rows.write([_finished(batch, row, cells[row - 1]) for row in range(1, ROWS + 1)])
        run = Run.of_plan(plan).model_copy(update={"target": "sentiment", **changes})
        self.table.start(run)
        return run

    def end(self, name: str, state: RunState, ended_at: datetime) -> None:
        """The end of a run in the table, and its files."""
        keys, causes = Keys(name), [Cause(error="Boom", message=f"it broke {IMAGE}", count=3, rows=list(FAILED))]
        listed = [cause.model_dump() | {"id": cause.id, "cure": cause.cure} for cause in causes]
        summary = {"total_rows": ROWS, "failed": 3, "timed_out": 0, "not_attempted": 0, "failures_by_cause": listed}
        self.objects.put(keys.summary, json.dumps(summary).encode())
        self.objects.put(keys.output, b"id,text\r\n1,one\r\n")
        counts = Counts(succeeded=9, failed=3, attempts=15)
        self.table.end(name, RunEnding(state=state, counts=counts, ended_at=ended_at, cost_usd=0.031, causes=causes))


def _finished(batch: Batch, row: int, cells: list[str]) -> Any:
    outcome = Outcome(RowStatus.SUCCESS, {"a": 1}, {"a": 1})
    if row in FAILED:
        outcome = Outcome(RowStatus.FAILED, error_name="Boom", error_message=f"Boom: it broke {SCRIPT}")
    return batch.finish(row, cells, outcome, row_hash="h", attempts=1, started_ms=0, ended_ms=5)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """``night-run`` has ended with failures, ``day-run`` goes on."""
    with moto_aws("us-east-1"):
        s3, dynamodb = boto3.client("s3"), boto3.client("dynamodb")
        for bucket in ("results", "inputs"):
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket="results", VersioningConfiguration={"Status": "Enabled"})
        dynamodb.create_table(
            TableName="registry",
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for target in TARGETS:
            dynamodb.put_item(TableName="registry", Item=to_item(target))
        tables = {"runs_table": make_runs_table(dynamodb), "results_table": make_results_table(dynamodb)}
        deployment = Deployment.model_validate({**OUTPUTS, **tables, "registry_table": "registry"})
        states, lambdas = FakeStates([{"status": "RUNNING"}]), FakeLambda({"mood": SCRIPT})
        fakes: dict[str, Any] = {"stepfunctions": states, "lambda": lambdas}
        monkeypatch.setattr(
            Deployment, "client", lambda _, service, config=None: fakes.get(service) or boto3.client(service)
        )
        console = Console(deployment)
        browser = Browser(create_app(deployment, TOKEN, PORT, console), console.form_token)
        made = World(
            browser,
            console,
            states,
            lambdas,
            DynamoDbRuns(dynamodb, deployment.runs_table),
            S3ObjectStore(s3, "results"),
        )
        began = datetime(2026, 11, 27, 22, tzinfo=UTC)
        made.begin("night-run", started_at=began)
        made.end("night-run", RunState.SUCCEEDED_WITH_FAILURES, began + timedelta(minutes=9))
        made.begin("day-run", started_at=began + timedelta(hours=9))
        made.table.count("day-run", Counts(succeeded=4, failed=1))
        yield made
