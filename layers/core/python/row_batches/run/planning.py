"""How many children of the map, threads in each, and rows a child."""

from __future__ import annotations

from math import ceil

from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Concurrency, Invocation, Target

MAX_THREADS = 30
"""Calls in flight in one worker: what its 1,024 MB (0.58 of a vCPU) serves without becoming the bottleneck."""

MAX_CALLS_A_CHILD = 3_000
"""A call of the worker takes some 7 of the 25,000 events that a child's history may have
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""
CALL_SECONDS = 870
"""What a call of the worker has for rows: one that may take half of it or longer may be all that a thread gets done."""

MAX_BATCH_BYTES = 200_000
"""``MaxInputBytesPerBatch`` of the map: a batch ends here, however few rows it has."""


def plan_concurrency(config: BatchConfig, target: Target, total_rows: int, *, row_bytes: int = 0) -> Concurrency:
    """Spread ``max_concurrency`` rows in flight over children and threads; their product never exceeds it.

    Standard agents: one row a child, so as many children as rows in flight.

    Tools, and Express agents, which answer as synchronously: few children with many threads, as a worker is paid for
    while its rows wait. Of the thread counts from a third of what is possible up to it, the one that uses most
    of ``max_concurrency``, then the highest: 60 is 2 × 30, 100 is 4 × 25, 59 is 2 × 29 (one is given up).

    ``batch_size`` is the configured one, or less where the rows would not fill a batch for every child: 200 rows at 60
    are two batches of 100, but 100 rows are two of 50, so that all 60 calls are in flight. Threads are no more than the
    rows a batch can hold; ``row_bytes`` is the average size of a staged row (0: small). Where rows may take so long
    that a worker gets to one each, a batch has no more than a child's history can take.
    """
    settings = config.execution_config
    if target.invocation is Invocation.STANDARD:
        return Concurrency(children=settings.max_concurrency, threads=1, batch_size=1)
    in_flight = max(1, min(settings.max_concurrency, total_rows))
    batch_size = min(settings.batch_size, max(1, MAX_BATCH_BYTES // max(1, row_bytes)))
    most = min(MAX_THREADS, batch_size, in_flight)
    threads = max(range(max(1, most // 3), most + 1), key=lambda count: (in_flight // count * count, count))
    children = in_flight // threads
    if 2 * settings.timeout_seconds > CALL_SECONDS:
        batch_size = min(batch_size, MAX_CALLS_A_CHILD * threads)
    return Concurrency(
        children=children,
        threads=threads,
        batch_size=max(1, min(batch_size, ceil(total_rows / children))),
    )
