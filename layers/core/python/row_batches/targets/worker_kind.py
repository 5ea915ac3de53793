"""The shared part of kinds that are called synchronously: ``process_tool_rows`` calls them, many rows a child."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from row_batches.document.batch_config import MAX_TOOL_TIMEOUT_SECONDS, BatchConfig
from row_batches.document.plan import Concurrency, Target
from row_batches.targets.kind import ClientFactory, Processor, TargetKind
from row_batches.targets.ports import TargetInvoker

if TYPE_CHECKING:
    from row_batches.targets.usage import Load, RunCounts, Usage

MAX_THREADS = 30
"""The most calls in flight in one worker. With 1,024 MB (0.58 of a vCPU), it is not the bottleneck up to here."""
MAX_CALLS_A_CHILD = 3_000
"""A call of the worker takes about 7 of the 25,000 events of a child's history
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""
MAX_RATED_ROWS = 2_500
"""Rows a child in a run with a rate. At a slow rate, each row takes a call of the worker and a wait: about 9 events."""
CALL_SECONDS = 870
"""The time of a worker's call for rows. If a row takes half of it or longer, a thread can run only one row."""
MAX_BATCH_BYTES = 200_000
"""``MaxInputBytesPerBatch`` of the map. A batch ends at this size, even if it has few rows."""

CHILD_TRANSITIONS = 3
"""ProcessRows, RowsRemain, BatchDone."""
CHILD_AGAIN_TRANSITIONS = 2
"""ProcessRows, RowsRemain: the function is called again when its 15 minutes are over."""
INLINE_AGAIN_TRANSITIONS = 4
"""WaitForRows, ProcessRowsInline, AggregateResults, AggregationDone: an inline run's worker is called again."""

# Assumptions.
SECONDS_PER_ATTEMPT = 0.2
START_SECONDS = 0.3
RESERVE_SECONDS = 60
"""A worker with less time left than this returns the rows that it has not started."""


class WorkerKind(TargetKind):
    """A kind whose rows run in batches. A worker costs money even while its rows wait for an answer or a retry."""

    processor = Processor.TOOL
    cost_assumption = "a worker is paid for while it waits for an answer or a retry"
    row_seconds = SECONDS_PER_ATTEMPT

    @abstractmethod
    def invoker(self, make_client: ClientFactory) -> TargetInvoker:
        """The client that calls targets of this kind."""

    def concurrency(self, config: BatchConfig, target: Target, total_rows: int, row_bytes: int) -> Concurrency:
        """A concurrency of few children with many threads.

        The thread count is between a third of the possible number and that number. It is the one that uses most of
        ``max_concurrency``, and the highest of these: 60 is 2 × 30, 100 is 4 × 25, 59 is 2 × 29 (one is given up).

        ``batch_size`` is the configured one, or less if the rows would not fill a batch for every child: 200 rows at 60
        are two batches of 100, but 100 rows are two of 50, so that all 60 calls are in flight. There are no more
        threads than rows in a batch. If rows may take so long that a thread runs one row a call, a batch has no more
        rows than a child's history can hold.
        """
        settings = config.execution_config
        in_flight = max(1, min(self.rows_in_flight(config, target), total_rows))
        batch_size = min(settings.batch_size, max(1, MAX_BATCH_BYTES // max(1, row_bytes)))
        most = min(MAX_THREADS, batch_size, in_flight)
        if settings.rate is not None or target.rate is not None:
            batch_size = min(batch_size, MAX_RATED_ROWS)
        threads = max(range(max(1, most // 3), most + 1), key=lambda count: (in_flight // count * count, count))
        children = in_flight // threads
        if 2 * settings.timeout_seconds > CALL_SECONDS:
            batch_size = min(batch_size, MAX_CALLS_A_CHILD * threads)
        return Concurrency(
            children=children,
            threads=threads,
            batch_size=max(1, min(batch_size, ceil(total_rows / children))),
        )

    def inline_concurrency(self, config: BatchConfig, target: Target, total_rows: int) -> Concurrency:
        threads = max(1, min(MAX_THREADS, self.rows_in_flight(config, target), total_rows))
        return Concurrency(children=1, threads=threads, batch_size=max(1, total_rows))

    def assumed(self, config: BatchConfig, concurrency: Concurrency, load: Load) -> RunCounts:
        """Children are rows / batch size, rounded up, or bytes / 200,000 if that is more.

        If all fail, batches are half full at the worst, a thread waits for the last rows of each batch, and each row
        is written alone. A call of the worker takes the next rows only while they fit into its time.
        """
        from row_batches.targets.usage import RunCounts, size_of  # noqa: PLC0415 (few calls estimate or sum up costs)

        total_rows, staged_bytes = load.rows, load.staged_bytes
        if not total_rows:
            return RunCounts(rows=0, attempts=0, retries=0)
        settings, threads = config.execution_config, concurrency.threads
        full = ceil(total_rows / concurrency.batch_size)
        if not load.all_fail:
            children = max(full, ceil(staged_bytes / MAX_BATCH_BYTES))
            work = total_rows * load.call_seconds / min(threads, concurrency.batch_size)
            most_seconds = size_of("process_tool_rows").timeout_seconds - RESERVE_SECONDS
            worker_calls = max(children, ceil(work / most_seconds))
            rows_objects = children
        else:
            row_seconds = min(settings.timeout_seconds, MAX_TOOL_TIMEOUT_SECONDS)
            children = min(total_rows, full + ceil(2 * staged_bytes / MAX_BATCH_BYTES))
            rounds = (total_rows + children * (threads - 1)) // threads
            work = rounds * row_seconds
            worker_calls = min(rounds, children + ceil(rounds / max(1, CALL_SECONDS // row_seconds)))
            rows_objects = total_rows
        return replace(
            load.counts(settings.retry_policy.max_attempts),
            rows_objects=rows_objects,
            children=children,
            worker_calls=worker_calls,
            worker_seconds=work + worker_calls * START_SECONDS,
        )

    def usage(self, counts: RunCounts) -> Usage:
        """The usage of children and rows.

        A child takes 3 transitions and its start. A call takes a request, its seconds, its lease (two writes), the
        plan, the listing of finished rows, and a read of the brake each second. A failed row takes its count and a
        tenth of a request to the queue.
        """
        from row_batches.targets.usage import CHILD_START_TRANSITIONS, Usage, size_of  # noqa: PLC0415 (few calls estimate or sum up costs)

        again = max(0, counts.worker_calls - max(1, counts.children))
        again_transitions = CHILD_AGAIN_TRANSITIONS if counts.children else INLINE_AGAIN_TRANSITIONS
        return Usage(
            transitions=counts.children * (CHILD_START_TRANSITIONS + CHILD_TRANSITIONS) + again * again_transitions,
            lambda_requests=counts.worker_calls,
            lambda_gb_seconds=counts.worker_seconds * size_of("process_tool_rows").memory_gb,
            s3_puts=counts.worker_calls,
            s3_gets=counts.worker_seconds + 2 * counts.worker_calls,
            sqs_requests=ceil(counts.failed_rows / 10),
            # Leases, taken and given back; live counts.
            dynamodb_writes=2 * counts.worker_calls + counts.rows_objects,
            calls=counts.attempts,
        )
