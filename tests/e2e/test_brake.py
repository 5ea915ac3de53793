"""The brake: what is paid for is kept, the output is complete, the run says why it stopped."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.aws_resources import eventually
from tests.support.client import run_client
from tests.support.deployment import Deployment, Run, csv_bytes
from tests.support.notifications import Subscription


def chaos(**execution: Any) -> dict[str, Any]:
    return {
        "target": {"type": "tool", "name": "chaos"},
        "output_mapping": {"columns": [{"name": "value", "source": "$.value"}]},
        "execution_config": {"retry_policy": {"max_attempts": 1}, **execution},
    }


def assert_complete(run: Run, total: int) -> None:
    assert [row["_row_id"] for row in run.rows] == [str(i) for i in range(1, total + 1)]
    unattempted = [row for row in run.rows if "not started" in row["_error_message"]]
    assert unattempted
    assert {row["_status"] for row in unattempted} == {"FAILED"}
    assert len(run.dead_letters()) < len([row for row in run.rows if row["_status"] != "SUCCESS"])


@pytest.mark.parametrize("target", [("tool", "chaos"), ("agent", "chaos_agent")], ids=["tool", "agent"])
def test_a_run_told_not_to_continue_stops_at_the_first_failure_and_fails_by_name(
    deployment: Deployment, target: tuple[str, str]
) -> None:
    rows = [["ok", str(i)] for i in range(60)]
    rows[5] = ["fail", "0"]
    document = chaos(continue_on_error=False, max_concurrency=1, batch_size=10)
    document["target"] = dict(zip(("type", "name"), target, strict=True))
    run = deployment.run(document, csv_bytes([["mode", "n"], *rows]))
    assert (run.status, run.error) == ("FAILED", "RowFailedError")
    assert_complete(run, 60)
    assert [row["_status"] for row in run.rows[:5]] == ["SUCCESS"] * 5, "what was done before is kept"
    assert all("not started" in row["_error_message"] for row in run.rows[6:]), "one row at a time, and none after it"
    assert run.document["status"] == "FAILED"
    assert run.document["total_rows"] == 60
    assert run.document["output_s3_uri"].startswith("s3://")


def test_a_broken_target_stops_at_the_given_percentage(deployment: Deployment) -> None:
    document = chaos(stop_after={"failed_percent": 10}, max_concurrency=2, batch_size=10)
    run = deployment.run(document, csv_bytes([["mode", "n"], *[["fail", "0"]] * 300]))
    assert (run.status, run.error) == ("FAILED", "RowFailedError")
    assert_complete(run, 300)
    attempted = [row for row in run.rows if "not started" not in row["_error_message"]]
    assert 30 <= len(attempted) <= 100


def test_a_run_stops_at_a_cost_over_all_its_workers(deployment: Deployment) -> None:
    document = chaos(stop_after={"cost_usd": 0.06}, max_concurrency=4, batch_size=10)
    document["output_mapping"]["add_metadata"] = ["_row_id", "_status", "_error_message", "_cost_usd"]
    run = deployment.run(document, csv_bytes([["mode", "n"], *[["slow", "1"]] * 300]))
    assert (run.status, run.error) == ("FAILED", "CostLimitError")
    assert_complete(run, 300)
    ran = [row for row in run.rows if row["_status"] == "SUCCESS"]
    # Four rows in flight, those of the next second, and a hundredth of the limit.
    assert 60 <= len(ran) <= 75
    assert {row["_cost_usd"] for row in ran} == {"0.001"}
    assert run.document["cost"]["parts"]["target"] == pytest.approx(len(ran) * 0.001)


LONG_ROWS = 800
"""So many rows of a second each that a run ends before the last of them only when it is stopped."""


def start_long_run(deployment: Deployment) -> tuple[str, str]:
    """The execution's ARN and its input's URI, once it has finished a row."""
    uri = deployment.upload(csv_bytes([["mode", "n"], *[["slow", "1"]] * LONG_ROWS]))
    arn = deployment.start({"csv_s3_uri": uri, **chaos(max_concurrency=4, batch_size=LONG_ROWS // 10)})
    name = arn.rsplit(":", 1)[1]
    assert eventually(lambda: deployment.keys(f"work/{name}/rows/"), 300), "no row was finished"
    return arn, uri


def test_make_stop_keeps_what_is_done_and_notifies(deployment: Deployment) -> None:
    with Subscription(deployment) as subscription:
        arn, uri = start_long_run(deployment)
        name = arn.rsplit(":", 1)[1]
        stopped = run_client(deployment, "stop", name)
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr
        run = Run(deployment, arn, deployment.wait(arn), uri)
        assert run.status in {"FAILED", "ABORTED"}
        message = subscription.message_of(name)
    assert_complete(run, LONG_ROWS)
    assert any(row["_status"] == "SUCCESS" for row in run.rows)
    attempted = [row for row in run.rows if "not started" not in row["_error_message"]]
    assert int(message["MessageAttributes"]["rows_processed"]["Value"]) == len(attempted)


def test_an_aborted_run_still_leaves_an_output(deployment: Deployment) -> None:
    with Subscription(deployment) as subscription:
        arn, uri = start_long_run(deployment)
        deployment.states.stop_execution(executionArn=arn)
        message = subscription.message_of(arn.rsplit(":", 1)[1])
    assert message["MessageAttributes"]["status"]["Value"] == "STOPPED"
    run = Run(deployment, arn, deployment.wait(arn), uri)
    assert run.status == "ABORTED"
    assert_complete(run, LONG_ROWS)
    assert any(row["_status"] == "SUCCESS" for row in run.rows)
