"""What Terraform reads back from the local AWS is what was set, so a second plan finds no change."""

from __future__ import annotations

import io
import json
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from tests.support.local_aws import LocalAws

ALARM: dict[str, Any] = {
    "AlarmName": "dead-letters",
    "AlarmDescription": "Failed rows wait & nobody looks",
    "Namespace": "AWS/SQS",
    "MetricName": "ApproximateNumberOfMessagesVisible",
    "Dimensions": [{"Name": "QueueName", "Value": "letters"}],
    "Statistic": "Maximum",
    "Period": 300,
    "EvaluationPeriods": 1,
    "Threshold": 0.0,
    "ComparisonOperator": "GreaterThanThreshold",
    "TreatMissingData": "notBreaching",
    "AlarmActions": ["arn:aws:sns:us-east-1:000000000000:alarms"],
}


def query(aws: LocalAws, action: str, parameters: dict[str, str]) -> ET.Element:
    """A call in the Query protocol, which Terraform's provider speaks to CloudWatch."""
    body = urllib.parse.urlencode({"Action": action, "Version": "2010-08-01", **parameters})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = AWSRequest("POST", aws.endpoint_url, data=body, headers=headers)
    credentials = aws.session().get_credentials()
    assert credentials
    SigV4Auth(credentials, "monitoring", aws.region).add_auth(request)
    sent = urllib.request.Request(aws.endpoint_url, body.encode(), dict(request.headers.items()))
    with urllib.request.urlopen(sent) as response:
        text = response.read().decode()
    return ET.fromstring(text.replace(' xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"', ""))


@pytest.fixture
def alarm(local_aws: LocalAws) -> Iterator[dict[str, Any]]:
    client = local_aws.client("cloudwatch")
    client.put_metric_alarm(**ALARM)
    yield ALARM
    client.delete_alarms(AlarmNames=[ALARM["AlarmName"]])


def test_an_alarm_is_described_whole_in_the_query_protocol(local_aws: LocalAws, alarm: dict[str, Any]) -> None:
    answer = query(local_aws, "DescribeAlarms", {"AlarmNames.member.1": alarm["AlarmName"]})
    members = answer.findall("DescribeAlarmsResult/MetricAlarms/member")
    assert len(members) == 1
    described = members[0]
    for field in ("AlarmDescription", "Namespace", "MetricName", "Statistic", "TreatMissingData"):
        assert described.findtext(field) == alarm[field]
    assert int(described.findtext("Period", "0")) == alarm["Period"]
    assert described.findtext("ActionsEnabled") == "true"
    assert [action.text for action in described.findall("AlarmActions/member")] == alarm["AlarmActions"]
    dimensions = [(item.findtext("Name"), item.findtext("Value")) for item in described.findall("Dimensions/member")]
    assert dimensions == [("QueueName", "letters")]


def test_an_unknown_alarm_is_not_described(local_aws: LocalAws, alarm: dict[str, Any]) -> None:
    answer = query(local_aws, "DescribeAlarms", {"AlarmNames.member.1": "another"})
    assert answer.findall("DescribeAlarmsResult/MetricAlarms/member") == []


def test_tracing_of_a_state_machine_is_kept_and_off_by_default(local_aws: LocalAws) -> None:
    client = local_aws.client("stepfunctions")
    role = local_aws.client("iam").create_role(RoleName="tracing", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    arn = client.create_state_machine(name="tracing", definition=definition, roleArn=role)["stateMachineArn"]
    assert client.describe_state_machine(stateMachineArn=arn)["tracingConfiguration"] == {"enabled": False}
    client.update_state_machine(stateMachineArn=arn, tracingConfiguration={"enabled": True})
    assert client.describe_state_machine(stateMachineArn=arn)["tracingConfiguration"] == {"enabled": True}
    client.delete_state_machine(stateMachineArn=arn)


def test_listed_versions_of_a_function_name_the_version_in_their_arn(local_aws: LocalAws) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("handler.py", "def handler(event, context): return event\n")
    role = local_aws.client("iam").create_role(RoleName="versions", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    client = local_aws.client("lambda")
    created = client.create_function(
        FunctionName="versions",
        Runtime="python3.11",
        Role=role,
        Handler="handler.handler",
        Code={"ZipFile": content.getvalue()},
        Publish=True,
    )
    unqualified = created["FunctionArn"].removesuffix(":1")
    listed = client.list_versions_by_function(FunctionName="versions")["Versions"]
    assert [version["FunctionArn"] for version in listed] == [f"{unqualified}:$LATEST", f"{unqualified}:1"]
    client.delete_function(FunctionName="versions")
