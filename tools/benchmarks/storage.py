"""Rows a second and cost of each storage mode on the local AWS, and memory of the aggregation of many rows of each.

    make bench ONLY=storage                     50,000 aggregated rows
    BENCH_ROWS=1000000 make bench ONLY=storage  a million of them

Speeds are the local AWS's, which takes some 400 requests a second: they compare modes, not AWS. Costs are those of a
million rows by the cost model; inline, those of 4,000 batches of 250 rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from batch_processor_client.deployment import Deployment
from foundation.aws.s3 import S3ObjectStore
from foundation.clock import SystemClock
from foundation.invocation import limit_heap
from foundation.metrics import EmbeddedMetrics
from row_batches.document.input_document import parse_batch_config
from row_batches.document.plan import Concurrency, Keys, Plan, Storage, StorageMode, Target
from row_batches.rows.partitions import batch_ids_of
from row_batches.rows.stores import RowStores
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batch, Batches
from row_batches.run.cost import estimate
from row_batches.run.end_messages import AggregateAction, AggregateRequest
from row_batches.targets.protocol import read_tool_answer
from tools.benchmarks import aggregation_peers
from tools.benchmarks.aggregation_peers import NeverRedriven, NoDeadLetters, OnlyOwner, UnlimitedTime
from tools.benchmarks.batches import run_batch
from tools.outputs import deployment_of

MILLION = 1_000_000
RUN_ROWS = {StorageMode.S3: 2_000, StorageMode.DYNAMODB: 2_000, StorageMode.INLINE: 250}
AGGREGATED_ROWS = int(os.environ.get("BENCH_ROWS", "50000"))
FEWER = 4
"""The peer of the memory has a quarter of the rows."""
PARTITIONS = 4
WRITTEN_AT_ONCE = 1_000
AIM_PEAK_MB = 256
AIM_GROWTH = 1.1
TOOL = Target(name="echo", type="tool", arn="arn", invocation="lambda")
PROGRAM = "from tools.benchmarks.storage import print_figures; print_figures({0!r})"


def document(mode: StorageMode) -> dict[str, Any]:
    return {
        "target": {"type": "tool", "name": "echo"},
        "execution_config": {"max_concurrency": 20, "storage_mode": mode.value},
    }


def usd_a_million(mode: StorageMode) -> float:
    """By the cost model, for rows of 100 bytes; every first attempt succeeds."""
    config = parse_batch_config({"csv_s3_uri": "s3://bucket/rows.csv", **document(mode)})
    rows = RUN_ROWS[mode] if mode is StorageMode.INLINE else MILLION
    concurrency = Concurrency(children=1, threads=20, batch_size=rows if mode is StorageMode.INLINE else 100)
    storage = Storage(mode=mode, batch_ids=batch_ids_of("echo", "run", PARTITIONS))
    cost = estimate(config, TOOL, concurrency, storage, total_rows=rows, staged_bytes=100 * rows)
    return cost.total.best * MILLION / rows


def stores_of(deployment: Deployment) -> tuple[S3ObjectStore, RowStores]:
    objects = S3ObjectStore(deployment.client("s3"), deployment.results_bucket)
    dynamodb = deployment.client("dynamodb")
    return objects, RowStores(objects, SystemClock(), lambda: (dynamodb, deployment.results_table))


def prepare(deployment: Deployment, mode: StorageMode, rows: int) -> str:
    """Write finished rows as workers do; returns the execution's name."""
    objects, stores = stores_of(deployment)
    name = f"bench-{uuid.uuid4()}"
    made = aggregation_peers.make_plan(rows)
    storage = Storage(mode=mode, batch_ids=batch_ids_of("bench", name, PARTITIONS))
    execution = made.execution.model_copy(update={"name": name})
    plan: Plan = made.model_copy(update={"storage": storage, "execution": execution})
    objects.put(Keys(name).plan, plan.model_dump_json().encode())
    batch = Batch(plan, objects, SystemClock(), stores)
    for first in range(1, rows + 1, WRITTEN_AT_ONCE):
        written = []
        for row in range(first, min(rows + 1, first + WRITTEN_AT_ONCE)):
            outcome = read_tool_answer(aggregation_peers.answer_of(row), f"bench:{row}:1")
            started_ms = aggregation_peers.STARTED_MS + row * 20
            written.append(
                batch.finish(
                    row,
                    aggregation_peers.cells_of(row),
                    outcome,
                    row_hash="0" * 64,
                    attempts=1,
                    started_ms=started_ms,
                    ended_ms=started_ms + aggregation_peers.ROW_MS,
                )
            )
        batch.rows.write(written)
    return name


def print_figures(execution: str) -> None:
    """Aggregate an execution and print the seconds, and the process's peak memory in MB."""
    limit_heap()
    objects, stores = stores_of(deployment_of("local"))
    clock = SystemClock()
    started = time.perf_counter()
    response = aggregate_results(
        AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=Keys(execution).plan),
        batches=Batches(objects, clock, stores),
        dead_letters=NoDeadLetters(),
        metrics=EmbeddedMetrics("Bench", clock, sys.stderr),
        ownership=OnlyOwner(),
        redrives=NeverRedriven(),
        clock=clock,
        deadline=UnlimitedTime(),
    )
    assert response.done
    assert response.document is not None
    assert response.document["succeeded"] == response.document["total_rows"]
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    print(json.dumps([time.perf_counter() - started, peak]))


def aggregated(deployment: Deployment, mode: StorageMode, rows: int) -> tuple[float, float]:
    """Seconds and MB of the aggregation of so many rows, in an interpreter of its own."""
    program = PROGRAM.format(prepare(deployment, mode, rows))
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    seconds, peak = json.loads(done.stdout)
    return seconds, peak


def run() -> list[dict[str, Any]]:
    """Speed and cost of each mode beside those of S3 (ratio: ours / S3), and the memory of the aggregation."""
    deployment = deployment_of("local")
    speeds, results = {}, []
    for mode, count in RUN_ROWS.items():
        rows = [{"id": str(row), "text": f"text {row}"} for row in range(count)]
        run_batch(deployment, document(mode), rows[:100])  # warms its workers
        speeds[mode] = count / run_batch(deployment, document(mode), rows).seconds
    for mode, speed in speeds.items():
        peer_usd = usd_a_million(StorageMode.S3)
        usd = usd_a_million(mode)
        results += [
            result(
                f"storage_{mode}_speed", speed, speeds[StorageMode.S3], f"rows/s, {RUN_ROWS[mode]:,} rows; peer: s3"
            ),
            result(f"storage_{mode}_cost", usd, peer_usd, "USD a million tool rows of 100 bytes; peer: s3"),
        ]
    for mode in RUN_ROWS:
        few_peak = aggregated(deployment, mode, AGGREGATED_ROWS // FEWER)[1]
        seconds, peak = aggregated(deployment, mode, AGGREGATED_ROWS)
        rate = AGGREGATED_ROWS / seconds
        unit = f"MB at peak, {AGGREGATED_ROWS:,} rows at {rate:,.0f} a second; peer: a quarter of the rows"
        memory = result(f"storage_{mode}_aggregation_memory", peak, few_peak, unit)
        flat = peak <= AIM_PEAK_MB and peak / few_peak <= AIM_GROWTH
        results.append({**memory, "aim": AIM_PEAK_MB, "met": flat})
    return results


def result(name: str, ours: float, peer: float, unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "peer": peer,
        "ratio": ours / peer,
        "aim": None,
        "met": None,
        "unit": unit,
        "spread": None,
    }
