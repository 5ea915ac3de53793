"""Runs that are ended from outside: finished once, whatever becomes of the events about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from row_batches.run.ended import ended_run
from row_batches.run.runs import Run as KeptRun
from row_batches.run.runs import RunState
from row_batches.run.runs_dynamodb import DynamoDbRuns
from tests.support.aws_resources import eventually
from tests.support.deployment import Deployment, Run, csv_bytes, scaled
from tests.support.iam import without_grants
from tests.support.notifications import Subscription

ROWS_DONE = scaled(50_000, 1_000)
SWEEP = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}


def kept_if_any(deployment: Deployment, name: str) -> KeptRun | None:
    """The run as the table of runs has it; None before its plan is known there."""
    return DynamoDbRuns(deployment.client("dynamodb"), deployment.outputs["runs_table"]).get(name)


def kept(deployment: Deployment, name: str) -> KeptRun:
    run = kept_if_any(deployment, name)
    assert run is not None
    return run


def aborted_run(deployment: Deployment, tool: str, rows: list[list[str]], done: int, **config: Any) -> Run:
    """A run that is aborted when the table of runs says that so many rows are done, and before all are."""
    uri = deployment.upload(csv_bytes([["mode", "n"], *rows]))
    document = {"csv_s3_uri": uri, "target": {"type": "tool", "name": tool}, "execution_config": config}
    arn = deployment.start(document)
    name = arn.rsplit(":", 1)[1]

    def are_done() -> bool:
        run = kept_if_any(deployment, name)
        return run is not None and run.counts.succeeded >= done

    assert eventually(are_done, 1_800), "the rows are not counted"
    deployment.states.stop_execution(executionArn=arn)
    return Run(deployment, arn, deployment.wait(arn), uri)


def has_summary(run: Run) -> bool:
    return bool(run.deployment.keys(f"results/{run.name}/summary.json"))


def tell(deployment: Deployment, event: dict[str, Any]) -> None:
    """Call what starts the finishing, as EventBridge does."""
    answer = deployment.client("lambda").invoke(
        FunctionName=deployment.function("finish_run"), Payload=json.dumps(event)
    )
    assert "FunctionError" not in answer, answer["Payload"].read()


def finishings(run: Run) -> list[dict[str, Any]]:
    """The executions that finished the run."""
    machine = run.deployment.machine.replace("batch-processor", "batch-processor-finish")
    description = run.description
    ended = ended_run(
        arn=run.arn,
        status=run.status,
        ended_at=description["stopDate"],
        document=None,
        output=None,
        error=None,
        cause=None,
    )
    pages = run.deployment.states.get_paginator("list_executions").paginate(stateMachineArn=machine)
    found = [execution for page in pages for execution in page["executions"]]
    return [execution for execution in found if execution["name"].startswith(ended.finishing_name)]


def assert_finished(run: Run, rows: list[list[str]], done: int) -> None:
    assert [row[:2] for row in run.table[1:]] == rows
    assert [row["_row_id"] for row in run.rows] == [str(number) for number in range(1, len(rows) + 1)]
    summary = run.summary
    assert summary["status"] == "STOPPED"
    assert summary["succeeded"] >= done
    assert summary["succeeded"] + summary["not_attempted"] == len(rows)
    assert (summary["failed"], summary["timed_out"]) == (0, 0)
    ended = kept(run.deployment, run.name)
    assert (ended.state, ended.counts.succeeded) == (RunState.STOPPED, summary["succeeded"])


def test_an_aborted_run_whose_event_comes_twice_is_finished_and_announced_once(deployment: Deployment) -> None:
    rows = [["ok", str(number)] for number in range(ROWS_DONE * 2)]
    with Subscription(deployment) as subscription:
        run = aborted_run(deployment, "echo", rows, ROWS_DONE, max_concurrency=20)
        assert run.status == "ABORTED"
        message = subscription.message_of(run.name, 1_200)
        detail = {"executionArn": run.arn, "status": run.status, "stopDate": stop_ms(run)}
        tell(deployment, {"detail-type": "Step Functions Execution Status Change", "detail": detail})
        (finishing,) = finishings(run)
        assert eventually(lambda: finishings(run)[0]["status"] == "SUCCEEDED", 60), finishing
        assert subscription.rest_of(run.name) == []
    assert json.loads(message["Message"])["not_attempted"] == run.summary["not_attempted"]
    assert_finished(run, rows, ROWS_DONE)


def stop_ms(run: Run) -> int:
    return round(float(run.description["stopDate"].timestamp()) * 1000)


@contextmanager
def events_lost(deployment: Deployment) -> Iterator[None]:
    """The rule that tells of ended executions does not, within the block."""
    events, rule = deployment.client("events"), f"batch-processor-execution-ended{deployment.suffix}"
    events.disable_rule(Name=rule)
    try:
        yield
    finally:
        events.enable_rule(Name=rule)


def test_the_sweep_finishes_a_run_whose_event_was_lost(deployment: Deployment) -> None:
    rows = [["slow", "1"]] * 200
    with events_lost(deployment), Subscription(deployment) as subscription:
        run = aborted_run(deployment, "chaos", rows, 1, max_concurrency=4, batch_size=20)
        assert kept(deployment, run.name).state is RunState.RUNNING
        assert not has_summary(run)
        tell(deployment, SWEEP)
        assert subscription.message_of(run.name)["MessageAttributes"]["status"]["Value"] == "STOPPED"
        tell(deployment, SWEEP)
        assert len(finishings(run)) == 1
    assert_finished(run, rows, 1)


def test_a_run_that_is_redriven_while_it_is_being_finished_is_let_go_on(deployment: Deployment) -> None:
    # Each of the four workers has a row that is in flight for long after the stop: the finishing waits for it.
    rows = [["slow", "1"], ["slow", "20"], ["slow", "1"]] * 4
    with Subscription(deployment) as subscription:
        run = aborted_run(deployment, "chaos", rows, 1, max_concurrency=4, batch_size=3)
        assert eventually(lambda: deployment.keys(f"work/{run.name}/brake.json"), 60), "it is not being finished"
        deployment.states.redrive_execution(executionArn=run.arn)
        redriven = Run(deployment, run.arn, deployment.wait(run.arn), run.key).assert_succeeded()
        message = subscription.message_of(run.name)
        assert subscription.rest_of(run.name) == []
    assert message["MessageAttributes"]["status"]["Value"] == "SUCCEEDED", "the stop is announced no more"
    assert [row["_status"] for row in redriven.rows] == ["SUCCESS"] * len(rows)
    assert redriven.summary["attempts"] == len(rows), "rows in flight at the stop were finished, and none ran again"
    assert kept(deployment, run.name).state is RunState.SUCCEEDED


def test_a_finished_run_that_is_redriven_is_running_again_and_is_finished_again(deployment: Deployment) -> None:
    rows = [["slow", "1"]] * 200
    with Subscription(deployment) as subscription:
        run = aborted_run(deployment, "chaos", rows, 1, max_concurrency=4, batch_size=20)
        assert subscription.message_of(run.name)["MessageAttributes"]["status"]["Value"] == "STOPPED"
        done = kept(deployment, run.name).counts.succeeded
        deployment.states.redrive_execution(executionArn=run.arn)
        tell(deployment, SWEEP)
        assert kept(deployment, run.name).state is RunState.RUNNING
        assert eventually(lambda: kept(deployment, run.name).counts.succeeded > done, 300)
        deployment.states.stop_execution(executionArn=run.arn)
        run = Run(deployment, run.arn, deployment.wait(run.arn), run.key)
        assert subscription.message_of(run.name)["MessageAttributes"]["status"]["Value"] == "STOPPED"
    assert_finished(run, rows, done + 1)


@pytest.mark.local_only("it takes grants away from a role that others use")
def test_a_topic_that_is_away_costs_no_row_and_the_notification_is_named_and_can_be_sent_later(
    deployment: Deployment,
) -> None:
    rows = [["ok", "1"]] * 20
    document = {
        "target": {"type": "tool", "name": "chaos"},
        "execution_config": {"max_concurrency": 4, "batch_size": 5, "retry_policy": {"max_attempts": 2}},
    }
    with Subscription(deployment) as subscription:
        with without_grants(deployment, "notify", "sns"):
            run = deployment.run(document, csv_bytes([["mode", "n"], *rows])).assert_succeeded()
            assert eventually(lambda: [found["status"] for found in finishings(run)] == ["FAILED"], 120)
        assert [row["_status"] for row in run.rows] == ["SUCCESS"] * 20
        assert run.summary["attempts"] == 20, "no row ran again"
        assert kept(deployment, run.name).state is RunState.SUCCEEDED

        (finishing,) = finishings(run)
        failed = deployment.states.describe_execution(executionArn=finishing["executionArn"])
        assert failed["error"] == "DeploymentError"
        assert "sns:Publish" in failed["cause"]
        assert subscription.rest_of(run.name) == []

        deployment.states.redrive_execution(executionArn=finishing["executionArn"])
        assert subscription.message_of(run.name)["MessageAttributes"]["status"]["Value"] == "SUCCEEDED"
