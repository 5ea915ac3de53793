"""Cost of a million rows, from the transitions and invocations of a real run on the local AWS.

Agents run with 1, 5 and 20 rows a child and answers of 1, 8 and 60 KB; the time of a row is measured, too. The peer of
a cost is a design with one Standard child and four states for each row; only its transitions count. Both sides exclude
the target's own cost. States that an execution enters once are counted once.
"""

from __future__ import annotations

from typing import Any

from batch_processor_client.deployment import Deployment
from foundation.functions import function_sizes
from foundation.prices import PRICES
from row_batches.targets.usage import CHILD_START_TRANSITIONS, Usage
from tools.benchmarks.batches import Counted, children, counted, rows_objects, run_batch
from tools.outputs import deployment_of

MILLION = 1_000_000
TOOL_ROWS = 1_000
AGENT_ROWS = {1: 40, 5: 50, 20: 200}
"""By rows a child: as many rows as give each of the children in flight its share."""
AGENT_CHILDREN = 10
ANSWER_KB = (1, 8, 60)
AGENT_AIM_USD = 70.0
"""With 20 rows a child."""
TOOL_SECONDS = 0.2
TOOL_AIM_USD = 2.0
PEER_STATES = 4
TOOL = {
    "target": {"type": "tool", "name": "chaos"},
    "input_mapping": {"static_values": {"mode": "slow", "n": TOOL_SECONDS}},
    "execution_config": {"max_concurrency": 20},
}


def agent(rows_a_child: int, answer_kb: int) -> dict[str, Any]:
    """A batch whose rows share a child as said: one that may take longer than 900 seconds has a child of its own."""
    return {
        "target": {"type": "agent", "name": "chaos_agent"},
        "input_mapping": {"static_values": {"mode": "large", "n": answer_kb * 1_000}},
        "output_mapping": {"columns": [{"name": "result", "source": "$.result"}]},
        "execution_config": {
            "max_concurrency": AGENT_CHILDREN,
            "timeout_seconds": 901 if rows_a_child == 1 else 300,
        },
    }


def usd_per_million(
    deployment: Deployment, document: dict[str, Any], rows: list[dict[str, str]], row_function: str
) -> tuple[float, float, float]:
    """Run the batch, count, and take the counts of its rows to a million; also, rows a child, and seconds a row.

    ``row_function`` is the one whose memory counts for the calls of the children.
    """
    states = deployment.client("stepfunctions")
    batch = run_batch(deployment, document, rows)
    arn = batch.arn
    once = counted(states, arn)
    of_rows = sum((counted(states, child) for child in children(states, arn)), Counted())
    assert of_rows.executions > 0, "the run has no children"
    scale = MILLION / len(rows)
    usage = Usage(
        transitions=once.transitions + (of_rows.transitions + of_rows.executions * CHILD_START_TRANSITIONS) * scale,
        lambda_requests=once.invocations + of_rows.invocations * scale,
        # Staging and aggregating a million rows take up to a minute each.
        lambda_gb_seconds=once.invocations * 60 * memory_gb("aggregate_results")
        + of_rows.seconds * memory_gb(row_function) * scale,
        # Beside the rows objects: what a child lists, or marks, at its beginning.
        s3_puts=(rows_objects(deployment, arn) + of_rows.executions) * scale,
        # Each invocation reads the plan and looks at the brake, which it does again each second.
        s3_gets=(2 * of_rows.invocations + of_rows.seconds) * scale,
    )
    return sum(usage.parts().values()), len(rows) / of_rows.executions, batch.seconds / len(rows)


def memory_gb(function: str) -> float:
    return function_sizes("row_batches")[function].memory_gb


def run() -> list[dict[str, Any]]:
    """US dollars a million rows, for tools and for agents."""
    deployment = deployment_of("local")
    tool_rows = [{"id": str(number)} for number in range(1, TOOL_ROWS + 1)]
    run_batch(deployment, TOOL, tool_rows[:40])
    run_batch(deployment, agent(5, 1), tool_rows[:50])
    peer = MILLION * PEER_STATES * PRICES.state_transition
    usd, _, _ = usd_per_million(deployment, TOOL, tool_rows, "process_tool_rows")
    results = [result("cost_per_million_tool_rows", usd, peer, TOOL_AIM_USD)]
    for answer_kb in ANSWER_KB:
        alone = 0.0
        for rows_a_child, count in AGENT_ROWS.items():
            usd, shared, seconds = usd_per_million(
                deployment, agent(rows_a_child, answer_kb), tool_rows[:count], "map_output"
            )
            assert shared == rows_a_child, f"{shared} rows shared a child, not {rows_a_child}"
            alone = alone or seconds
            name = f"agent_rows_{rows_a_child}_a_child_{answer_kb}_kb"
            aim = AGENT_AIM_USD if rows_a_child == max(AGENT_ROWS) else None
            results.append(result(f"cost_per_million_{name}", usd, peer, aim))
            time = result(f"seconds_{name}", seconds, alone, None)
            results.append(time | {"unit": f"s a row, {AGENT_CHILDREN} in flight; peer: one row a child"})
    return results


def result(name: str, ours: float, peer: float, aim: float | None) -> dict[str, Any]:
    """One result; the aim is in US dollars."""
    return {
        "name": name,
        "ours": ours,
        "peer": peer,
        "ratio": ours / peer,
        "aim": aim,
        "met": None if aim is None else ours <= aim,
        "unit": f"USD, target excluded; peer: {PEER_STATES} states a row",
        "spread": None,
    }
