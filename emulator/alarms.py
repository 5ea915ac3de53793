"""CloudWatch alarms: stores and returns every setting, and evaluates only the alarm's own dimensions.

* https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
* https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
* Missing data: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from ministack.services import cloudwatch

Answer = tuple[int, dict[str, str], bytes]

WHOLE_NUMBERS = frozenset({"Period", "EvaluationPeriods", "DatapointsToAlarm", "EvaluationInterval"})
ONE_METRIC_FIELDS = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Unit")
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


def document(parameters: dict[str, Any]) -> dict[str, Any]:
    """The request in form parameters such as `Metrics.member.1.Id`."""
    root: dict[str, Any] = {}
    for name, values in parameters.items():
        value = values[0] if isinstance(values, list) else values
        place = root
        *path, last = name.split(".")
        for step in path:
            place = place.setdefault(step, {})
        place[last] = value
    return listed(root)  # type: ignore[no-any-return]


def listed(node: Any, name: str = "") -> Any:
    """Turn `{"member": {"1": ...}}` into a list and words into numbers and truth values."""
    if isinstance(node, dict):
        if set(node) == {"member"} and isinstance(node["member"], dict):
            return [listed(node["member"][place]) for place in sorted(node["member"], key=int)]
        return {key: listed(value, key) for key, value in node.items()}
    if node in ("true", "false"):
        return node == "true"
    return int(node) if name in WHOLE_NUMBERS else node


def keeping_every_setting(put: Callable[..., Answer]) -> Callable[..., Answer]:
    """Store the settings that MiniStack drops, and only those in the request."""

    def put_metric_alarm(params: dict[str, Any], data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Answer:
        answer = put(params, data, is_cbor, is_json)
        request = data if is_cbor or is_json else document(params)
        alarm = cloudwatch._alarms.get(request.get("AlarmName", ""))
        if answer[0] != 200 or alarm is None:
            return answer
        alarm["InsufficientDataActions"] = request.get("InsufficientDataActions", [])
        for field in ("EvaluateLowSampleCountPercentile", "ThresholdMetricId", "Metrics", "EvaluationCriteria"):
            if field in request:
                alarm[field] = request[field]
        for field in (*ONE_METRIC_FIELDS, "AlarmDescription"):
            if field not in request:
                alarm.pop(field, None)
        evaluate_alarm(alarm)
        return answer

    return put_metric_alarm


def xml(value: Any, name: str = "") -> str:
    """A value as XML of the Query protocol."""
    if isinstance(value, dict):
        return "".join(f"<{key}>{xml(item, key)}</{key}>" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return "".join(f"<member>{xml(item)}</member>" for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if name.endswith("Timestamp") and isinstance(value, (int, float)):
        return cloudwatch._ts_iso(value)  # type: ignore[no-any-return]
    return escape(str(value))


def describing_every_setting(describe: Callable[..., Answer], operation: str) -> Callable[..., Answer]:
    """Answer the Query protocol with the same members as the JSON protocol."""

    def describe_alarms(params: dict[str, Any], data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Answer:
        if is_cbor or is_json:
            return describe(params, data, is_cbor, is_json)
        status, _, body = describe(params, document(params), is_cbor=False, is_json=True)
        if status != 200:
            return describe(params, data, is_cbor, is_json)
        result = f"<{operation}Result>{xml(json.loads(body))}</{operation}Result>"
        return cloudwatch._xml(200, f"{operation}Response", result)  # type: ignore[no-any-return]

    return describe_alarms


def evaluate_alarm(alarm: dict[str, Any]) -> None:
    """Compare the statistic of the alarm's own metric, dimensions included, with its threshold, period by period.

    The alarm goes off when `DatapointsToAlarm` of its `EvaluationPeriods` periods, all of them where it does not say,
    are beyond the threshold. A period without data counts as `TreatMissingData` says; where that is `missing` or
    `ignore` and no period has data, the alarm keeps its state. Alarms on metric math keep their state: expressions are
    not computed here. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
    """
    metric, compare = alarm.get("MetricName"), COMPARISONS.get(alarm.get("ComparisonOperator", ""))
    if not metric or compare is None or "Metrics" in alarm:
        return
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm.get("Dimensions") or []))
    points = cloudwatch._metrics.get((alarm.get("Namespace"), metric, dimensions)) or []
    threshold = float(alarm.get("Threshold") or 0)
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    periods, seconds, now = int(alarm.get("EvaluationPeriods", 1)), alarm.get("Period", 60), time.time()
    missing = alarm.get("TreatMissingData", "missing")
    values: list[float] = []
    crossed = 0
    for number in range(periods):
        end = now - number * seconds
        # A value that is sent right now, or by a clock that is ahead, counts as now.
        recent = [p for p in points if p["Timestamp"] >= end - seconds and (number == 0 or p["Timestamp"] < end)]
        value = cloudwatch._stat_value(cloudwatch._calc_stats(recent), statistic, recent) if recent else None
        if value is not None:
            values.append(value)
        crossed += missing == "breaching" if value is None else compare(value, threshold)
    before = alarm["StateValue"]
    if not values and missing in ("missing", "ignore"):
        return
    state = "ALARM" if crossed >= int(alarm.get("DatapointsToAlarm") or periods) else "OK"
    if state == before:
        return
    reason = (
        f"Threshold Crossed: {statistic} {values} {alarm['ComparisonOperator']} {threshold} in {crossed} periods"
        if values
        else f"No data in the evaluation range, which is treated as {missing}"
    )
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def install() -> None:
    """Keep, describe and evaluate alarms as CloudWatch does."""
    cloudwatch._evaluate_alarm = evaluate_alarm
    cloudwatch._put_metric_alarm = keeping_every_setting(cloudwatch._put_metric_alarm)
    cloudwatch._describe_alarms = describing_every_setting(cloudwatch._describe_alarms, "DescribeAlarms")
    cloudwatch._describe_alarms_for_metric = describing_every_setting(
        cloudwatch._describe_alarms_for_metric, "DescribeAlarmsForMetric"
    )
