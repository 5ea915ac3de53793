"""Start an execution, follow it, and read its results. Callers pass the AWS clients."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from foundation.errors import BatchProcessorError
from row_batches.document.plan import Keys
from row_batches.mapping.models import OutputMapping
from row_batches.run.runs import Runs
from tools.errors import CommandError
from tools.progress import Progress, failed_rows, rows_done

POLL_SECONDS = 1.0
"""One map-run call a second: DescribeMapRun and ListMapRuns are limited to about that per account.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""
MARKERS_SECONDS = 5.0
TERMINAL = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
FAILED_ROWS_READ_BYTES = 256 * 1024


@dataclass(frozen=True)
class Ending:
    """The end of an execution. ``document`` is its output document, if there is one."""

    status: str
    error: str = ""
    cause: str = ""
    document: dict[str, Any] | None = None


def start(states: Any, state_machine_arn: str, name: str, document: dict[str, Any]) -> str:
    """Start an execution with a name; returns its ARN. While it runs, the same name and input start nothing new.

    Raises CommandError if the name was used before.
    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    try:
        answer = states.start_execution(stateMachineArn=state_machine_arn, name=name, input=json.dumps(document))
    except ClientError as refused:
        if refused.response["Error"]["Code"] != "ExecutionAlreadyExists":
            raise
        raise _name_used(name) from refused
    return str(answer["executionArn"])


def refuse_used_name(states: Any, execution_arn: str) -> None:
    """Raise CommandError if an execution with this ARN exists. Step Functions keeps it for 90 days after its end."""
    try:
        states.describe_execution(executionArn=execution_arn)
    except ClientError as refused:
        if refused.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return
    raise _name_used(execution_arn.rsplit(":", 1)[1])


def _name_used(name: str) -> CommandError:
    return CommandError(f"An execution named {name} exists already. See it with FOLLOW={name}, or choose another NAME.")


def describe(states: Any, execution_arn: str) -> dict[str, Any]:
    """The response of DescribeExecution. Raises CommandError if there is no such execution."""
    try:
        answer: dict[str, Any] = states.describe_execution(executionArn=execution_arn)
    except ClientError as refused:
        if refused.response["Error"]["Code"] not in ("ExecutionDoesNotExist", "InvalidArn"):
            raise
        raise CommandError(f"There is no execution {execution_arn.rsplit(':', 1)[1]}.") from refused
    return answer


def ending_of(description: dict[str, Any]) -> Ending | None:
    """The ending in DescribeExecution's response, or None. A RowFailedError's cause is the output document."""
    status = description["status"]
    if status not in TERMINAL:
        return None
    if status == "SUCCEEDED":
        return Ending(status, document=json.loads(description["output"]))
    error, cause = description.get("error", ""), description.get("cause", "")
    parsed = _object(cause)
    if "output_s3_uri" in parsed:
        return Ending(status, error, cause, parsed)
    # A function's error is JSON with a stack trace. The stack trace belongs in the log.
    return Ending(status, error, parsed.get("errorMessage", cause))


def _object(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


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
        self._name = self.execution_arn.rsplit(":", 1)[1]
        self._keys = Keys(self._name)
        self._map_run = ""
        self._mapping: OutputMapping | None = None
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
        if not self._map_run:
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
                if run is not None and self._mapping is not None:
                    self.progress.empty = run.mostly_empty(self._mapping)
                self.progress.waiting_until = run.waiting_until if run else None
                self.progress.throttled_since = run.throttled_since if run else None
                self.progress.throttled_noted = run.throttled_noted if run else None
                self.progress.held_back_noted = run.held_back_noted if run else None

    def _total(self) -> int | None:
        try:
            plan = self.storage.get_object(Bucket=self.results_bucket, Key=self._keys.plan)
        except ClientError as refused:
            if refused.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        document = json.loads(plan["Body"].read())
        self._mapping = OutputMapping.model_validate(document["config"]["output_mapping"])
        return int((document.get("distinct") or {"rows": document["total_rows"]})["rows"])

    def _count_failures(self) -> None:
        pages = self.storage.get_paginator("list_objects_v2").paginate(
            Bucket=self.results_bucket, Prefix=self._keys.failures
        )
        self.progress.failed = failed_rows([item["Key"] for page in pages for item in page.get("Contents", [])])


def first_failures(storage: Any, failed_rows_s3_uri: str, count: int) -> list[dict[str, str]]:
    """The first failed rows, column to value, from the start of failed_rows.csv."""
    bucket, key = split_s3_uri(failed_rows_s3_uri)
    body = storage.get_object(Bucket=bucket, Key=key)["Body"].read(FAILED_ROWS_READ_BYTES)
    csv.field_size_limit(FAILED_ROWS_READ_BYTES)  # a cell can be as long as what is read
    rows = csv.DictReader(io.StringIO(body.decode(errors="ignore"), newline=""))
    return [row for row, _ in zip(rows, range(count), strict=False)]


def warnings_of(storage: Any, document: dict[str, Any]) -> list[str]:
    """The warnings of a run, from a dry run's output document or from the summary; [] if the summary is missing."""
    if "warnings" in document or "summary_s3_uri" not in document:
        return list(document.get("warnings", []))
    bucket, key = split_s3_uri(document["summary_s3_uri"])
    try:
        summary = json.loads(storage.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ClientError:
        return []  # the result is shown without them
    return list(summary.get("warnings", []))


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
