"""Traces that a batch asks for are in X-Ray, and no row depends on them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.testing import service_fault
from tests.support.aws_resources import eventually
from tests.support.deployment import Deployment, Run, csv_bytes
from tests.support.iam import without_grants

CONFIG = {"max_concurrency": 4, "batch_size": 6, "retry_policy": {"max_attempts": 1}, "enable_xray": True}
TOOL: dict[str, Any] = {"target": {"type": "tool", "name": "chaos"}, "execution_config": CONFIG}
AGENT: dict[str, Any] = {**TOOL, "target": {"type": "agent", "name": "chaos_agent"}}
BODY = csv_bytes([["mode", "n", "fail"], *[["ok", "1", "false"], ["fail", "0", "true"]] * 6])
FAILED = {2, 4, 6, 8, 10, 12}


def rows_in_traces(deployment: Deployment, run: Run) -> dict[int, dict[str, Any]]:
    """The rows' subsegments in the traces that the summary's filter finds, by row."""
    xray = deployment.client("xray")
    started = int(run.description["startDate"].timestamp())
    found = xray.get_trace_summaries(
        StartTime=started - 60,
        EndTime=int(run.description["stopDate"].timestamp()) + 60,
        FilterExpression=run.summary["traces"]["filter_expression"],
    )["TraceSummaries"]
    rows = {}
    for summary in found:
        (trace,) = xray.batch_get_traces(TraceIds=[summary["Id"]])["Traces"]
        for segment in (json.loads(segment["Document"]) for segment in trace["Segments"]):
            if "row" in segment.get("annotations", {}):
                rows[int(segment["annotations"]["row"])] = segment
    return rows


@pytest.mark.parametrize("document", [TOOL, AGENT], ids=["tool", "agent"])
def test_the_rows_of_a_batch_are_in_its_traces_the_failed_ones_marked(
    deployment: Deployment, document: dict[str, Any]
) -> None:
    run = deployment.run(document, BODY).assert_succeeded()

    assert eventually(lambda: len(rows_in_traces(deployment, run)) == 12, 60)
    rows = rows_in_traces(deployment, run)
    assert {row for row, segment in rows.items() if segment.get("fault")} == FAILED
    assert all([part["name"] for part in row["subsegments"]] == ["map", "invoke", "store"] for row in rows.values())
    traces = run.summary["traces"]
    assert traces["count"] >= 2
    assert run.name in traces["console_url"]
    assert run.document["traces"] == traces
    assert run.document["cost"]["parts"]["xray"] == pytest.approx(traces["count"] * 0.000005)
    assert run.summary["warnings"] == []


@pytest.mark.local_only("it takes grants away from roles that others use")
@pytest.mark.parametrize(
    ("function", "document"), [("process_tool_rows", TOOL), ("map_output", AGENT)], ids=["tool", "agent"]
)
def test_a_worker_that_may_not_write_traces_finishes_its_rows_and_the_summary_names_the_permission(
    deployment: Deployment, function: str, document: dict[str, Any]
) -> None:
    with without_grants(deployment, function, "xray"):
        run = deployment.run(document, BODY).assert_succeeded()

    assert (run.document["succeeded"], run.document["failed"], run.summary["attempts"]) == (6, 6, 12)
    (warning,) = [warning for warning in run.summary["warnings"] if "X-Ray" in warning]
    assert "xray:PutTraceSegments" in warning
    assert "denied" in warning


@pytest.mark.local_only("a real X-Ray is not away on request")
def test_a_batch_finishes_while_x_ray_is_away(deployment: Deployment) -> None:
    assert deployment.local_aws is not None
    with service_fault(deployment.local_aws.endpoint_url, "xray"):
        run = deployment.run(TOOL, BODY).assert_succeeded()

    assert (run.document["succeeded"], run.document["failed"]) == (6, 6)
    assert run.summary["traces"]["count"] == 0
    assert any("X-Ray did not take" in warning for warning in run.summary["warnings"])
