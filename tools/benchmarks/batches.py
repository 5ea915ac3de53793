"""Runs a batch for a benchmark and counts the transitions and calls that it used."""

from __future__ import annotations

import csv
import io
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batch_processor_client import executions
from batch_processor_client.deployment import Deployment
from batch_processor_client.executions import ending_of
from row_batches.document.plan import Keys

LOOK_SECONDS = 0.5
"""Polling uses time of the measured machine, so it is rare. The end time itself has milliseconds."""


@dataclass(frozen=True)
class Batch:
    """One finished execution: its ARN, and the seconds from before the call that started it to its end."""

    arn: str
    seconds: float
    document: dict[str, Any]


def run_batch(deployment: Deployment, document: dict[str, Any], rows: list[dict[str, str]]) -> Batch:
    """Upload the rows, run the batch; every row must succeed."""
    complete = {"csv_s3_uri": upload(deployment, rows), **document}
    states = deployment.client("stepfunctions")
    begun = datetime.now(UTC)
    arn = start(deployment, complete)
    while (ending := ending_of(described := states.describe_execution(executionArn=arn))) is None:
        time.sleep(LOOK_SECONDS)
    seconds = (described["stopDate"] - begun).total_seconds()
    assert ending.document is not None, f"{ending.error}: {ending.cause}"
    assert ending.document["succeeded"] == len(rows), ending.document
    return Batch(arn, seconds, ending.document)


def upload(deployment: Deployment, rows: list[dict[str, str]]) -> str:
    """Upload the rows as a CSV file to the input bucket; returns its URI."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    key = f"benchmarks/{uuid.uuid4()}.csv"
    deployment.client("s3").put_object(Bucket=deployment.input_bucket, Key=key, Body=text.getvalue().encode())
    return f"s3://{deployment.input_bucket}/{key}"


def start(deployment: Deployment, document: dict[str, Any]) -> str:
    """Start an execution; returns its ARN."""
    machine = deployment.batch_processor_state_machine_arn
    return executions.start(deployment.client("stepfunctions"), machine, f"benchmark-{uuid.uuid4()}", document)


@dataclass(frozen=True)
class Counted:
    """The resources that executions used: states entered, Lambda tasks started, and their total seconds."""

    executions: int = 0
    transitions: int = 0
    invocations: int = 0
    seconds: float = 0.0

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            self.executions + other.executions,
            self.transitions + other.transitions,
            self.invocations + other.invocations,
            self.seconds + other.seconds,
        )


def history(states: Any, arn: str) -> Iterator[dict[str, Any]]:
    """The events of an execution."""
    for page in states.get_paginator("get_execution_history").paginate(executionArn=arn):
        yield from page["events"]


def counted(states: Any, arn: str) -> Counted:
    """The resources that one execution used, from its history."""
    transitions = invocations = 0
    seconds = 0.0
    started = None
    for event in history(states, arn):
        kind = event["type"]
        if kind.endswith("StateEntered"):
            transitions += 1
        elif kind == "TaskScheduled" and event["taskScheduledEventDetails"]["resourceType"] == "lambda":
            invocations += 1
            started = event["timestamp"]
        elif kind in ("TaskSucceeded", "TaskFailed") and started is not None:
            seconds += (event["timestamp"] - started).total_seconds()
            started = None
    return Counted(1, transitions, invocations, seconds)


def children(states: Any, arn: str) -> list[str]:
    """The executions of every map run of an execution."""
    return [
        child["executionArn"]
        for page in states.get_paginator("list_map_runs").paginate(executionArn=arn)
        for map_run in page["mapRuns"]
        for listed in states.get_paginator("list_executions").paginate(mapRunArn=map_run["mapRunArn"])
        for child in listed["executions"]
    ]


def rows_objects(deployment: Deployment, arn: str) -> int:
    """How many rows objects an execution left."""
    pages = deployment.client("s3").get_paginator("list_objects_v2")
    prefix = Keys(arn.rsplit(":", 1)[1]).rows
    return sum(
        len(page.get("Contents", [])) for page in pages.paginate(Bucket=deployment.results_bucket, Prefix=prefix)
    )
