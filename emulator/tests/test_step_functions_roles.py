"""The machine's own role decides on everything the machine does, and a refusal names the denied action."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.testing import LocalAws
from emulator.tests.machines import Bucket, Machines, State, client, csv_reader, distributed, jsonata, writer
from emulator.tests.resources import allow, eventually, make_function

pytestmark = pytest.mark.local_aws

ANSWER = "def handler(event, context):\n    return {'ok': True}\n"
STARTED_CHILDREN = allow("states:StartExecution")


@pytest.fixture(scope="module")
def machines(local_aws: LocalAws) -> Machines:
    return Machines(local_aws)


@pytest.fixture(scope="module")
def bucket(local_aws: LocalAws) -> Bucket:
    made = Bucket(local_aws)
    made.put("items.csv", "a\n1\n")
    return made


@pytest.fixture(scope="module")
def agent(machines: Machines) -> str:
    return machines.create(jsonata({"Answer": {"Type": "Pass", "End": True}}))


def task(resource: str, **arguments: Any) -> State:
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, "End": True}


def test_a_function_is_called_only_where_the_role_allows_its_version(machines: Machines, local_aws: LocalAws) -> None:
    """dg/connect-lambda.html: IAM policies; the qualified ARN is what the policy must allow"""
    name = make_function(local_aws, ANSWER)
    published = client(local_aws, "lambda").publish_version(FunctionName=name)["FunctionArn"]
    invoking = jsonata({"Call": task("lambda:invoke", FunctionName=published, Payload={})})
    refused = machines.run(invoking, {}, allow("lambda:InvokeFunction", published.removesuffix(":1"))).ended()
    assert refused["error"] == "Lambda.AWSLambdaException"
    assert f"not authorized to perform: lambda:InvokeFunction on resource: {published} because" in refused["cause"]
    assert machines.run(invoking, {}, allow("lambda:InvokeFunction", published)).ended()["status"] == "SUCCEEDED"


def test_a_nested_execution_needs_start_and_describe(machines: Machines, agent: str) -> None:
    """dg/connect-stepfunctions.html: IAM policies"""
    nested = jsonata({"Run": task("states:startExecution.sync:2", StateMachineArn=agent)})
    executions = agent.replace(":stateMachine:", ":execution:") + ":*"
    start, describe = allow("states:StartExecution", agent), allow("states:DescribeExecution", executions)
    for statement, denied in ((describe, "states:StartExecution"), (start, "states:DescribeExecution")):
        ended = machines.run(nested, {}, statement).ended()
        assert ended["error"] == "StepFunctions.AWSStepFunctionsException"
        assert f"not authorized to perform: {denied}" in ended["cause"]
        assert "(Service: AWSStepFunctions; Status Code: 400; Error Code: AccessDeniedException; " in ended["cause"]
    assert machines.run(nested, {}, start, describe).ended()["status"] == "SUCCEEDED"


def test_the_reader_needs_the_object_and_its_version(machines: Machines, bucket: Bucket, local_aws: LocalAws) -> None:
    """dg/iam-policies-eg-dist-map.html; s3:GetObjectVersion for a VersionId"""
    s3 = client(local_aws, "s3")
    s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket.name, Key="items.csv", Body=b"a\n1\n")["VersionId"]
    plain = jsonata({"Map": distributed(ItemReader=csv_reader("items.csv"))})
    pinned = jsonata({"Map": distributed(ItemReader=csv_reader("items.csv", VersionId=version))})
    read = allow("s3:GetObject", f"arn:aws:s3:::{bucket.name}/*")
    read_version = allow("s3:GetObjectVersion", f"arn:aws:s3:::{bucket.name}/*")
    data = {"bucket": bucket.name}
    for definition, grants, denied in ((plain, read_version, "s3:GetObject"), (pinned, read, "s3:GetObjectVersion")):
        ended = machines.run(definition, data, STARTED_CHILDREN, grants).ended()
        assert ended["error"] == "States.ItemReaderFailed"
        assert (
            f"not authorized to perform: {denied} on resource: arn:aws:s3:::{bucket.name}/items.csv" in ended["cause"]
        )
    for definition, grants in ((plain, read), (pinned, read_version)):
        assert machines.run(definition, data, STARTED_CHILDREN, grants).output() == [{"a": "1"}]


def test_the_writer_needs_its_prefix(machines: Machines, bucket: Bucket) -> None:
    """dg/iam-policies-eg-dist-map.html"""
    definition = jsonata({"Map": distributed(Items="{% [1] %}", ResultWriter=writer())})
    data = {"bucket": bucket.name}
    ended = machines.run(definition, data, STARTED_CHILDREN).ended()
    assert ended["error"] == "States.ResultWriterFailed"
    assert "not authorized to perform: s3:PutObject" in ended["cause"]
    write = allow("s3:PutObject", f"arn:aws:s3:::{bucket.name}/results/*")
    assert machines.run(definition, data, STARTED_CHILDREN, write).ended()["status"] == "SUCCEEDED"


def test_children_need_the_right_to_start_the_machine_itself(machines: Machines) -> None:
    """dg/iam-policies-eg-dist-map.html: states:StartExecution on the machine's own ARN"""
    definition = jsonata({"Map": distributed(Items="{% [1] %}")})
    ended = machines.run(definition, {}, allow("s3:GetObject")).ended()
    assert ended["status"] == "FAILED"
    assert "not authorized to perform: states:StartExecution" in ended["cause"]


@pytest.mark.parametrize(
    ("action", "arguments", "denied", "error"),
    [
        ("s3:putObject", {"Bucket": "b", "Key": "k", "Body": 1}, "s3:PutObject", "S3.S3Exception"),
        ("s3:deleteObject", {"Bucket": "b", "Key": "k"}, "s3:DeleteObject", "S3.S3Exception"),
        ("sfn:describeExecution", {"ExecutionArn": "arn:aws:states:x"}, "states:DescribeExecution", "Sfn.SfnException"),
        (
            "sfn:startSyncExecution",
            {"StateMachineArn": "arn:aws:states:x"},
            "states:StartSyncExecution",
            "Sfn.SfnException",
        ),
    ],
)
def test_sdk_tasks_need_their_action(
    machines: Machines, action: str, arguments: dict[str, Any], denied: str, error: str
) -> None:
    """dg/supported-services-awssdk.html: the role needs the permission of each call"""
    definition = jsonata({"Call": task(f"aws-sdk:{action}", **arguments)})
    ended = machines.run(definition, {}, allow("lambda:InvokeFunction")).ended()
    assert ended["error"] == error
    assert f"not authorized to perform: {denied} on resource" in ended["cause"]


def test_a_nested_execution_is_stopped_only_where_the_role_may(machines: Machines) -> None:
    """dg/connect-to-resource.html: stopping is best effort"""
    waiting = machines.create(jsonata({"Wait": {"Type": "Wait", "Seconds": 5, "End": True}}))
    run = machines.run(
        jsonata({"Run": task("states:startExecution.sync:2", StateMachineArn=waiting, Name="nested")}),
        {},
        allow(["states:StartExecution", "states:DescribeExecution"]),
    )
    eventually(lambda: "TaskSubmitted" in run.event_types())
    run.stop()
    arn = f"{waiting.replace(':stateMachine:', ':execution:')}:nested"
    states = client(machines.aws, "stepfunctions")
    status = eventually(lambda: (s := states.describe_execution(executionArn=arn)["status"]) != "RUNNING" and s)
    assert status == "SUCCEEDED"


def test_an_unknown_integration_is_refused_instead_of_running_unchecked(machines: Machines) -> None:
    """An emulator that accepts what it cannot check would hide a missing permission."""
    ended = machines.run(jsonata({"Call": task("aws-sdk:kms:listKeys")})).ended()
    assert (ended["error"], "is not supported by the local AWS" in ended["cause"]) == ("States.Runtime", True)
