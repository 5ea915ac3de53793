"""How many children of the map, threads in each, and rows a child (design 3.6)."""

from __future__ import annotations

from math import ceil

from batch_processor.domain.batch_config import BatchConfig
from batch_processor.domain.plan import Concurrency, Invocation, Target

MAX_THREADS = 30
"""Calls in flight in one worker: what 1,024 MB (about 0.6 of a vCPU) keeps busy with answers of usual size."""


def plan_concurrency(config: BatchConfig, target: Target, total_rows: int) -> Concurrency:
    """Spread ``max_concurrency`` rows in flight over children and threads; their product never exceeds it.

    Standard agents: one row a child, so as many children as rows in flight.

    Otherwise (tools, and Express agents, which answer as synchronously): as few children as ``MAX_THREADS`` allows, with
    equally many threads each: 60 is 2 × 30, 100 is 4 × 25, 31 is 2 × 15 (the odd one is given up). ``batch_size`` is the
    configured one, or less when the rows would not fill a batch for every child: 200 rows at concurrency 60 are two batches
    of 100, but 100 rows are two of 50, so that all 60 calls are in flight. It is never above the configured number, so 60 rows with
    ``batch_size`` 5 are 12 batches; then threads are limited to the batch, and there are more children to make up for it.
    """
    settings = config.execution_config
    if target.invocation is Invocation.STANDARD:
        return Concurrency(children=settings.max_concurrency, threads=1, batch_size=1)
    in_flight = max(1, min(settings.max_concurrency, total_rows))
    children = ceil(in_flight / min(MAX_THREADS, settings.batch_size))
    threads = in_flight // children
    return Concurrency(
        children=children,
        threads=threads,
        batch_size=max(1, min(settings.batch_size, ceil(total_rows / children))),
    )
