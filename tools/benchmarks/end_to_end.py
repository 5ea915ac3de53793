"""A whole batch beside a bare loop that invokes the same function as often and as concurrently.

Both run on the same local AWS, one after the other, warmed. ``tools/bench.py`` starts it.
"""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tools.benchmarks.batches import run_batch
from tools.outputs import Deployment

ROWS = 2_000
CONCURRENCY = 10
ROUNDS = 3
AIM = 1.3
DOCUMENT = {
    "target": {"type": "tool", "name": "echo"},
    "output_mapping": {"columns": [{"name": "echoed", "source": "$.input.text"}]},
    "execution_config": {"max_concurrency": CONCURRENCY},
}


def echo_function(deployment: Deployment) -> str:
    """The ARN of the function, from the registry."""
    table = deployment.outputs["registry_table"]
    item = deployment.client("dynamodb").get_item(TableName=table, Key={"name": {"S": "echo"}})["Item"]
    return str(item["arn"]["S"])


def bare_loop(client: Any, function: str, rows: list[dict[str, str]]) -> float:
    """Seconds to invoke the function once a row, CONCURRENCY at once, reading every answer."""

    def invoke(numbered: tuple[int, dict[str, str]]) -> None:
        number, row = numbered
        payload = json.dumps({"name": "echo", "input": row, "id": f"bare:{number}:1"})
        answer = json.loads(client.invoke(FunctionName=function, Payload=payload)["Payload"].read())
        assert answer["content"]["input"] == row

    begun = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(invoke, enumerate(rows, 1)))
    return time.perf_counter() - begun


def run() -> list[dict[str, Any]]:
    """Median seconds of both, and ours / theirs."""
    deployment = Deployment.of("local")
    rows = [{"id": str(number), "text": f"text of row {number}"} for number in range(1, ROWS + 1)]
    client, function = deployment.client("lambda"), echo_function(deployment)
    bare_loop(client, function, rows[:200])
    run_batch(deployment, DOCUMENT, rows)
    ours, peer = [], []
    for _ in range(ROUNDS):
        peer.append(bare_loop(client, function, rows))
        ours.append(run_batch(deployment, DOCUMENT, rows).seconds)
    ratio = statistics.median(ours) / statistics.median(peer)
    return [
        {
            "name": "end_to_end",
            "ours": statistics.median(ours),
            "peer": statistics.median(peer),
            "ratio": ratio,
            "aim": AIM,
            "met": ratio <= AIM,
            "unit": f"s for {ROWS:,} rows, concurrency {CONCURRENCY}; peer: bare loop",
            "spread": (max(ours) - min(ours)) / statistics.median(ours),
        }
    ]
