"""Stops an execution and keeps its finished rows."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError as RefusedByAwsError
from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.executions import Ending, describe, ending_of, name_of
from batch_processor_client.trials import send_answer
from row_batches.document.plan import Keys
from row_batches.run.runs_dynamodb import DynamoDbRuns

GRACE_SECONDS = 900.0
"""No row of a tool takes longer than 14 minutes. An agent that takes longer loses its current row."""
OUTPUT_SECONDS = 180.0
"""How long to wait for the output after StopExecution."""
POLL_SECONDS = 1.0


class Stage(StrEnum):
    """The stages of a stop."""

    ENDED_BEFORE = "ended_before"
    """The execution had ended before. Nothing was done."""
    BRAKED = "braked"
    """No new row is started. Rows in flight finish."""
    OVERDUE = "overdue"
    """The grace period is over. The execution is stopped now."""
    STOPPED = "stopped"
    """The execution is stopped. Its output is being written."""
    ENDED = "ended"
    """The execution ended by itself."""
    WRITTEN = "written"
    """The output of the stopped execution is written."""
    UNWRITTEN = "unwritten"
    """The output is not written yet: rows are still in flight."""


class Stop(BaseModel):
    """A stage of a stop. ``ending`` is that of an execution that ended by itself; ``output_s3_uri`` is where the output
    of a stopped one is, or will be."""

    model_config = ConfigDict(frozen=True)

    stage: Stage
    ending: Ending | None = None
    output_s3_uri: str = ""

    @property
    def has_output(self) -> bool:
        """Whether there is an output now."""
        document = (self.ending and self.ending.document) or {}
        return self.stage is Stage.WRITTEN or bool(document.get("output_s3_uri"))


def stop(
    deployment: Deployment,
    execution: str,
    reason: str,
    *,
    grace_seconds: float = GRACE_SECONDS,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Stop]:
    """Pull the brake, wait for the end, then stop the execution if it still runs after ``grace_seconds``.

    Yields each stage when it begins; calls ``wait`` between polls. Raises ClientError if there is no such execution.
    """
    stopping = _Stopping(deployment, execution, wait)
    before = stopping.ending()
    if before is not None:
        yield Stop(stage=Stage.ENDED_BEFORE, ending=before)
        return
    stopping.pull_brake(reason)
    if grace_seconds > 0:
        stopping.end_waiting()
        yield Stop(stage=Stage.BRAKED)
        ending = stopping.await_ending(grace_seconds)
        if ending is not None:
            yield Stop(stage=Stage.ENDED, ending=ending)
            return
        yield Stop(stage=Stage.OVERDUE)
    stopping.stop(reason)
    yield Stop(stage=Stage.STOPPED)
    written = Stage.WRITTEN if stopping.await_output(OUTPUT_SECONDS) else Stage.UNWRITTEN
    yield Stop(stage=written, output_s3_uri=stopping.output_uri)


def seconds(text: str) -> float:
    """A non-negative number of seconds. Raises ClientError."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ClientError(f"GRACE={text}: it is a number of seconds, from 0.")
    return number


class _Stopping:
    """The calls of a stop."""

    def __init__(self, deployment: Deployment, execution: str, wait: Callable[[float], None]) -> None:
        self._states: Any = deployment.client("stepfunctions")
        self._storage: Any = deployment.client("s3")
        self._runs = DynamoDbRuns(deployment.client("dynamodb"), deployment.runs_table)
        self._bucket = deployment.results_bucket
        self._arn = deployment.execution_arn(execution)
        self._name = name_of(execution)
        self._keys = Keys(self._name)
        self._wait = wait

    @property
    def output_uri(self) -> str:
        return f"s3://{self._bucket}/{self._keys.output}"

    def ending(self) -> Ending | None:
        return ending_of(describe(self._states, self._arn))

    def pull_brake(self, reason: str) -> None:
        """Write the marker that workers read before they start a row. An existing one stays unchanged."""
        brake = {"reason": reason, "error": "StoppedError", "message": reason}
        try:
            self._storage.put_object(
                Bucket=self._bucket, Key=self._keys.brake, Body=json.dumps(brake).encode(), IfNoneMatch="*"
            )
        except RefusedByAwsError as refused:
            if refused.response["Error"]["Code"] not in ("PreconditionFailed", "412"):
                raise

    def end_waiting(self) -> None:
        """Let a run that waits after its trial continue to its output. It sees the brake and starts no row."""
        run = self._runs.get(self._name)
        if run is not None:
            send_answer(self._states, run, approved=False)

    def await_ending(self, seconds: float) -> Ending | None:
        """Wait until the execution has ended; None if it still runs after so many seconds."""
        for _ in range(int(seconds / POLL_SECONDS)):
            ending = self.ending()
            if ending is not None:
                return ending
            self._wait(POLL_SECONDS)
        return self.ending()

    def stop(self, reason: str) -> None:
        self._states.stop_execution(executionArn=self._arn, error="StoppedError", cause=reason)

    def await_output(self, seconds: float) -> bool:
        """Wait for the output of a stopped run; False if it is not written in time."""
        for attempt in range(int(seconds / POLL_SECONDS) + 1):
            if attempt:
                self._wait(POLL_SECONDS)
            try:
                self._storage.head_object(Bucket=self._bucket, Key=self._keys.summary)
            except RefusedByAwsError as refused:
                if refused.response["Error"]["Code"] not in ("404", "NoSuchKey", "NotFound"):
                    raise
            else:
                return True
        return False
