"""Follows an execution to its end, within the quotas of the API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError as RefusedByAwsError

from batch_processor_client.deployment import Deployment
from batch_processor_client.executions import Ending, describe, ending_of, name_of
from batch_processor_client.progress import Progress, failed_rows, rows_done
from foundation.errors import BatchProcessorError
from row_batches.document.plan import Keys
from row_batches.mapping.models import OutputMapping
from row_batches.run.runs import Runs
from row_batches.run.runs_dynamodb import DynamoDbRuns

POLL_SECONDS = 1.0
"""One map-run call a second: DescribeMapRun and ListMapRuns are limited to about that per account.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""
MARKERS_SECONDS = 5.0


@dataclass
class Follower:
    """Follows one execution within the API's quotas. It calls ``wait`` once a second."""

    states: Any
    storage: Any
    runs: Runs
    results_bucket: str
    execution_arn: str
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self._name = name_of(self.execution_arn)
        self._keys = Keys(self._name)
        self._map_run = ""
        self._mapping: OutputMapping | None = None
        self._cost_per_call_usd = 0.0
        self._has_trial = False
        self._markers_seen = float("-inf")

    def follow(self) -> Iterator[Ending | None]:
        """Yield None after each look at the running execution, and its ending at the end."""
        while True:
            ending = ending_of(describe(self.states, self.execution_arn))
            if ending is not None:
                self._count_failures()
                yield ending
                return
            self.look()
            yield None
            self.wait(POLL_SECONDS)

    def look(self) -> None:
        """Update ``progress``: one call about the map run, and from time to time the failures."""
        now = self.clock()
        if self.progress.total is None:
            self.progress.total = self._total()
        if self._has_trial:
            pass  # Its map runs have other rows: the counts of the run say how many are done.
        elif not self._map_run:
            # The first map run has all rows. A second one runs the rows that never finished.
            runs = self.states.list_map_runs(executionArn=self.execution_arn)["mapRuns"]
            self._map_run = min(runs, key=lambda run: run["startDate"])["mapRunArn"] if runs else ""
        else:
            counts = self.states.describe_map_run(mapRunArn=self._map_run)["itemCounts"]
            self.progress.update(now, rows_done(counts))
        if now - self._markers_seen >= MARKERS_SECONDS:
            self._markers_seen = now
            self._count_failures()
            with suppress(BatchProcessorError):  # progress works without it
                run = self.runs.get(self._name)
                if run is not None and not self._map_run:  # rows that run inline have none
                    self.progress.update(now, run.counts.succeeded + run.counts.failed + run.counts.timed_out)
                if run is not None:
                    self.progress.spend(run.counts, self._cost_per_call_usd)
                    self.progress.approval = run.approval
                if run is not None and self._mapping is not None:
                    self.progress.empty = run.mostly_empty(self._mapping)
                self.progress.causes = run.causes if run else []
                self.progress.waiting_until = run.waiting_until if run else None
                self.progress.throttled_since = run.throttled_since if run else None
                self.progress.throttled_noted = run.throttled_noted if run else None
                self.progress.held_back_noted = run.held_back_noted if run else None

    def _total(self) -> int | None:
        try:
            plan = self.storage.get_object(Bucket=self.results_bucket, Key=self._keys.plan)
        except RefusedByAwsError as refused:
            if refused.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        document = json.loads(plan["Body"].read())
        self._mapping = OutputMapping.model_validate(document["config"]["output_mapping"])
        self._cost_per_call_usd = document["target"].get("cost_per_call_usd") or 0.0
        self._has_trial = document["config"].get("trial") is not None
        skipped = (document.get("skipped") or {"rows": 0})["rows"]
        return int((document.get("distinct") or {"rows": document["total_rows"] - skipped})["rows"])

    def _count_failures(self) -> None:
        pages = self.storage.get_paginator("list_objects_v2").paginate(
            Bucket=self.results_bucket, Prefix=self._keys.failures
        )
        self.progress.failed = failed_rows([item["Key"] for page in pages for item in page.get("Contents", [])])


def follower_of(deployment: Deployment, arn: str) -> Follower:
    """A follower of a started execution."""
    runs = DynamoDbRuns(deployment.client("dynamodb"), deployment.runs_table)
    return Follower(deployment.client("stepfunctions"), deployment.client("s3"), runs, deployment.results_bucket, arn)
