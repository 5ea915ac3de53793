"""Writes Lambda's lines to CloudWatch Logs, and publishes the metrics embedded in them.

* One log stream for each execution environment, platform records in the function's format:
  https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html
* Embedded metric format:
  https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
* `LogType: Tail` returns the last 4 KB, platform records included:
  https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs, lambda_svc

_written = threading.local()
KEPT_EVENTS = 20_000
"""Events kept in a stream; the oldest go first, so that a long run does not fill the memory."""


def choose_stream(name: str | None) -> None:
    """Name the stream of the environment that serves this thread's invocation."""
    _written.stream = name


def platform_record(kind: str, record: dict[str, Any]) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000Z"
    return json.dumps({"time": moment, "type": f"platform.{kind}", "record": record})


def log_lines(config: dict[str, Any], request_id: str, text: str, failed: bool, milliseconds: int) -> list[str]:
    """The lines of one invocation in the function's log format."""
    version, memory = config.get("Version", "$LATEST"), config.get("MemorySize", 128)
    printed = text.splitlines()
    if (config.get("LoggingConfig") or {}).get("LogFormat") == "JSON":
        metrics = {"durationMs": milliseconds, "billedDurationMs": milliseconds, "memorySizeMB": memory}
        return [
            platform_record("start", {"requestId": request_id, "version": version}),
            *printed,
            platform_record(
                "report", {"requestId": request_id, "metrics": metrics, "status": "error" if failed else "success"}
            ),
        ]
    return [
        f"START RequestId: {request_id} Version: {version}",
        *printed,
        f"END RequestId: {request_id}",
        f"REPORT RequestId: {request_id}\tDuration: {milliseconds} ms\t"
        f"Billed Duration: {milliseconds} ms\tMemory Size: {memory} MB",
    ]


def new_group(name: str, now: int) -> dict[str, Any]:
    return {
        "arn": cloudwatch_logs._make_group_arn(name),
        "creationTime": now,
        "retentionInDays": None,
        "tags": {},
        "subscriptionFilters": {},
        "streams": {},
    }


def new_stream(now: int) -> dict[str, Any]:
    return {
        "events": [],
        "uploadSequenceToken": "1",
        "creationTime": now,
        "firstEventTimestamp": None,
        "lastEventTimestamp": None,
        "lastIngestionTime": None,
    }


def write_invocation(
    func: dict[str, Any],
    request_id: str,
    log_text: str,
    error: bool,
    duration_ms: int,
    *,
    log_source: str | None = None,  # noqa: ARG001 - part of the signature that is replaced
) -> None:
    """Append an invocation's lines to its environment's stream and publish its embedded metrics."""
    config = func.get("config") or func
    now = int(time.time() * 1000)
    lines = log_lines(config, request_id, log_text, error, duration_ms)
    _written.lines = lines
    group_name = (config.get("LoggingConfig") or {}).get(
        "LogGroup"
    ) or f"/aws/lambda/{config.get('FunctionName', 'unknown')}"
    stream_name = getattr(_written, "stream", None) or time.strftime(
        "%Y/%m/%d/[$LATEST]", time.gmtime()
    ) + request_id.replace("-", "")
    groups = cloudwatch_logs._log_groups
    if group_name not in groups:
        groups[group_name] = new_group(group_name, now)
    stream = groups[group_name]["streams"].setdefault(stream_name, new_stream(now))
    cloudwatch_logs._append_log_events(
        stream, [{"timestamp": now, "message": line, "ingestionTime": now} for line in lines]
    )
    if len(stream["events"]) > KEPT_EVENTS:
        with cloudwatch_logs._log_events_lock:
            del stream["events"][: len(stream["events"]) - KEPT_EVENTS]
    cloudwatch_logs._fanout_to_subscription_filters(
        group_name, stream_name, [{"timestamp": now, "message": line} for line in lines]
    )
    publish_embedded_metrics(lines)


def publish_embedded_metrics(lines: list[str]) -> None:
    """Store the metrics of every line that is an embedded-metric document."""
    found = False
    for line in lines:
        if '"_aws"' not in line or not line.lstrip().startswith("{"):
            continue
        try:
            document = json.loads(line)
            metadata = document["_aws"]
            directives = metadata["CloudWatchMetrics"]
        except (ValueError, KeyError, TypeError):
            continue
        moment = float(metadata.get("Timestamp", time.time() * 1000)) / 1000
        for directive in directives:
            for dimension_names in directive.get("Dimensions") or [[]]:
                dimensions = {name: str(document[name]) for name in dimension_names if name in document}
                for metric in directive.get("Metrics", []):
                    value = document.get(metric["Name"])
                    if value is None:
                        continue
                    values = value if isinstance(value, list) else [value]
                    unit = metric.get("Unit", "None")
                    for number in values:
                        cloudwatch._store_datum(
                            directive["Namespace"],
                            metric["Name"],
                            dimensions,
                            moment,
                            unit,
                            float(number),
                            None,
                            None,
                            None,
                        )
                        found = True
    if found:
        cloudwatch._evaluate_all_alarms()


def with_platform_lines(dispatch: Any) -> Any:
    """Add the platform's lines to the tail of an invocation's log."""

    def execute(
        func: dict[str, Any], config: dict[str, Any], event: Any, request_id: str, started: float
    ) -> dict[str, Any]:
        _written.lines, _written.stream = None, None
        result: dict[str, Any] = dispatch(func, config, event, request_id, started)
        if _written.lines:
            result["log"] = "\n".join(_written.lines) + "\n"
        return result

    return execute


def install() -> None:
    """Write Lambda's logs as AWS does."""
    lambda_svc._emit_lambda_logs = write_invocation
    lambda_svc._execute_function_dispatch = with_platform_lines(lambda_svc._execute_function_dispatch)
