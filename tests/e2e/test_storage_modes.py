"""Finished rows in S3, in DynamoDB, and of rows that run inline: the same output, and no row paid for twice."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import pytest

from batch_processor_client.rows import list_rows
from emulator.testing import control
from row_batches.rows.records import RowStatus
from row_batches.run.cost import INLINE_TRANSITIONS
from row_batches.run.runs_dynamodb import DynamoDbRuns
from row_batches.targets.standard_agent import CHILD_TRANSITIONS, ROW_TRANSITIONS, inline_events
from tests.support.aws_resources import eventually
from tests.support.deployment import Deployment, Run, csv_bytes, scaled
from tests.support.iam import client_with

MODES = ("s3", "dynamodb", "inline")
HEADER = ["mode", "n"]
MANY_ROWS = scaled(100_000, 2_000)


def document(mode: str, tool: str = "chaos", **execution: Any) -> dict[str, Any]:
    return {
        "target": {"type": "tool", "name": tool},
        "output_mapping": {
            "columns": [{"name": "value", "source": "$.value", "type": "number"}],
            "add_metadata": ["_row_id", "_status", "_error_message", "_attempts"],
        },
        "execution_config": {
            "max_concurrency": 4,
            "batch_size": 10,
            "retry_policy": {"max_attempts": 1},
            "storage_mode": mode,
            **execution,
        },
    }


def history(run: Run) -> list[dict[str, Any]]:
    pages = run.deployment.states.get_paginator("get_execution_history").paginate(executionArn=run.arn)
    return [event for page in pages for event in page["events"]]


def map_runs(run: Run) -> list[Any]:
    return list(run.deployment.states.list_map_runs(executionArn=run.arn)["mapRuns"])


def items(run: Run) -> dict[str, dict[str, Any]]:
    """The run's items by row_id, without those that commit them."""
    client, table = run.deployment.client("dynamodb"), run.deployment.outputs["results_table"]
    found: dict[str, dict[str, Any]] = {}
    for batch_id in run.summary["storage"]["batch_ids"]:
        pages = client.get_paginator("query").paginate(
            TableName=table,
            KeyConditionExpression="batch_id = :id",
            ExpressionAttributeValues={":id": {"S": batch_id}},
        )
        found |= {item["row_id"]["S"]: item for page in pages for item in page["Items"]}
    return found


@contextmanager
def dynamodb_fault(deployment: Deployment, **fault: Any) -> Iterator[None]:
    """Requests to DynamoDB that fail, until the block ends."""
    assert deployment.local_aws is not None
    endpoint = deployment.local_aws.endpoint_url
    control(endpoint, "PUT", "services/faults", {"service": "dynamodb", **fault})
    try:
        yield
    finally:
        control(endpoint, "DELETE", "services/faults")


def test_the_modes_give_the_same_bytes_and_leave_nothing_elsewhere(deployment: Deployment) -> None:
    rows = [["fail" if n % 9 == 4 else "ok", str(n)] for n in range(60)]
    body = csv_bytes([HEADER, *rows])

    runs = {mode: deployment.run(document(mode), body).assert_succeeded() for mode in MODES}

    assert len({run.output for run in runs.values()}) == 1
    assert len({run.failed_rows.replace(run.name.encode(), b"this run") for run in runs.values()}) == 1
    assert {run.document["failed"] for run in runs.values()} == {7}
    assert [run.summary["storage"]["mode"] for run in runs.values()] == list(MODES)
    assert len(items(runs["dynamodb"])) == 60
    assert not deployment.keys(f"work/{runs['dynamodb'].name}/rows/")
    assert map_runs(runs["s3"])
    assert map_runs(runs["inline"]) == []


def test_ten_rows_inline_take_six_states_and_three_calls_of_functions(deployment: Deployment) -> None:
    run = deployment.run(document("auto"), csv_bytes([HEADER, *[["ok", str(n)] for n in range(10)]]))

    run.assert_succeeded()
    entered = [
        event["stateEnteredEventDetails"]["name"] for event in history(run) if "stateEnteredEventDetails" in event
    ]
    assert entered == [
        "ValidateInput",
        "ChooseProcessor",
        "ProcessRowsInline",
        "AggregateResults",
        "AggregationDone",
        "Succeed",
    ]
    calls = Counter(event["type"] for event in history(run))
    assert calls["TaskScheduled"] == 3
    assert map_runs(run) == []
    assert run.summary["storage"]["reason"] == "auto: 10 rows fit into the payload of the state machine"


def test_250_rows_run_inline_and_what_is_too_large_is_refused_with_the_figure(deployment: Deployment) -> None:
    rows = [["ok", str(n)] for n in range(250)]
    run = deployment.run(document("inline", max_concurrency=20), csv_bytes([HEADER, *rows])).assert_succeeded()
    assert run.document["succeeded"] == 250
    assert map_runs(run) == []

    large = csv_bytes([[*HEADER, "text"], *[[*row, "x" * 500] for row in [*rows, ["ok", "250"]]]])
    refused = deployment.run(document("inline"), large)

    assert (refused.status, refused.error) == ("FAILED", "InvalidInputError")
    assert "execution_config.storage_mode: 251 rows take" in refused.cause
    assert "KB in the state machine's payload" in refused.cause


def test_a_dry_run_says_the_mode_and_why(deployment: Deployment) -> None:
    body = csv_bytes([HEADER, *[["ok", str(n)] for n in range(5_000)]])
    run = deployment.run({**document("auto"), "dry_run": True}, body).assert_succeeded()

    assert run.document["storage"]["mode"] == "s3"
    assert "5,000 rows take" in run.document["storage"]["reason"]


def test_many_rows_in_dynamodb_are_stopped_half_way_and_resumed_without_calling_recorded_rows(
    deployment: Deployment,
) -> None:
    # Given a run that is stopped when half of its rows are recorded
    rows = [["ok", str(n)] for n in range(MANY_ROWS)]
    body = csv_bytes([HEADER, *rows])
    settings: dict[str, Any] = {"max_concurrency": scaled(10, 4), "batch_size": 100}
    arn = deployment.start({"csv_s3_uri": deployment.upload(body), **document("dynamodb", "echo", **settings)})
    name = arn.rpartition(":")[2]
    runs = DynamoDbRuns(deployment.client("dynamodb"), deployment.outputs["runs_table"])

    def half_is_done() -> bool:
        run = runs.get(name)
        return run is not None and run.counts.succeeded >= MANY_ROWS // 2

    assert eventually(half_is_done, 3_600)
    deployment.states.stop_execution(executionArn=arn)
    stopped = Run(deployment, arn, deployment.wait(arn), "")
    assert eventually(lambda: deployment.keys(f"results/{name}/summary.json"), 300), "it is not finished"
    recorded = stopped.summary["succeeded"]
    assert MANY_ROWS // 2 <= recorded < MANY_ROWS
    assert len(items(stopped)) == recorded

    # When it is resumed, in another mode
    again = document("s3", "echo", resume_from=name, **settings)
    resumed = deployment.run(again, body, timeout=3_600).assert_succeeded()

    # Then rows that were recorded are not called again, and the output is whole
    assert resumed.summary["resumed"] == recorded
    assert resumed.summary["attempts"] == MANY_ROWS - recorded
    assert [row["_row_id"] for row in resumed.rows] == [str(n) for n in range(1, MANY_ROWS + 1)]
    assert {row["_status"] for row in resumed.rows} == {"SUCCESS"}


@pytest.mark.parametrize(("first", "second"), [("s3", "dynamodb"), ("dynamodb", "inline"), ("inline", "dynamodb")])
def test_a_run_is_resumed_in_another_mode(deployment: Deployment, first: str, second: str) -> None:
    rows = [["ok", str(n)] for n in range(30)]
    faulty = [["fail", n] if n in {"6", "13"} else [mode, n] for mode, n in rows]
    earlier = deployment.run(document(first), csv_bytes([HEADER, *faulty])).assert_succeeded()

    run = deployment.run(document(second, resume_from=earlier.name), csv_bytes([HEADER, *rows])).assert_succeeded()

    assert (run.summary["resumed"], run.summary["attempts"]) == (28, 2)
    assert [row["value"] for row in run.rows] == [n for _, n in rows]


@pytest.mark.local_only("it makes DynamoDB fail")
def test_a_throttled_table_makes_a_run_slower_and_loses_nothing(deployment: Deployment) -> None:
    rows = [["ok", str(n)] for n in range(40)]
    throttled = {"status": 400, "code": "ProvisionedThroughputExceededException", "message": "slower"}
    with dynamodb_fault(deployment, operation="BatchWriteItem", count=8, **throttled):
        run = deployment.run(document("dynamodb"), csv_bytes([HEADER, *rows])).assert_succeeded()

    assert [row["value"] for row in run.rows] == [n for _, n in rows]
    assert run.summary["attempts"] == 40, "no row ran again"
    assert len(items(run)) == 40


def test_a_remapped_run_in_dynamodb_and_its_large_rows(deployment: Deployment) -> None:
    rows = [["large", "600000"], ["ok", "2"]]
    settings: dict[str, Any] = {"enable_compression": False, "ttl_days": 2}
    run = deployment.run(document("dynamodb", **settings), csv_bytes([HEADER, *rows])).assert_succeeded()

    assert [row["_status"] for row in run.rows] == ["SUCCESS", "SUCCESS"]
    first = items(run)["row_000000001"]
    assert first["spilled_to"]["S"].endswith(f"work/{run.name}/spilled/000000000001.jsonl")


@pytest.mark.parametrize("mode", MODES)
def test_who_may_start_batches_lists_their_rows(deployment: Deployment, mode: str) -> None:
    rows = [["fail" if n in (3, 150) else "ok", str(n)] for n in range(160)]
    run = deployment.run(document(mode, max_concurrency=20, batch_size=50), csv_bytes([HEADER, *rows]))
    run.assert_succeeded()
    with client_with(deployment, deployment.outputs["caller_policy_json"]) as client:
        failed = list_rows(client, run.name, statuses=[RowStatus.FAILED])
        page = list_rows(client, run.arn, first_row=100, limit=3)

    assert [(row.row, row.values["n"]) for row in failed.rows] == [(4, "3"), (151, "150")]
    assert all("ChaosError" in row.error for row in failed.rows)
    assert ([row.row for row in page.rows], page.next_row) == ([100, 101, 102], 103)


def agent_document(mode: str, batch_name: str, **execution: Any) -> dict[str, Any]:
    return {
        **document(mode, "chaos_agent", timeout_seconds=10, **execution),
        "target": {"type": "agent", "name": "chaos_agent"},
        "notification_config": {"batch_name": batch_name},
    }


def unique_name() -> str:
    return f"modes{uuid.uuid4().hex[:8]}"


def rows_a_child(run: Run) -> int:
    plan = json.loads(run.deployment.read(run.deployment.outputs["results_bucket"], f"work/{run.name}/plan.json"))
    return int(plan["concurrency"]["batch_size"])


def finished(deployment: Deployment, execution: str) -> int:
    return len(deployment.keys(f"work/{execution}/rows/"))


def test_an_agents_rows_give_the_same_bytes_inline_each_for_itself(deployment: Deployment) -> None:
    modes = [["fail", "0"], ["flaky", "1"], ["large", "60000"], ["retryable", "1"], ["error", "0"], ["slow", "60"]]
    rows = [["ok", str(n)] for n in range(8)] + modes + [["ok", "9"]]
    retries: dict[str, Any] = {"retry_policy": {"max_attempts": 2, "initial_interval_seconds": 1, "jitter": False}}
    runs = {
        mode: deployment.run(agent_document(mode, unique_name(), **retries), csv_bytes([HEADER, *rows]))
        for mode in ("s3", "inline")
    }

    inline = runs["inline"].assert_succeeded()
    assert inline.output == runs["s3"].assert_succeeded().output
    assert [row["_status"] for row in inline.rows[8:]] == [
        *("FAILED", "SUCCESS", "SUCCESS", "SUCCESS", "FAILED", "TIMEOUT", "SUCCESS")
    ]
    assert map_runs(inline) == []
    assert inline.summary["storage"]["mode"] == "inline"
    assert inline.summary["peak_rows_in_flight"] <= 4
    assert len(history(inline)) <= inline_events(len(rows), rows_a_child(inline), 2)


def test_auto_runs_a_small_batch_of_an_agent_inline_in_the_states_that_are_charged(deployment: Deployment) -> None:
    rows = [["ok", str(n)] for n in range(10)]
    run = deployment.run(agent_document("auto", unique_name()), csv_bytes([HEADER, *rows])).assert_succeeded()

    assert run.summary["storage"]["mode"] == "inline"
    assert map_runs(run) == []
    entered = [event for event in history(run) if "stateEnteredEventDetails" in event]
    children = ceil(len(rows) / rows_a_child(run))
    assert len(entered) == INLINE_TRANSITIONS + len(rows) * ROW_TRANSITIONS + children * (1 + CHILD_TRANSITIONS)


def test_an_inline_agent_that_is_stopped_fails_alone_and_rows_in_flight_finish_after_the_brake(
    deployment: Deployment,
) -> None:
    # Given an inline run in which two agents run, and one of them is stopped
    name, batch_name = f"run-{uuid.uuid4()}", unique_name()
    uri = deployment.upload(csv_bytes([HEADER, *[["slow", "4"] for _ in range(12)]]))
    document = agent_document("inline", batch_name, max_concurrency=2)
    arn = deployment.start({"csv_s3_uri": uri, **document}, name)
    assert eventually(lambda: len(deployment.agent_executions(batch_name)) >= 2, 300)
    deployment.states.stop_execution(executionArn=deployment.listed_agents(batch_name)[0]["executionArn"])
    assert eventually(lambda: finished(deployment, name) >= 2, 300), "the other row ends"

    # When the brake is pulled
    brake = {"reason": "stopped by hand", "error": "StoppedError", "message": ""}
    bucket = deployment.outputs["results_bucket"]
    deployment.s3.put_object(Bucket=bucket, Key=f"work/{name}/brake.json", Body=json.dumps(brake).encode())
    run = Run(deployment, arn, deployment.wait(arn), uri)

    # Then rows in flight finish, and no other starts
    assert run.error == "StoppedError"
    attempted = Counter(row["_status"] for row in run.rows if "not started" not in row["_error_message"])
    assert attempted["FAILED"] == 1
    assert attempted["SUCCESS"] >= 1
    assert attempted.total() == len(deployment.agent_executions(batch_name)) < 12
    assert map_runs(run) == []


@pytest.mark.parametrize("how", ["resumed", "redriven"])
def test_a_stopped_inline_run_of_an_agent_goes_on_and_pays_no_answer_twice(deployment: Deployment, how: str) -> None:
    rows = [["slow", "2"] for _ in range(16)]
    name, batch_name, body = f"run-{uuid.uuid4()}", unique_name(), csv_bytes([HEADER, *rows])
    uri = deployment.upload(body)
    settings: dict[str, Any] = {"max_concurrency": 4, "retry_policy": {"max_attempts": 2}}
    document = agent_document("inline", batch_name, **settings)
    arn = deployment.start({"csv_s3_uri": uri, **document}, name)
    assert eventually(lambda: finished(deployment, name) >= 4, 300)
    deployment.states.stop_execution(executionArn=arn)
    assert Run(deployment, arn, deployment.wait(arn), uri).status == "ABORTED"
    assert eventually(lambda: deployment.keys(f"results/{name}/summary.json"), 300), "it is not finished"

    if how == "resumed":
        document = agent_document("dynamodb", batch_name, resume_from=name, **settings)
        run = deployment.run({"csv_s3_uri": uri, **document}).assert_succeeded()
    else:
        deployment.states.redrive_execution(executionArn=arn)
        run = Run(deployment, arn, deployment.wait(arn), uri).assert_succeeded()

    assert {row["_status"] for row in run.rows} == {"SUCCESS"}
    assert [row["_row_id"] for row in run.rows] == [str(n) for n in range(1, 17)]
    succeeded = Counter(agent["status"] for agent in deployment.listed_agents(batch_name))["SUCCEEDED"]
    assert succeeded == 16, "each row has one answer that was paid"
