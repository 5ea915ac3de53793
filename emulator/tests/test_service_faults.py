"""A service that is away on request, and one that a role may not use."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws, control, service_fault
from emulator.tests.resources import allow, eventually, invoke, make_function, make_role, unique

SENDING = """
import os, boto3
from botocore.config import Config
once = Config(retries={"total_max_attempts": 1})
def handler(event, context):
    try:
        boto3.client("sqs", config=once).send_message(QueueUrl=event["queue"], MessageBody="text")
    except Exception as error:
        return error.response["Error"]["Code"]
    return "sent"
"""


@pytest.fixture(scope="module")
def calls(local_aws: LocalAws) -> dict[tuple[str, str], Any]:
    """One call of each protocol: JSON, form, XML."""
    queue = local_aws.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    topic = local_aws.client("sns").create_topic(Name=unique("topic"))["TopicArn"]
    bucket = unique("bucket")
    local_aws.client("s3").create_bucket(Bucket=bucket)
    return {
        ("sqs", "SendMessage*"): lambda: local_aws.client("sqs").send_message(QueueUrl=queue, MessageBody="text"),
        ("sns", "Publish"): lambda: local_aws.client("sns").publish(TopicArn=topic, Message="text"),
        ("s3", f"PUT /{bucket}/*"): lambda: local_aws.client("s3").put_object(Bucket=bucket, Key="key", Body=b"text"),
        ("dynamodb", "ListTables"): lambda: local_aws.client("dynamodb").list_tables(),
        ("lambda", "GET */functions*"): lambda: local_aws.client("lambda").list_functions(),
    }


def test_a_service_that_is_away_answers_503_and_works_again_after(local_aws: LocalAws, calls: dict[Any, Any]) -> None:
    for (service, operation), call in calls.items():
        with service_fault(local_aws.endpoint_url, service, operation=operation):
            with pytest.raises(ClientError) as away:
                call()
            assert away.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
            assert away.value.response["Error"]["Code"] == "ServiceUnavailable"
        call()


def test_a_fault_meets_its_operation_its_service_and_its_count_alone(local_aws: LocalAws) -> None:
    dynamodb, url = local_aws.client("dynamodb"), local_aws.endpoint_url
    with service_fault(url, "dynamodb", operation="ListTables", status=400, code="ThrottlingException", count=1):
        dynamodb.describe_limits()
        local_aws.client("sqs").list_queues()
        with pytest.raises(ClientError, match="ThrottlingException"):
            dynamodb.list_tables()
        dynamodb.list_tables()


def test_faults_are_listed_and_an_unknown_option_is_refused(local_aws: LocalAws) -> None:
    with service_fault(local_aws.endpoint_url, "sns"):
        assert [fault["service"] for fault in control(local_aws.endpoint_url, "GET", "services/faults")] == ["sns"]
    assert control(local_aws.endpoint_url, "GET", "services/faults") == []
    with pytest.raises(OSError, match="400"), service_fault(local_aws.endpoint_url, "sns", colour="red"):
        pass


def test_a_queue_can_be_away_for_a_function_and_forbidden_to_its_role(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html: a Deny wins"""
    queue = local_aws.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    role, iam = make_role(local_aws, allow("sqs:SendMessage")), local_aws.client("iam")
    name = make_function(local_aws, SENDING, role)
    denied = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}]}
    role_name = role.rpartition("/")[2]

    def sent() -> Any:
        return invoke(local_aws, name, {"queue": queue})

    assert sent() == "sent"
    with service_fault(local_aws.endpoint_url, "sqs"):
        assert sent() == "ServiceUnavailable"
    iam.put_role_policy(RoleName=role_name, PolicyName="away", PolicyDocument=json.dumps(denied))
    assert eventually(lambda: sent() == "AccessDenied" or None)
    iam.delete_role_policy(RoleName=role_name, PolicyName="away")
    assert eventually(lambda: sent() == "sent" or None)
