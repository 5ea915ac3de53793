"""Settings that MiniStack takes and does not give back, so that a second plan of the same configuration finds nothing.

* Alarms, in the Query protocol: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html
* The version in the ARN of a function: https://docs.aws.amazon.com/lambda/latest/api/API_ListVersionsByFunction.html
* Tracing of a state machine: https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeStateMachine.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from xml.sax.saxutils import escape

from ministack.core.responses import json_response
from ministack.services import cloudwatch, lambda_svc, stepfunctions

Response = tuple[int, dict[str, str], bytes]


def query_parameters(params: dict[str, Any]) -> dict[str, Any]:
    """DescribeAlarms' parameters of the Query protocol, as its JSON protocol has them."""
    values = {name: value[0] if isinstance(value, list) else value for name, value in params.items()}
    lists: dict[str, Any] = {}
    for name in ("AlarmNames", "AlarmTypes"):
        members = [value for key, value in values.items() if key.startswith(f"{name}.member.")]
        if members:
            lists[name] = members
    plain: dict[str, Any] = {
        name: values[name] for name in ("AlarmNamePrefix", "StateValue", "NextToken") if name in values
    }
    return {**lists, **plain, **({"MaxRecords": int(values["MaxRecords"])} if "MaxRecords" in values else {})}


def to_xml(name: str, value: Any) -> str:
    """One field in the Query protocol's XML: a list has members, what is absent has no element."""
    if value is None:
        return ""
    if isinstance(value, list):
        inner = "".join(to_xml("member", item) for item in value)
    elif isinstance(value, dict):
        inner = "".join(to_xml(key, item) for key, item in value.items())
    elif isinstance(value, bool):
        inner = str(value).lower()
    elif name.endswith("Timestamp") and isinstance(value, int | float):
        inner = datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    else:
        inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"


def whole_alarms(describe: Callable[..., Response]) -> Callable[..., Response]:
    """DescribeAlarms with every field in each protocol."""

    @wraps(describe)
    def describe_alarms(params: dict[str, Any], cbor: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Response:
        if is_cbor or is_json:
            return describe(params, cbor, is_cbor, is_json)
        response = describe({}, query_parameters(params), False, True)
        if response[0] != 200:
            return describe(params, cbor, False, False)
        inner = "".join(to_xml(name, value) for name, value in json.loads(response[2]).items())
        answer: Response = cloudwatch._xml(
            200, "DescribeAlarmsResponse", f"<DescribeAlarmsResult>{inner}</DescribeAlarmsResult>"
        )
        return answer

    return describe_alarms


def keeping_tracing(handler: Callable[[dict[str, Any]], Response]) -> Callable[[dict[str, Any]], Response]:
    """CreateStateMachine and UpdateStateMachine that keep `tracingConfiguration`; it is off unless given."""

    @wraps(handler)
    def keep(data: dict[str, Any]) -> Response:
        response = handler(data)
        if response[0] == 200:
            arn = data.get("stateMachineArn") or json.loads(response[2]).get("stateMachineArn")
            machine = stepfunctions._state_machines.get(arn)
            if machine is not None:
                given = data.get("tracingConfiguration") or machine.get("tracingConfiguration")
                machine["tracingConfiguration"] = given or {"enabled": False}
        return response

    return keep


def naming_versions(list_versions: Callable[..., Response]) -> Callable[..., Response]:
    """ListVersionsByFunction whose ARNs end in the version, `$LATEST` included."""

    @wraps(list_versions)
    def list_named(name: str, query_params: dict[str, Any]) -> Response:
        response = list_versions(name, query_params)
        if response[0] != 200:
            return response
        answer = json.loads(response[2])
        for version in answer["Versions"]:
            unqualified = ":".join(version["FunctionArn"].split(":")[:7])
            version["FunctionArn"] = f"{unqualified}:{version['Version']}"
        named: Response = json_response(answer)
        return named

    return list_named


def install() -> None:
    """Replace the handlers of MiniStack in this process."""
    cloudwatch._describe_alarms = whole_alarms(cloudwatch._describe_alarms)
    lambda_svc._list_versions = naming_versions(lambda_svc._list_versions)
    stepfunctions._create_state_machine = keeping_tracing(stepfunctions._create_state_machine)
    stepfunctions._update_state_machine = keeping_tracing(stepfunctions._update_state_machine)
