"""A run goes on where an earlier one ended: what was answered there is taken over, and not paid for twice."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.support.deployment import Deployment, Run, csv_bytes

HEADER = ["mode", "n"]


def document(kind: str, name: str, **execution: Any) -> dict[str, Any]:
    return {
        "target": {"type": kind, "name": name},
        "output_mapping": {"columns": [{"name": "value", "source": "$.value", "type": "number"}]},
        "execution_config": {"max_concurrency": 1, "retry_policy": {"max_attempts": 1}, **execution},
    }


def answers(run: Run) -> dict[int, Any]:
    """The raw answers that the run keeps, by row."""
    kept: dict[int, Any] = {}
    for key in run.deployment.keys(f"work/{run.name}/rows/"):
        body = run.deployment.read(run.deployment.outputs["results_bucket"], key)
        for line in body.splitlines()[1:]:
            answer = json.loads(line)
            kept[answer["row"]] = answer["answer"]
    return kept


def assert_whole(run: Run, rows: list[list[str]]) -> None:
    assert [row["_row_id"] for row in run.rows] == [str(number) for number in range(1, len(rows) + 1)]
    assert [[row["mode"], row["n"]] for row in run.rows] == rows
    assert [row["value"] for row in run.rows] == [n for _, n in rows]
    assert {row["_status"] for row in run.rows} == {"SUCCESS"}


def test_a_stopped_run_of_a_tool_is_completed_and_only_the_rest_is_called(deployment: Deployment) -> None:
    # Given a run that stopped at its second failure
    rows = [["ok", str(number)] for number in range(30)]
    faulty = [["fail", n] if number in {6, 13} else [mode, n] for number, (mode, n) in enumerate(rows)]
    batches = {"batch_size": 7, "stop_after": {"failed_rows": 2}}
    stopped = deployment.run(document("tool", "chaos", **batches), csv_bytes([HEADER, *faulty]))
    assert (stopped.status, stopped.error) == ("FAILED", "RowFailedError")
    answered = [row for row in stopped.rows if row["_status"] == "SUCCESS"]
    assert 12 <= len(answered) < 28

    # When it goes on with a corrected CSV, in batches of another size, by its ARN
    again = document("tool", "chaos", batch_size=11, resume_from=stopped.arn)
    run = deployment.run(again, csv_bytes([HEADER, *rows])).assert_succeeded()

    # Then the output is whole, and the answers of the first run are among its own
    assert_whole(run, rows)
    assert run.document["resumed"] == run.summary["resumed"] == len(answered)
    assert run.summary["attempts"] == 30 - len(answered)
    asked_by = {number: answer["tool_use_id"].split(":")[0] for number, answer in answers(run).items()}
    first = {int(row["_row_id"]) for row in answered}
    assert asked_by == {number: stopped.name if number in first else run.name for number in range(1, 31)}

    # And that run can be resumed in its turn: then nothing is left to call
    third = deployment.run(
        document("tool", "chaos", resume_from=run.name), csv_bytes([HEADER, *rows])
    ).assert_succeeded()
    assert_whole(third, rows)
    assert (third.summary["resumed"], third.summary["attempts"]) == (30, 0)


def test_an_agent_that_answered_a_row_is_not_started_for_it_again(deployment: Deployment) -> None:
    rows = [["ok", str(number)] for number in range(5)]
    faulty = [rows[0], ["fail", "1"], *rows[2:]]
    first = deployment.run(document("agent", "chaos_agent"), csv_bytes([HEADER, *faulty])).assert_succeeded()
    assert first.document["failed"] == 1
    batch_name = f"resume{uuid.uuid4().hex[:8]}"
    again = document("agent", "chaos_agent", resume_from=first.name)
    again["notification_config"] = {"batch_name": batch_name}

    run = deployment.run(again, csv_bytes([HEADER, *rows])).assert_succeeded()

    assert_whole(run, rows)
    (started,) = deployment.agent_executions(batch_name)
    assert started.endswith("-2-1"), "the first attempt at row 2"
    assert (run.document["resumed"], run.summary["attempts"]) == (4, 1)
    assert run.dead_letters() == []


def test_an_express_agent_is_resumed_as_a_tool_is(deployment: Deployment) -> None:
    express = {
        "target": {"type": "agent", "name": "echo_express_agent"},
        "output_mapping": {"columns": [{"name": "echoed", "source": "$.input.text"}]},
        "execution_config": {"retry_policy": {"max_attempts": 1}},
    }
    header, rows = ["text", "fail"], [["a", "false"], ["b", "true"], ["c", "false"]]
    first = deployment.run(express, csv_bytes([header, *rows])).assert_succeeded()
    express["execution_config"] = {"retry_policy": {"max_attempts": 1}, "resume_from": first.name}

    run = deployment.run(express, csv_bytes([header, rows[0], ["b", "false"], rows[2]])).assert_succeeded()

    assert [(row["echoed"], row["_status"]) for row in run.rows] == [(text, "SUCCESS") for text in "abc"]
    assert (run.summary["resumed"], run.summary["attempts"]) == (2, 1)


def test_an_execution_that_cannot_be_resumed_is_refused_by_reason(deployment: Deployment) -> None:
    body = csv_bytes([HEADER, ["ok", "1"]])
    first = deployment.run(document("tool", "chaos"), body).assert_succeeded()

    other = deployment.run(document("tool", "echo", resume_from=first.name), body)
    unknown = deployment.run(document("tool", "chaos", resume_from=f"unknown-{uuid.uuid4()}"), body)
    key = f"work/{first.name}/plan.json"
    deployment.s3.delete_object(Bucket=deployment.outputs["results_bucket"], Key=key)
    expired = deployment.run(document("tool", "chaos", resume_from=first.name), body)

    for run, said in (
        (other, "its answers are those of another target"),
        (unknown, "no execution of this name has left anything"),
        (expired, "its answers have expired"),
    ):
        assert (run.status, run.error) == ("FAILED", "InvalidInputError")
        assert f"execution_config.resume_from: {said}" in run.cause
