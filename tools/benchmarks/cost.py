"""Cost of a million rows, from the transitions and invocations that a run on the local AWS really made.

Beside it a design with one Standard child and four states a row, of which only the transitions are counted. The
target's own cost is left out on both sides. What an execution uses once (its own states) is counted once.
"""

from __future__ import annotations

from typing import Any

from foundation.functions import function_sizes
from row_batches.targets.usage import CHILD_START_TRANSITIONS, PRICES, Usage
from tools.benchmarks.batches import Counted, children, counted, rows_objects, run_batch
from tools.outputs import Deployment

MILLION = 1_000_000
TOOL_ROWS = 1_000
AGENT_ROWS = 200
TOOL_SECONDS = 0.2
TOOL_AIM_USD = 2.0
PEER_STATES = 4
TOOL = {
    "target": {"type": "tool", "name": "chaos"},
    "input_mapping": {"static_values": {"mode": "slow", "n": TOOL_SECONDS}},
    "execution_config": {"max_concurrency": 20},
}
AGENT = {
    "target": {"type": "agent", "name": "ticket_classifier_agent"},
    "input_mapping": {"column_mappings": {"text": "ticketText", "mail": "customerEmail"}},
    "execution_config": {"max_concurrency": 10},
}


def usd_per_million(
    deployment: Deployment, document: dict[str, Any], rows: list[dict[str, str]], row_function_gb: float
) -> float:
    """Run the batch, count, and take the counts of its rows to a million."""
    states = deployment.client("stepfunctions")
    arn = run_batch(deployment, document, rows).arn
    once = counted(states, arn)
    of_rows = sum((counted(states, child) for child in children(states, arn)), Counted())
    assert of_rows.executions > 0, "the run has no children"
    scale = MILLION / len(rows)
    usage = Usage(
        transitions=once.transitions + (of_rows.transitions + of_rows.executions * CHILD_START_TRANSITIONS) * scale,
        lambda_requests=once.invocations + of_rows.invocations * scale,
        # Staging and aggregating a million rows takes a minute each at most.
        lambda_gb_seconds=once.invocations * 60 * memory_gb("aggregate_results")
        + of_rows.seconds * row_function_gb * scale,
        # Beside the rows objects: a marker while a worker is active.
        s3_puts=(rows_objects(deployment, arn) + of_rows.invocations) * scale,
        # Each invocation reads the plan and looks at the brake, which it does again each second.
        s3_gets=(2 * of_rows.invocations + of_rows.seconds) * scale,
    )
    return sum(usage.parts().values())


def memory_gb(function: str) -> float:
    return function_sizes("row_batches")[function].memory_gb


def run() -> list[dict[str, Any]]:
    """US dollars a million rows, for tools and for agents."""
    deployment = Deployment.of("local")
    tool_rows = [{"id": str(number)} for number in range(1, TOOL_ROWS + 1)]
    agent_rows = [{"text": "Cannot login to account", "mail": f"{n}@example.com"} for n in range(1, AGENT_ROWS + 1)]
    run_batch(deployment, TOOL, tool_rows[:40])
    run_batch(deployment, AGENT, agent_rows[:40])
    tools = usd_per_million(deployment, TOOL, tool_rows, memory_gb("process_tool_rows"))
    agents = usd_per_million(deployment, AGENT, agent_rows, memory_gb("map_output"))
    peer = MILLION * PEER_STATES * PRICES.state_transition
    return [
        result("cost_per_million_tool_rows", tools, peer, TOOL_AIM_USD),
        result("cost_per_million_agent_rows", agents, peer, None),
    ]


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
