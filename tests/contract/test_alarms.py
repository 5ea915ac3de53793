"""The alarms against the metrics that the functions send."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.terraform_files import BEDROCK_BATCHES, REPOSITORY, ROW_BATCHES, local_value, plain

OWN_NAMESPACE = "${var.deployment.metrics_namespace}"


def texts_of(folder: Path) -> set[str]:
    """The texts in the code of a folder: a metric is sent under one of them."""
    nodes = (node for path in folder.rglob("*.py") for node in ast.walk(ast.parse(path.read_text())))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def own_alarms(module: Path) -> dict[str, str]:
    """The metric of each alarm in the product's namespace, by the alarm's name."""
    alarms: dict[str, Any] = plain(local_value(module / "monitoring.tf", "alarms"))
    return {name: alarm["metric"] for name, alarm in alarms.items() if alarm["namespace"] == OWN_NAMESPACE}


@pytest.mark.parametrize(
    ("module", "capability"),
    [(ROW_BATCHES, "row_batches"), (BEDROCK_BATCHES, "bedrock_batches")],
    ids=["row_batches", "bedrock_batches"],
)
def test_every_alarm_and_every_graph_is_about_a_metric_that_is_sent(module: Path, capability: str) -> None:
    monitoring = (module / "monitoring.tf").read_text()
    filtered = re.findall(r"metric_transformation \{.*?name += \"(\w+)\"", monitoring, re.DOTALL)
    sent = texts_of(REPOSITORY / "layers" / "core" / "python" / capability) | set(filtered)
    alarms = own_alarms(module)
    assert alarms
    for name, metric in alarms.items():
        assert metric in sent, f"{name} waits for {metric}, which no function of {capability} sends"
    graphs = set(re.findall(r"by_target\} (\w+)'", monitoring))
    assert graphs <= sent, f"graphs show {sorted(graphs - sent)}, which no function of {capability} sends"
