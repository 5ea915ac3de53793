"""Follows an execution to its end, with at most three requests a second whatever its size.

Each second it asks for the state of the execution and for the run's counts in the table of runs. The third request
reads the plan once, and every five seconds the map run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.executions import Ending, describe, ending_of, name_of
from batch_processor_client.progress import Pace, Progress, cost_so_far, notes_of
from batch_processor_client.runs import read_plan
from foundation.errors import BatchProcessorError
from row_batches.document.plan import Plan, StorageMode
from row_batches.run.runs import Run
from row_batches.run.runs_dynamodb import DynamoDbRuns

POLL_SECONDS = 1.0
MAP_RUN_SECONDS = 5.0
"""DescribeMapRun and ListMapRuns are limited to about one call a second in an account, and many can follow at once.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""


def follow(
    deployment: Deployment,
    execution: str,
    *,
    wait: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """The progress of an execution once a second; the last one has its ending.

    ``wait`` is called between two looks. ``clock`` gives seconds for the pace. Raises ClientError if there is no such
    execution.
    """
    following = _Following(deployment, deployment.execution_arn(execution))
    while True:
        progress = following.look(clock())
        yield progress
        if progress.ending is not None:
            return
        wait(POLL_SECONDS)


class _Following:
    """Follows one execution, and keeps what is known about it."""

    def __init__(self, deployment: Deployment, execution_arn: str) -> None:
        self._deployment = deployment
        self._states = deployment.client("stepfunctions")
        self._runs = DynamoDbRuns(deployment.client("dynamodb"), deployment.runs_table)
        self._arn = execution_arn
        self._name = name_of(execution_arn)
        self._pace = Pace()
        self._run: Run | None = None
        self._plan: Plan | None = None
        self._plan_sought = False
        self._map_run = ""
        self._children: int | None = None
        self._map_run_seen = float("-inf")

    def look(self, now: float) -> Progress:
        """One look at the execution: up to three requests."""
        ending = ending_of(describe(self._states, self._arn))
        with suppress(BatchProcessorError):  # the counts of the last look are shown instead
            self._run = self._runs.get(self._name) or self._run
        if self._run is not None and not self._plan_sought:
            self._plan_sought = True
            with suppress(ClientError):  # it has expired, or is of another release
                self._plan = read_plan(self._deployment, self._name)
        elif ending is None and now - self._map_run_seen >= MAP_RUN_SECONDS:
            self._map_run_seen = now
            self._look_at_map_run()
        return self._progress(now, ending)

    def _look_at_map_run(self) -> None:
        """Count the children that run. A second map run runs the rows that never finished."""
        if not self._map_run:
            runs = self._states.list_map_runs(executionArn=self._arn)["mapRuns"]
            going_on = [run["mapRunArn"] for run in runs if run.get("stopDate") is None]
            self._map_run = going_on[0] if going_on else ""
            return
        map_run = self._states.describe_map_run(mapRunArn=self._map_run)
        self._children = int(map_run["executionCounts"]["running"])
        if map_run["status"] != "RUNNING":
            self._map_run, self._children = "", 0

    def _progress(self, now: float, ending: Ending | None) -> Progress:
        run, plan = self._run, self._plan
        if run is None:
            return Progress(execution=self._name, ending=ending)
        counts = run.counts
        counted = Progress(
            execution=self._name,
            total=run.total_rows if plan is None else plan.rows_sent,
            succeeded=counts.succeeded,
            failed=counts.failed + counts.timed_out,
            cost_usd=None if plan is None else cost_so_far(plan, counts),
            tokens=counts.input_tokens + counts.output_tokens,
            notes=notes_of(run, datetime.now(UTC)),
            empty=[] if plan is None else run.mostly_empty(plan.config.output_mapping),
            approval=run.approval,
            ending=ending,
        )
        self._pace.add(now, counted.done)
        left = (counted.total or 0) - counted.done
        return counted.model_copy(
            update={
                "rows_per_second": self._pace.rows_per_second,
                "seconds_left": self._pace.seconds_for(left),
                "in_flight": self._in_flight(left),
            }
        )

    def _in_flight(self, left: int) -> int | None:
        """The rows that the running children can have started. An inline run has none, and runs as many as planned."""
        if self._plan is None or self._run is None:
            return None
        concurrency, children = self._plan.concurrency, self._children
        if children is None:
            if self._plan.storage.mode is not StorageMode.INLINE:
                return None
            children = concurrency.children
        return min(left, children * concurrency.threads, self._run.live.max_concurrency or left)
