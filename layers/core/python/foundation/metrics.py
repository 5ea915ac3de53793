"""CloudWatch metrics as log lines, behind ``foundation.ports.Metrics``: without a call, a permission or a wait.

Powertools' Metrics is not used because it writes each value as a list, ``"EstimatedCostUSD": [0.5]``. The metric filter
behind the cost alarm needs a number at the top level of a line.

Embedded metric format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html.
"""

from __future__ import annotations

import sys
from typing import TextIO

import orjson

from foundation.ports import Clock

DIMENSION = "target"


class EmbeddedMetrics:
    """Writes one line for each set of metrics; Lambda's standard output is its log."""

    def __init__(self, namespace: str, clock: Clock, stream: TextIO | None = None) -> None:
        self._namespace = namespace
        self._clock = clock
        self._stream = stream

    def put(self, target: str, values: dict[str, tuple[float, str]]) -> None:
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [[DIMENSION]],
            "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in values.items()],
        }
        line = {
            "_aws": {"Timestamp": self._clock.now_ms(), "CloudWatchMetrics": [directive]},
            DIMENSION: target,
            **{name: value for name, (value, _) in values.items()},
        }
        stream = self._stream or sys.stdout
        stream.write(orjson.dumps(line).decode() + "\n")
        stream.flush()
