"""Step Functions and S3 as the client uses them, in memory, and a deployment that has them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_processor_client.cli import main
from batch_processor_client.deployment import Deployment
from foundation.aws.dynamodb_items import to_item
from row_batches.run.runs import Approval, Run

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:batch-processor"
EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:batch-processor:night-run"
OUTPUTS = {
    "environment": "stage",
    "region": "us-east-1",
    "batch_processor_state_machine_arn": MACHINE,
    "input_bucket": "inputs",
    "registry_table": "batch_processor_registry",
    "results_bucket": "results",
    "results_table": "batch_processor_results",
    "runs_table": "batch_processor_runs",
    "something_else": 1,
}


def fake_deployment(monkeypatch: pytest.MonkeyPatch, **clients: Any) -> Deployment:
    """A deployment whose clients are the fakes, by service."""
    monkeypatch.setattr(Deployment, "client", lambda _, service, config=None: clients[service])
    return Deployment.model_validate(OUTPUTS)


def refusal(code: str, operation: str) -> ClientError:
    """The error that boto3 raises."""
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


@dataclass
class FakeStates:
    """Answers DescribeExecution with each of ``descriptions`` in turn, then with the last for ever."""

    descriptions: list[dict[str, Any]] = field(default_factory=list)
    map_runs: list[dict[str, Any]] = field(default_factory=list)
    counts: list[dict[str, int]] = field(default_factory=list)
    start_refusal: str = ""
    answer_refusal: str = ""
    answers: list[tuple[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    started: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[dict[str, Any]] = field(default_factory=list)

    def called(self, operation: str) -> None:
        """Called with each operation."""
        self.calls.append(operation)

    def describe_execution(self, executionArn: str) -> dict[str, Any]:  # noqa: N803
        self.called("DescribeExecution")
        if not self.descriptions:
            raise refusal("ExecutionDoesNotExist", "DescribeExecution")
        return self.descriptions.pop(0) if len(self.descriptions) > 1 else self.descriptions[0]

    def list_map_runs(self, executionArn: str) -> dict[str, Any]:  # noqa: N803
        self.called("ListMapRuns")
        return {"mapRuns": self.map_runs}

    def describe_map_run(self, mapRunArn: str) -> dict[str, Any]:  # noqa: N803
        self.called("DescribeMapRun")
        counts = self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]
        return {"status": "RUNNING", "executionCounts": counts}

    def start_execution(self, **arguments: Any) -> dict[str, Any]:
        if self.start_refusal:
            raise refusal(self.start_refusal, "StartExecution")
        self.started.append(arguments)
        return {"executionArn": EXECUTION}

    def send_task_success(self, taskToken: str, output: str) -> None:  # noqa: N803
        if self.answer_refusal:
            raise refusal(self.answer_refusal, "SendTaskSuccess")
        self.answers.append((taskToken, json.loads(output)))

    def stop_execution(self, **arguments: Any) -> None:
        self.stopped.append(arguments)


@dataclass
class FakeTables:
    """DynamoDB with the items of one run."""

    items: list[dict[str, Any]] = field(default_factory=list)

    def query(self, **_: Any) -> dict[str, Any]:
        return {"Items": [to_item(item) for item in self.items]}


def waiting_run(token: str, **changes: Any) -> dict[str, Any]:
    """The item of the run ``night-run``, which waits for an approval."""
    approval = Approval(token=token, asked_at=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 1, 8, tzinfo=UTC))
    run = Run(
        execution="night-run",
        arn=EXECUTION,
        batch_name="night",
        target="echo",
        target_version="1",
        total_rows=200,
        plan_key="work/night-run/plan.json",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        estimate_usd=0,
        approval=approval,
    ).model_copy(update=changes)
    return {"PK": "RUN#night-run", "SK": "RUN", **run.model_dump(mode="json", exclude_none=True)}


@dataclass
class FakeStorage:
    """One bucket's objects by key."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key not in self.objects:
            raise refusal("NoSuchKey", "GetObject")
        return {"Body": io.BytesIO(self.objects[Key]), "ETag": "etag"}

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key not in self.objects:
            raise refusal("404", "HeadObject")
        return {}

    def put_object(self, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str = "") -> None:  # noqa: N803
        if IfNoneMatch == "*" and Key in self.objects:
            raise refusal("PreconditionFailed", "PutObject")
        self.objects[Key] = Body

    def get_paginator(self, operation: str) -> FakeStorage:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        yield {"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(Prefix)]}


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of ``batch-processor`` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["batch-processor", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
