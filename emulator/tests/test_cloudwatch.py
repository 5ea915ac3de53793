"""Alarms keep every setting, and watch their own metric and dimensions.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
"""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulator.testing import LocalAws
from emulator.tests.resources import make_role, unique


def query(aws: LocalAws, **parameters: str) -> str:
    """A call in the Query protocol, which Terraform's provider speaks."""
    body = urllib.parse.urlencode({"Version": "2010-08-01", **parameters})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = AWSRequest("POST", aws.endpoint_url + "/", data=body, headers=headers)
    SigV4Auth(Credentials("test", "test"), "monitoring", aws.region).add_auth(request)
    signed = urllib.request.Request(aws.endpoint_url + "/", body.encode(), dict(request.headers))
    with urllib.request.urlopen(signed) as answer:
        text: str = answer.read().decode()
    return text


def alarm(aws: LocalAws, name: str) -> dict[str, Any]:
    found: dict[str, Any] = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
    return found


def test_an_alarm_reads_back_as_it_was_written_in_the_query_protocol(local_aws: LocalAws) -> None:
    name = unique("alarm")
    settings = {
        "AlarmDescription": "rows <failed> & more",
        "ActionsEnabled": "true",
        "MetricName": "RowsFailed",
        "Namespace": "BatchProcessor",
        "Statistic": "Sum",
        "Period": "300",
        "EvaluationPeriods": "1",
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    lists = {
        "Dimensions.member.1.Name": "target",
        "Dimensions.member.1.Value": "agent",
        "AlarmActions.member.1": "arn:aws:sns:us-east-1:000000000000:alarms",
        "InsufficientDataActions.member.1": "arn:aws:sns:us-east-1:000000000000:quiet",
    }
    query(local_aws, Action="PutMetricAlarm", AlarmName=name, Threshold="0", **settings, **lists)
    text = query(local_aws, Action="DescribeAlarms", **{"AlarmNames.member.1": name})
    for field, value in settings.items():
        written = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert f"<{field}>{written}</{field}>" in text
    assert "<Dimensions><member><Name>target</Name><Value>agent</Value></member></Dimensions>" in text
    assert "<AlarmActions><member>arn:aws:sns:us-east-1:000000000000:alarms</member></AlarmActions>" in text
    assert "<InsufficientDataActions><member>arn:aws:sns:us-east-1:000000000000:quiet</member>" in text
    assert re.search(r"<StateUpdatedTimestamp>\d{4}-\d\d-\d\dT", text)


def test_an_alarm_on_metric_math_keeps_its_queries_and_nothing_else(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create-alarm-on-metric-math-expression.html"""
    name = unique("math")
    metric = {
        "Namespace": "BatchProcessor",
        "MetricName": "EstimatedCostUSD",
        "Dimensions": [{"Name": "t", "Value": "a"}],
    }
    queries = [
        {"Id": "cost", "MetricStat": {"Metric": metric, "Period": 86400, "Stat": "Sum"}, "ReturnData": False},
        {"Id": "sum", "Expression": "SUM(METRICS())", "Label": "all", "ReturnData": True},
    ]
    local_aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Metrics=queries,
        EvaluationPeriods=1,
        Threshold=5.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    found = alarm(local_aws, name)
    assert found["Metrics"] == queries
    assert not {"Statistic", "Period", "MetricName", "Namespace"} & set(found)


def test_an_alarm_watches_its_own_dimensions_and_its_way_with_missing_data(local_aws: LocalAws) -> None:
    cloudwatch, namespace = local_aws.client("cloudwatch"), unique("Namespace")
    settings = {
        "MetricName": "Cost",
        "Namespace": namespace,
        "Statistic": "Sum",
        "Period": 86400,
        "EvaluationPeriods": 1,
        "Threshold": 10.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    names = {target: unique(target) for target in ("mine", "other")}
    for target, name in names.items():
        dimensions = [{"Name": "target", "Value": target}]
        cloudwatch.put_metric_alarm(AlarmName=name, Dimensions=dimensions, TreatMissingData="notBreaching", **settings)
        assert alarm(local_aws, name)["StateValue"] == "OK"
    for value in (6, 7):
        datum = {"MetricName": "Cost", "Dimensions": [{"Name": "target", "Value": "mine"}], "Value": value}
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])
    assert alarm(local_aws, names["mine"])["StateValue"] == "ALARM"
    assert alarm(local_aws, names["other"])["StateValue"] == "OK"


def test_an_alarm_over_several_periods_goes_off_when_each_is_beyond_the_threshold(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html"""
    cloudwatch, namespace, now = local_aws.client("cloudwatch"), unique("Namespace"), datetime.now(UTC)
    settings = {
        "MetricName": "Waiting",
        "Namespace": namespace,
        "Statistic": "Maximum",
        "Period": 1200,
        "EvaluationPeriods": 3,
        "Threshold": 0.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    name = unique("waiting")
    cloudwatch.put_metric_alarm(AlarmName=name, **settings)
    for minutes, state in ((50, "OK"), (30, "OK"), (10, "ALARM")):
        datum = {"MetricName": "Waiting", "Value": 1.0, "Timestamp": now - timedelta(minutes=minutes)}
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])
        assert alarm(local_aws, name)["StateValue"] == state, minutes


def test_a_dashboard_reads_back_as_it_was_written(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html"""
    cloudwatch, name = local_aws.client("cloudwatch"), unique("dashboard")
    body = json.dumps(
        {"widgets": [{"type": "text", "x": 0, "y": 0, "width": 3, "height": 3, "properties": {"markdown": "m"}}]}
    )
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body)
    assert json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]) == json.loads(body)


def test_a_state_machine_keeps_its_tracing_setting_which_is_off_unless_given(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_TracingConfiguration.html"""
    states = local_aws.client("stepfunctions")
    definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}})
    role = make_role(local_aws)
    for given, enabled in (({"tracingConfiguration": {"enabled": True}}, True), ({}, False)):
        machine = states.create_state_machine(
            name=unique("traced"),
            roleArn=role,
            definition=definition,
            **given,
        )["stateMachineArn"]
        assert states.describe_state_machine(stateMachineArn=machine)["tracingConfiguration"] == {"enabled": enabled}
        states.update_state_machine(stateMachineArn=machine, tracingConfiguration={"enabled": not enabled})
        described = states.describe_state_machine(stateMachineArn=machine)
        assert described["tracingConfiguration"] == {"enabled": not enabled}
        states.delete_state_machine(stateMachineArn=machine)


def test_a_state_machine_has_a_revision_after_its_first_update_and_another_one_after_each(local_aws: LocalAws) -> None:
    """dg: API_DescribeStateMachineForExecution.html, revisionId"""
    states = local_aws.client("stepfunctions")
    definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}})
    machine = states.create_state_machine(name=unique("revised"), roleArn=make_role(local_aws), definition=definition)
    arn = machine["stateMachineArn"]
    revisions = []
    for _ in range(3):
        revisions.append(states.describe_state_machine(stateMachineArn=arn).get("revisionId"))
        states.update_state_machine(stateMachineArn=arn, definition=definition)

    assert revisions[0] is None
    assert len(set(revisions)) == 3
    states.delete_state_machine(stateMachineArn=arn)
