"""Rows with equal inputs are called once, and the output is as without."""

from __future__ import annotations

import random
import time
import uuid
from typing import Any

import pytest

from tests.support.deployment import Deployment, Run, csv_bytes, scaled

ROWS = scaled(20_000, 500)
REPEATED = 0.6
START = time.time_ns() // 1_000_000_000
OUTPUT = {"columns": [{"name": "value", "source": "$.value"}], "add_metadata": ["_row_id", "_status", "_error_message"]}


def document(kind: str, name: str, **execution: Any) -> dict[str, Any]:
    return {
        "target": {"type": kind, "name": name},
        "input_mapping": {"column_mappings": {"mode": "mode", "n": "n"}},
        "output_mapping": OUTPUT,
        "execution_config": {"max_concurrency": 20, "retry_policy": {"max_attempts": 1}, **execution},
    }


def repeating_rows(count: int) -> list[list[str]]:
    """Rows of which 60 % repeat another one's input, and no two are equal; one input of a hundred fails."""
    source = random.Random(7)
    distinct = round(count * (1 - REPEATED))
    numbers = list(range(distinct)) + [source.randrange(distinct) for _ in range(count - distinct)]
    source.shuffle(numbers)
    return [[f"note {row}", "fail" if n % 100 == 99 else "ok", str(n)] for row, n in enumerate(numbers, 1)]


def body_of(rows: list[list[str]]) -> bytes:
    return csv_bytes([["note", "mode", "n"], *rows])


def assert_called_once_each(run: Run, rows: list[list[str]]) -> None:
    distinct = {(mode, n) for _, mode, n in rows}
    summary = run.summary
    assert summary["attempts"] == summary["distinct_rows"] == len(distinct)
    assert summary["savings"]["deduplicate"]["calls"] == len(rows) - len(distinct)
    assert f"{len(rows):,} rows, {len(distinct):,} distinct: equal inputs are sent once." in summary["warnings"]


def test_a_file_that_repeats_itself_costs_a_call_for_each_distinct_input(deployment: Deployment) -> None:
    rows = repeating_rows(ROWS)
    plain = deployment.run(document("tool", "chaos"), body_of(rows), timeout=900).assert_succeeded()

    planned = deployment.run({**document("tool", "chaos", deduplicate=True), "dry_run": True}, body_of(rows))
    run = deployment.run(document("tool", "chaos", deduplicate=True), body_of(rows), timeout=900).assert_succeeded()

    assert run.output == plain.output
    assert run.failed_rows.replace(run.name.encode(), plain.name.encode()) == plain.failed_rows
    assert_called_once_each(run, rows)
    assert planned.document["distinct_rows"] == run.summary["distinct_rows"]
    assert planned.document["rows_to_run"] == run.summary["distinct_rows"]
    parts, plain_parts = planned.document["estimate"]["parts"], plain.summary["estimate"]["parts"]
    assert parts["lambda"]["best"] < plain_parts["lambda"]["best"]
    assert (run.document["failed"], run.document["succeeded"]) == (
        plain.document["failed"],
        plain.document["succeeded"],
    )
    failed = [int(row["_row_id"]) for row in plain.rows if row["_status"] == "FAILED"]
    assert [letter["row"] for letter in plain.dead_letters()] == failed
    assert [letter["row"] for letter in run.dead_letters()] == failed


def test_the_same_file_again_with_cache_days_calls_for_nothing_that_was_answered(deployment: Deployment) -> None:
    # Given inputs of this test alone, since answers are kept for a day
    rows = [[note, "ok", str(START + int(n))] for note, _, n in repeating_rows(ROWS)]
    first = deployment.run(document("tool", "chaos", deduplicate=True), body_of(rows), timeout=900).assert_succeeded()

    both = document("tool", "chaos", deduplicate=True, cache_days=1)
    again = deployment.run(both, body_of(rows), timeout=900).assert_succeeded()
    alone = deployment.run(document("tool", "chaos", cache_days=1), body_of(rows), timeout=900).assert_succeeded()

    assert first.summary["attempts"] > 0
    for run in (again, alone):
        assert run.output == first.output
        assert (run.summary["attempts"], run.summary["resumed"]) == (0, 0)
    distinct = first.summary["distinct_rows"]
    assert again.summary["savings"]["cache_days"]["calls"] == distinct
    saved = {"calls": len(rows), "usd": pytest.approx(len(rows) * 0.001)}
    assert alone.summary["savings"] == {"cache_days": saved}


def test_agents_answer_each_distinct_input_once(deployment: Deployment) -> None:
    rows = [[f"note {row}", "fail" if row % 4 == 3 else "ok", str(row % 4)] for row in range(12)]
    batch_name = f"once{uuid.uuid4().hex[:8]}"
    asked = {**document("agent", "chaos_agent", deduplicate=True), "notification_config": {"batch_name": batch_name}}

    run = deployment.run(asked, body_of(rows)).assert_succeeded()

    assert_called_once_each(run, rows)
    assert len(deployment.agent_executions(batch_name)) == 4
    assert [row["value"] for row in run.rows] == ["" if mode == "fail" else n for _, mode, n in rows]
    assert [row["_row_id"] for row in run.rows] == [str(number) for number in range(1, 13)]
    assert run.document["failed"] == 3

    # And what succeeded is known to the next batch
    asked["execution_config"]["cache_days"] = 1
    again = deployment.run(asked, body_of(rows)).assert_succeeded()
    assert again.output == run.output
    assert (again.summary["attempts"], again.summary["savings"]["cache_days"]["calls"]) == (1, 3)


@pytest.mark.parametrize("storage_mode", ["s3", "dynamodb", "inline"])
def test_express_agents_answer_each_distinct_input_once(deployment: Deployment, storage_mode: str) -> None:
    texts = ["a", "b", "a", "a", "b", "c"]
    asked = {
        "target": {"type": "agent", "name": "echo_express_agent"},
        "output_mapping": {"columns": [{"name": "echoed", "source": "$.input.text"}]},
        "execution_config": {"deduplicate": True, "storage_mode": storage_mode},
    }

    run = deployment.run(asked, csv_bytes([["text"], *[[text] for text in texts]])).assert_succeeded()

    assert [row["echoed"] for row in run.rows] == texts
    assert run.summary["attempts"] == 3
