"""Limits: those of a target in the registry over all runs, a rate, and a target that throttles.

The sample targets ``limited`` and ``limited_agent`` may have five rows in flight, and say when each call ran.
"""

from __future__ import annotations

from typing import Any

import pytest

from emulator.testing import service_fault
from tests.support.aws_resources import eventually
from tests.support.batches import records_of
from tests.support.deployment import Deployment, Run, csv_bytes

LIMIT = 5
TOOL = {"type": "tool", "name": "limited"}
AGENT = {"type": "agent", "name": "limited_agent"}
TIMES = [{"name": name, "source": f"$.{name}", "type": "number"} for name in ("started_ms", "ended_ms")]
Call = tuple[int, int]
"""When a call began and ended, as the target says."""


def document(target: dict[str, str], **execution: Any) -> dict[str, Any]:
    return {"target": target, "output_mapping": {"columns": TIMES}, "execution_config": execution}


def body(rows: int, seconds: float) -> bytes:
    return csv_bytes([["seconds"], *[[str(seconds)]] * rows])


def calls_of(*runs: Run) -> list[Call]:
    """In the order in which they began."""
    calls = []
    for run in runs:
        assert {row["_status"] for row in run.rows} == {"SUCCESS"}
        calls += [(int(row["started_ms"]), int(row["ended_ms"])) for row in run.rows]
    return sorted(calls)


def peak(calls: list[Call]) -> int:
    """The most calls that ran at once. One that begins in the millisecond in which another ends comes after it."""
    changes = sorted([(ended, -1) for _, ended in calls] + [(began, 1) for began, _ in calls])
    most = running = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


@pytest.mark.parametrize(("target", "rows"), [(TOOL, 20), (AGENT, 6)], ids=["tool", "agent"])
def test_three_runs_at_once_never_pass_the_limit_of_their_target(
    deployment: Deployment, target: dict[str, str], rows: int
) -> None:
    uri = deployment.upload(body(rows, 1))
    settings = document(target, max_concurrency=10, timeout_seconds=60, batch_size=10)
    arns = [deployment.start({"csv_s3_uri": uri, **settings}) for _ in range(3)]
    runs = [Run(deployment, arn, deployment.wait(arn), uri).assert_succeeded() for arn in arns]

    calls = calls_of(*runs)
    assert len(calls) == 3 * rows, "no row ran twice"
    assert 1 < peak(calls) <= LIMIT
    assert any("limits" in warning and "max_concurrency (10)" in warning for warning in runs[0].summary["warnings"])


def test_four_workers_together_keep_the_rate_of_the_run(deployment: Deployment) -> None:
    rows, workers = 60, 4
    settings = {"max_concurrency": 40, "batch_size": rows // workers, "rate": {"rows_per_minute": 120}}
    chaos = {"target": {"type": "tool", "name": "chaos"}, "execution_config": settings}
    run = deployment.run(chaos, csv_bytes([["mode", "n"], *[["ok", "1"]] * rows])).assert_succeeded()

    bucket = deployment.outputs["results_bucket"]
    records = [
        record
        for key in deployment.keys(f"work/{run.name}/rows/")
        for record in records_of(deployment.read(bucket, key))
    ]
    began = {record["row"]: record["started_ms"] for record in records}
    assert len(began) == rows
    # Workers do not start together, so each one's pace is measured by itself.
    a_worker = rows // workers
    paces = []
    for first in range(1, rows, a_worker):
        starts = sorted(began[row] for row in range(first, first + a_worker))
        paces.append((a_worker - 1) / (starts[-1] - starts[0]) * 60_000)
    assert sum(paces) == pytest.approx(120, rel=0.1)


def test_an_agents_rows_keep_the_rate_of_the_run(deployment: Deployment) -> None:
    settings = document(AGENT, max_concurrency=4, timeout_seconds=60, rate={"rows_per_minute": 60})
    calls = calls_of(deployment.run(settings, body(10, 0)).assert_succeeded())

    assert calls[-1][0] - calls[0][0] >= 8_000, "nine rows after the first, one a second"


def throttling(deployment: Deployment) -> Any:
    assert deployment.local_aws is not None
    return service_fault(
        deployment.local_aws.endpoint_url,
        "lambda",
        operation="POST */functions/*batch-processor-sample-limited*/invocations",
        status=429,
        code="TooManyRequestsException",
        message="Rate exceeded",
    )


def throttled_since(deployment: Deployment, execution: str) -> str | None:
    table = deployment.client("dynamodb")
    key = {"PK": {"S": f"RUN#{execution}"}, "SK": {"S": "RUN"}}
    item = table.get_item(TableName=deployment.outputs["runs_table"], Key=key).get("Item", {})
    return item["throttled_since"]["S"] if "throttled_since" in item else None


IMPATIENT = {"initial_interval_seconds": 0.5, "max_delay_seconds": 1}


@pytest.mark.local_only("it makes Lambda throttle")
def test_a_tool_that_throttles_for_a_while_costs_no_row_and_gets_full_speed_again(deployment: Deployment) -> None:
    uri = deployment.upload(body(40, 0.5))
    settings = document(TOOL, max_concurrency=4, timeout_seconds=120, retry_policy=IMPATIENT)
    with throttling(deployment):
        arn = deployment.start({"csv_s3_uri": uri, **settings})
        assert eventually(lambda: throttled_since(deployment, arn.rpartition(":")[2]), 120)
    run = Run(deployment, arn, deployment.wait(arn), uri).assert_succeeded()

    calls = calls_of(run)
    assert len(calls) == 40
    assert run.summary["throttling"]["calls"] > 0
    at_once = [peak(calls[first : first + 10]) for first in range(0, 40, 10)]
    assert at_once[-1] == 4, f"the last rows run at full speed: {at_once}"


@pytest.mark.local_only("it makes Lambda throttle")
def test_a_tool_that_never_stops_throttling_ends_the_run_by_name(deployment: Deployment) -> None:
    settings = document(TOOL, max_concurrency=4, timeout_seconds=120, give_up_seconds=3, retry_policy=IMPATIENT)
    with throttling(deployment):
        run = deployment.run(settings, body(20, 0.1))

    assert (run.status, run.error) == ("FAILED", "TargetThrottledError")
    assert [row["_row_id"] for row in run.rows] == [str(number) for number in range(1, 21)]
    assert {row["_status"] for row in run.rows} == {"FAILED"}
    assert any("not started" in row["_error_message"] for row in run.rows)
