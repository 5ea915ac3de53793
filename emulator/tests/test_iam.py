"""IAM decides every call: the role's policies, the resource's policies, and the words of a denial.

https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import FOLDER, LocalAws
from emulator.tests.resources import allow, invoke, make_function, make_role, unique

ACCOUNT = "arn:aws:{service}:us-east-1:000000000000:{resource}"
MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:m"
EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:m:e"


@pytest.fixture(scope="module")
def nobody(local_aws: LocalAws) -> Any:
    role = make_role(local_aws, allow("s3:GetObject", "arn:aws:s3:::elsewhere/*"))
    return lambda service: local_aws.client_as(role, service)


@pytest.fixture(scope="module")
def resources(local_aws: LocalAws) -> dict[str, str]:
    table, queue, topic = unique("table"), unique("queue"), unique("topic")
    local_aws.client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    url = local_aws.client("sqs").create_queue(QueueName=queue)["QueueUrl"]
    arn = local_aws.client("sns").create_topic(Name=topic)["TopicArn"]
    function = make_function(local_aws, "def handler(event, context): return 1")
    local_aws.client("lambda").publish_version(FunctionName=function)
    bucket = unique("bucket")
    local_aws.client("s3").create_bucket(Bucket=bucket)
    return {"bucket": bucket, "table": table, "queue": queue, "queue_url": url, "topic": arn, "function": function}


CALLS = {
    "s3:PutObject": ("s3", lambda c, r: c.put_object(Bucket=r["bucket"], Key="k"), '"arn:aws:s3:::{bucket}/k"'),
    "dynamodb:PutItem": (
        "dynamodb",
        lambda c, r: c.put_item(TableName=r["table"], Item={"k": {"S": "1"}}),
        ACCOUNT.format(service="dynamodb", resource="table/{table}"),
    ),
    "sqs:SendMessage": (
        "sqs",
        lambda c, r: c.send_message_batch(QueueUrl=r["queue_url"], Entries=[{"Id": "1", "MessageBody": "x"}]),
        ACCOUNT.format(service="sqs", resource="{queue}"),
    ),
    "sns:Publish": ("sns", lambda c, r: c.publish(TopicArn=r["topic"], Message="x"), "{topic}"),
    "lambda:InvokeFunction": (
        "lambda",
        lambda c, r: c.invoke(FunctionName=r["function"], Qualifier="1"),
        ACCOUNT.format(service="lambda", resource="function:{function}:1"),
    ),
    "states:StartExecution": ("stepfunctions", lambda c, r: c.start_execution(stateMachineArn=MACHINE), MACHINE),
    "states:StartSyncExecution": (
        "stepfunctions",
        lambda c, r: c.start_sync_execution(stateMachineArn=MACHINE),
        MACHINE,
    ),
    "states:DescribeExecution": ("stepfunctions", lambda c, r: c.describe_execution(executionArn=EXECUTION), EXECUTION),
    "states:StopExecution": ("stepfunctions", lambda c, r: c.stop_execution(executionArn=EXECUTION), EXECUTION),
}


@pytest.mark.parametrize("action", CALLS)
def test_a_denial_names_the_caller_the_action_and_the_resource(
    nobody: Any, resources: dict[str, str], action: str
) -> None:
    service, call, resource = CALLS[action]
    with pytest.raises(ClientError) as denied:
        call(nobody(service), resources)
    error = denied.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "AccessDeniedException", "AuthorizationError")
    assert error["Message"].startswith("User: arn:aws:sts::000000000000:assumed-role/")
    reason = f"because no identity-based policy allows the {action} action"
    assert error["Message"].endswith(
        f"is not authorized to perform: {action} on resource: {resource.format(**resources)} {reason}"
    )


def test_a_function_has_the_permissions_of_its_role_and_no_others(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html"""
    bucket = unique("role")
    local_aws.client("s3").create_bucket(Bucket=bucket)
    code = """
import boto3
s3 = boto3.client("s3")
def handler(event, context):
    return getattr(s3, event["call"])(Bucket=event["bucket"], Key="k")["ResponseMetadata"]["HTTPStatusCode"]
"""
    role = make_role(local_aws, allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*"))
    name = make_function(local_aws, code, role)
    assert invoke(local_aws, name, {"call": "put_object", "bucket": bucket}) == 200
    error = invoke(local_aws, name, {"call": "delete_object", "bucket": bucket})
    assert error["errorType"] == "AccessDenied"
    assert f's3:DeleteObject on resource: "arn:aws:s3:::{bucket}/k"' in error["errorMessage"]
    assert f"assumed-role/{role.rpartition('/')[2]}/{name}" in error["errorMessage"]


def test_a_grant_on_a_version_is_for_that_version_only(local_aws: LocalAws, resources: dict[str, str]) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/versioning-aliases-permissions.html"""
    arn = ACCOUNT.format(service="lambda", resource=f"function:{resources['function']}")
    of_version = local_aws.client_as(make_role(local_aws, allow("lambda:InvokeFunction", f"{arn}:1")), "lambda")
    of_latest = local_aws.client_as(make_role(local_aws, allow("lambda:InvokeFunction", arn)), "lambda")
    for options in ({"FunctionName": f"{arn}:1"}, {"FunctionName": resources["function"], "Qualifier": "1"}):
        assert of_version.invoke(**options)["StatusCode"] == 200
        with pytest.raises(ClientError, match="lambda:InvokeFunction"):
            of_latest.invoke(**options)
    assert of_latest.invoke(FunctionName=arn)["StatusCode"] == 200
    with pytest.raises(ClientError, match="lambda:InvokeFunction"):
        of_version.invoke(FunctionName=arn)


def test_a_grant_on_leading_keys_is_for_items_with_those_keys_only(
    local_aws: LocalAws, resources: dict[str, str]
) -> None:
    """https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html"""
    table = resources["table"]
    arn = ACCOUNT.format(service="dynamodb", resource=f"table/{table}")
    condition = {"Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["LEASE#*"]}}}
    client = local_aws.client_as(make_role(local_aws, allow("dynamodb:*", arn) | condition), "dynamodb")

    def use(*keys: str) -> None:
        items = [{"k": {"S": key}} for key in keys]
        for item in items:
            client.put_item(TableName=table, Item=item)
            client.get_item(TableName=table, Key=item)
        client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": item}} for item in items]})
        client.batch_get_item(RequestItems={table: {"Keys": items}})
        for item in items:
            values = {":k": item["k"]}
            client.query(TableName=table, KeyConditionExpression="k = :k", ExpressionAttributeValues=values)
            client.delete_item(TableName=table, Key=item)

    use("LEASE#1", "LEASE#2")
    client.scan(TableName=table)
    one, other = {"k": {"S": "LEASE#1"}}, {"k": {"S": "RUN#1"}}
    query = {"KeyConditionExpression": "#k = :k", "ExpressionAttributeNames": {"#k": "k"}}
    refused: list[tuple[str, dict[str, Any]]] = [
        ("put_item", {"TableName": table, "Item": other}),
        ("delete_item", {"TableName": table, "Key": other}),
        ("query", {"TableName": table, **query, "ExpressionAttributeValues": {":k": other["k"]}}),
        ("batch_get_item", {"RequestItems": {table: {"Keys": [one, other]}}}),
        ("batch_write_item", {"RequestItems": {table: [{"PutRequest": {"Item": item}} for item in (one, other)]}}),
    ]
    for call, arguments in refused:
        with pytest.raises(ClientError, match="is not authorized to perform: dynamodb"):
            getattr(client, call)(**arguments)


def test_an_unknown_key_and_a_wrong_signature_are_refused(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/signing-elements.html"""
    assumed = local_aws.client("sts").assume_role(RoleArn=make_role(local_aws), RoleSessionName="session")[
        "Credentials"
    ]
    wrong = (assumed["AccessKeyId"], "wrong", assumed["SessionToken"])
    for keys, code in ((("AKIAUNKNOWN", "test"), "InvalidClientTokenId"), (wrong, "SignatureDoesNotMatch")):
        stranger = local_aws.session(*keys).client("sns", endpoint_url=local_aws.endpoint_url)
        with pytest.raises(ClientError) as refused:
            stranger.list_topics()
        assert refused.value.response["Error"]["Code"] == code


def test_a_role_is_assumed_only_by_whom_it_trusts(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html"""
    trusted = make_role(local_aws, allow("sts:AssumeRole", "*"))
    closed = make_role(local_aws, trusted={"Service": "lambda.amazonaws.com"})
    with pytest.raises(ClientError, match="sts:AssumeRole"):
        local_aws.client_as(trusted, "sts").assume_role(RoleArn=closed, RoleSessionName="refused")


def test_a_bucket_that_asks_for_tls_can_be_read(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html (data in transit)"""
    s3, bucket = local_aws.client("s3"), unique("tls-only")
    s3.create_bucket(Bucket=bucket)
    arns = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": arns, "Condition": plain}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    reader = local_aws.client_as(make_role(local_aws, allow("s3:GetObject", arns[1])), "s3")
    assert reader.get_object(Bucket=bucket, Key="k")["Body"].read() == b"v"


SESSIONS_SIDE_BY_SIDE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from ministack.services import sts
from emulator import authorization

authorization.install()
sys.setswitchinterval(1e-6)
sts._sessions.update({str(number): {"Expiration": 9e9} for number in range(2000)})

def begin(thread):
    for number in range(200):
        sts.register_session(f"{thread}-{number}", {"Expiration": 0 if number % 2 else 9e9})

with ThreadPoolExecutor(8) as threads:
    list(threads.map(begin, range(8)))
sts._evict_expired_sessions()
print(len(sts._sessions))
"""


def test_sessions_that_begin_side_by_side_disturb_no_request() -> None:
    """The engine begins one for each machine's role, in many threads; those that have expired are forgotten."""
    interpreter = os.environ.get("EMULATOR_PYTHON") or str(FOLDER / ".venv-emulator" / "bin" / "python")

    done = subprocess.run(
        [interpreter, "-c", SESSIONS_SIDE_BY_SIDE], cwd=FOLDER, capture_output=True, text=True, check=False
    )

    assert done.stdout == "2800\n", done.stderr
