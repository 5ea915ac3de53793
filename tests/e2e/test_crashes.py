"""Killed workers, killed aggregators, repeated starts: nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from row_batches.run.runs import AGGREGATION_PART, ROWS_PART_PREFIX, lease_name
from tests.support.aws_resources import eventually
from tests.support.batches import records_of
from tests.support.deployment import Deployment, Run, csv_bytes, scaled
from tests.support.iam import without_grants


def workers_of(deployment: Deployment, function: str) -> list[int]:
    """Process ids of the local AWS' workers of the function."""
    assert deployment.local_aws is not None
    name = f"AWS_LAMBDA_FUNCTION_NAME={deployment.function(function)}\0".encode()
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rsplit(")", 1)[1].split()[1])
            environment = (status.parent / "environ").read_bytes() + b"\0"
        except (OSError, ValueError):
            continue
        if parent == deployment.local_aws.pid and name in environment:
            found.append(int(status.parent.name))
    return found


def kill_workers_of(deployment: Deployment, function: str) -> int:
    """How many there were."""
    workers = workers_of(deployment, function)
    for pid in workers:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(workers)


def kill_when(deployment: Deployment, function: str, prefix: str) -> None:
    """Kill the function's workers as soon as an object under ``prefix`` exists."""
    assert eventually(lambda: deployment.keys(prefix), 300), f"nothing under {prefix}"
    assert kill_workers_of(deployment, function), f"{function} has no worker"


def leases_of(deployment: Deployment, execution: str, parts: str = ROWS_PART_PREFIX) -> list[dict[str, Any]]:
    """The keys of the execution's leases of parts that begin so: of its batches."""
    found = deployment.client("dynamodb").query(
        TableName=deployment.outputs["runs_table"],
        KeyConditionExpression="PK = :pk AND begins_with(SK, :parts)",
        ExpressionAttributeValues={
            ":pk": {"S": f"LEASE#{lease_name(execution)}"},
            ":parts": {"S": parts},
        },
    )
    return [{"PK": lease["PK"], "SK": lease["SK"]} for lease in found["Items"]]


def end_leases(deployment: Deployment, execution: str, parts: str = ROWS_PART_PREFIX) -> int:
    """End the leases of owners that were killed, as a quarter of an hour would; how many there were."""
    leases = leases_of(deployment, execution, parts)
    for lease in leases:
        deployment.client("dynamodb").delete_item(TableName=deployment.outputs["runs_table"], Key=lease)
    return len(leases)


def waits(deployment: Deployment, execution: str) -> bool:
    """Whether the table of runs says that a batch of the execution waits for an owner."""
    key = {"PK": {"S": f"RUN#{execution}"}, "SK": {"S": "RUN"}}
    found = deployment.client("dynamodb").get_item(TableName=deployment.outputs["runs_table"], Key=key)
    return "waiting_until" in found.get("Item", {})


def test_a_second_call_of_a_child_does_nothing_while_the_first_one_owns_its_rows(deployment: Deployment) -> None:
    uri = deployment.upload(csv_bytes([["mode", "n"], *[["slow", "1"]] * 40]))
    target = {"type": "tool", "name": "chaos"}
    arn = deployment.start({"csv_s3_uri": uri, "target": target, "execution_config": {"max_concurrency": 2}})
    name = arn.rsplit(":", 1)[1]
    assert eventually(lambda: leases_of(deployment, name), 120), "no call owns the rows"
    (map_run,) = deployment.states.list_map_runs(executionArn=arn)["mapRuns"]
    (child,) = deployment.states.list_executions(mapRunArn=map_run["mapRunArn"])["executions"]
    event = deployment.states.describe_execution(executionArn=child["executionArn"])["input"]

    answer = deployment.client("lambda").invoke(FunctionName=deployment.function("process_tool_rows"), Payload=event)

    counts = json.loads(answer["Payload"].read())
    assert (counts["succeeded"], counts["remaining"]) == (0, 40)
    assert 1 <= counts["come_again_in_seconds"] <= 60
    run = Run(deployment, arn, deployment.wait(arn), uri).assert_succeeded()
    assert (run.summary["succeeded"], run.summary["attempts"]) == (40, 40)
    assert run.summary["peak_rows_in_flight"] <= 2


@pytest.mark.local_only("a worker can be killed there only")
def test_a_batch_whose_worker_is_killed_is_finished_by_the_second_pass(deployment: Deployment) -> None:
    rows = [["slow", "1"] for _ in range(24)]
    document = {
        "target": {"type": "tool", "name": "chaos"},
        "execution_config": {"max_concurrency": 2, "batch_size": 24},
    }
    uri = deployment.upload(csv_bytes([["mode", "n"], *rows]))
    arn = deployment.start({"csv_s3_uri": uri, **document})
    name = arn.rsplit(":", 1)[1]
    kill_when(deployment, "process_tool_rows", f"work/{name}/rows/")
    assert eventually(lambda: waits(deployment, name), 120), "the killed owner is not waited for"
    finished = deployment.keys(f"work/{name}/rows/")
    assert end_leases(deployment, name) == 1
    run = Run(deployment, arn, deployment.wait(arn), uri).assert_succeeded()
    assert [row["_row_id"] for row in run.rows] == [str(i) for i in range(1, 25)]
    assert {row["_status"] for row in run.rows} == {"SUCCESS"}
    assert len(deployment.states.list_map_runs(executionArn=arn)["mapRuns"]) == 2, "no second pass was needed"
    assert set(finished) <= set(deployment.keys(f"work/{name}/rows/"))
    objects = [
        deployment.read(deployment.outputs["results_bucket"], key) for key in deployment.keys(f"work/{name}/rows/")
    ]
    committed = [record["row"] for body in objects for record in records_of(body)]
    assert sorted(committed) == list(range(1, 25)), "a row was committed twice, or not at all"


@contextmanager
def every_worker_killed(deployment: Deployment, execution: str) -> Iterator[None]:
    """Workers of ``process_tool_rows`` are killed as soon as one owns its rows; then their leases end."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.02):
            if leases_of(deployment, execution):
                kill_workers_of(deployment, "process_tool_rows")
                end_leases(deployment, execution)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def crashing_run(deployment: Deployment) -> Run:
    """A batch of two rows, whose workers never live to write one."""
    document = {
        "csv_s3_uri": deployment.upload(csv_bytes([["mode", "n"], ["slow", "3"], ["slow", "3"]])),
        "target": {"type": "tool", "name": "chaos"},
        "execution_config": {"max_concurrency": 1},
    }
    name = f"crash-{uuid.uuid4()}"
    with every_worker_killed(deployment, name):
        arn = deployment.start(document, name)
        return Run(deployment, arn, deployment.wait(arn), "")


@pytest.mark.local_only("a worker can be killed there only")
def test_rows_whose_worker_dies_twice_fail_with_its_error_and_are_dead_lettered(deployment: Deployment) -> None:
    run = crashing_run(deployment).assert_succeeded()
    assert [row["_status"] for row in run.rows] == ["FAILED", "FAILED"]
    assert all("Runtime.ExitError" in row["_error_message"] for row in run.rows)
    assert [letter["row"] for letter in run.dead_letters()] == [1, 2]


@pytest.mark.local_only("a worker can be killed there only")
def test_an_aggregator_that_may_not_dead_letter_them_completes_the_output_and_names_them(
    deployment: Deployment,
) -> None:
    with without_grants(deployment, "aggregate_results", "sqs"):
        run = crashing_run(deployment).assert_succeeded()
    assert [row["_status"] for row in run.rows] == ["FAILED", "FAILED"]
    (warning,) = [text for text in run.summary["warnings"] if "dead-letter queue" in text]
    assert "1, 2" in warning
    assert "sqs:SendMessage" in warning


def entered(deployment: Deployment, arn: str, state: str) -> bool:
    """Whether the execution has entered a state whose name begins so."""
    pages = deployment.states.get_paginator("get_execution_history").paginate(executionArn=arn)
    events = (event.get("stateEnteredEventDetails", {}) for page in pages for event in page["events"])
    return any(details.get("name", "").startswith(state) for details in events)


@pytest.mark.local_only("a worker can be killed there only")
def test_an_inline_agents_rows_whose_worker_is_killed_are_finished_and_no_answer_is_paid_twice(
    deployment: Deployment,
) -> None:
    # Given an inline run whose workers that finish rows are killed, until a row has no attempt left
    batch_name = f"killed{uuid.uuid4().hex[:8]}"
    rows = [["ok", str(n)] for n in range(12)]
    uri = deployment.upload(csv_bytes([["mode", "n"], *rows]))
    document = {
        "csv_s3_uri": uri,
        "target": {"type": "agent", "name": "chaos_agent"},
        "output_mapping": {"columns": [{"name": "value", "source": "$.value"}]},
        "execution_config": {"max_concurrency": 4, "storage_mode": "inline", "retry_policy": {"max_attempts": 1}},
        "notification_config": {"batch_name": batch_name},
    }
    arn = deployment.start(document)

    def row_is_lost() -> bool:
        kill_workers_of(deployment, "map_output")
        return entered(deployment, arn, "RowLost")

    assert eventually(row_is_lost, 300), "each row was finished"

    # Then the second pass takes the answers that are there, and each row is in the output once
    run = Run(deployment, arn, deployment.wait(arn), uri).assert_succeeded()
    assert [row["_row_id"] for row in run.rows] == [str(n) for n in range(1, 13)]
    assert [(row["_status"], row["value"]) for row in run.rows] == [("SUCCESS", n) for _, n in rows]
    assert run.summary["storage"]["mode"] == "inline"
    assert entered(deployment, arn, "RecoverRows")
    assert [agent["status"] for agent in deployment.listed_agents(batch_name)] == ["SUCCEEDED"] * 12


@pytest.mark.local_only("a worker can be killed there only")
def test_an_aggregator_that_is_killed_is_called_again_and_loses_nothing(deployment: Deployment) -> None:
    # The output has several parts, so that the aggregator can be killed between two of them.
    rows = [[str(i), "x" * scaled(3_000, 12_000)] for i in range(1, scaled(20_000, 1_500) + 1)]
    document = {"target": {"type": "tool", "name": "echo"}, "execution_config": {"max_concurrency": 10}}
    uri = deployment.upload(csv_bytes([["id", "text"], *rows]))
    arn = deployment.start({"csv_s3_uri": uri, **document})
    name = arn.rsplit(":", 1)[1]
    kill_when(deployment, "aggregate_results", f"work/{name}/aggregate.json")
    assert eventually(lambda: waits(deployment, name), 120), "the killed owner is not waited for"
    assert end_leases(deployment, name, AGGREGATION_PART) == 1
    run = Run(deployment, arn, deployment.wait(arn), uri).assert_succeeded()
    assert [row[:2] for row in run.table[1:]] == rows
    assert [row["_row_id"] for row in run.rows] == [str(i) for i in range(1, len(rows) + 1)]


def test_the_same_name_started_twice_is_one_execution_and_no_agent_runs_twice(deployment: Deployment) -> None:
    name, batch_name = f"test-{uuid.uuid4()}", f"twice{uuid.uuid4().hex[:8]}"
    document = {
        "csv_s3_uri": deployment.upload(csv_bytes([["mode", "n"], *[["slow", "2"]] * 6])),
        "target": {"type": "agent", "name": "chaos_agent"},
        "execution_config": {"max_concurrency": 6},
        "notification_config": {"batch_name": batch_name},
    }
    first, second = deployment.start(document, name), deployment.start(document, name)
    assert first == second
    run = Run(deployment, first, deployment.wait(first), "").assert_succeeded()
    assert run.document["succeeded"] == 6
    assert len(deployment.agent_executions(batch_name)) == 6
