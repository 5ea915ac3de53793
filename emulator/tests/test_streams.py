"""Functions behind DynamoDB streams.

https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.resources import Gate, allow, eventually, make_function, make_role, unique

CALLS = """
import json
def handler(event, context):
    keys = [record["dynamodb"]["Keys"]["pk"]["S"] for record in event["Records"]]
    print("CALL " + json.dumps(keys))
    if "poison" in keys:
        raise ValueError("poison")
"""
READING = ["dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams"]


class Stream:
    """A table with a stream, and a function that prints the keys it gets."""

    def __init__(self, aws: LocalAws, code: str = CALLS) -> None:
        self.aws, self.table = aws, unique("table")
        self.dynamodb, self.functions = aws.client("dynamodb"), aws.client("lambda")
        described = self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.arn = described["TableDescription"]["LatestStreamArn"]
        self.function = make_function(aws, code, make_role(aws, allow(READING, self.arn), allow("sqs:SendMessage")))

    def map(self, function: str = "", **options: Any) -> str:
        mapping = self.functions.create_event_source_mapping(
            EventSourceArn=self.arn,
            FunctionName=function or self.function,
            **{"StartingPosition": "TRIM_HORIZON", **options},
        )
        uuid: str = mapping["UUID"]
        return uuid

    def put(self, *keys: str, sk: str = "content") -> None:
        for key in keys:
            item = {"pk": {"S": key}, "sk": {"S": sk}, "value": {"S": unique("value")}}
            self.dynamodb.put_item(TableName=self.table, Item=item)

    def calls(self) -> list[list[str]]:
        try:
            events = self.aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{self.function}")["events"]
        except ClientError:
            return []
        return [json.loads(event["message"][5:]) for event in events if event["message"].startswith("CALL ")]


def queue(aws: LocalAws) -> tuple[str, str]:
    url = aws.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    attributes = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    return url, attributes["QueueArn"]


def test_a_window_gathers_what_the_filters_let_through_into_one_batch(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html"""
    stream = Stream(local_aws)
    pattern = {"eventName": ["INSERT", "MODIFY"], "dynamodb": {"Keys": {"sk": {"S": ["content"]}}}}
    stream.map(
        BatchSize=5000,
        MaximumBatchingWindowInSeconds=3,
        FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)}]},
    )
    stream.put("a", "b")
    stream.put("c", sk="other")
    time.sleep(0.3)
    stream.put("a", "d")
    stream.dynamodb.delete_item(TableName=stream.table, Key={"pk": {"S": "d"}, "sk": {"S": "content"}})
    assert eventually(stream.calls) == [["a", "b", "a", "d"]]


def test_a_full_batch_does_not_wait_for_the_window(local_aws: LocalAws) -> None:
    stream = Stream(local_aws)
    stream.put(*"abcde")
    stream.map(BatchSize=2, MaximumBatchingWindowInSeconds=60)
    assert eventually(lambda: len(stream.calls()) == 2)
    assert stream.calls() == [["a", "b"], ["c", "d"]]


def test_a_slow_function_does_not_hold_up_another_stream(local_aws: LocalAws, gate: Gate) -> None:
    slow, quick = Stream(local_aws, gate.code), Stream(local_aws)
    slow.map()
    quick.map()
    slow.put("a")
    assert eventually(gate.inside)
    quick.put("b")
    assert eventually(quick.calls) == [["b"]]


def test_a_poison_record_is_isolated_retried_and_reported_while_the_rest_goes_on(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html"""
    stream, (url, arn) = Stream(local_aws), queue(local_aws)
    stream.put("a", "b", "poison", "c")
    stream.map(
        BatchSize=10,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )
    received = eventually(lambda: local_aws.client("sqs").receive_message(QueueUrl=url).get("Messages"))
    failure = json.loads(received[0]["Body"])
    assert failure["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert failure["DDBStreamBatchInfo"]["batchSize"] == 1
    assert failure["DDBStreamBatchInfo"]["streamArn"] == stream.arn
    stream.put("later")
    assert eventually(lambda: ["later"] in stream.calls())
    assert stream.calls() == [
        ["a", "b", "poison", "c"],
        ["a", "b"],
        ["poison", "c"],
        ["poison"],
        ["poison"],
        ["c"],
        ["later"],
    ]


def test_a_partial_answer_retries_from_the_first_failed_record(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html"""
    code = """
import json
seen = set()
def handler(event, context):
    changes = [record["dynamodb"] for record in event["Records"]]
    numbers = {change["Keys"]["pk"]["S"]: change["SequenceNumber"] for change in changes}
    print("CALL " + json.dumps(list(numbers)))
    failed = [numbers["b"]] if "b" in numbers and not seen else []
    seen.add("b")
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}
"""
    stream = Stream(local_aws, code)
    stream.put("a", "b", "c")
    stream.map(BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"])
    assert eventually(lambda: len(stream.calls()) == 2)
    assert stream.calls() == [["a", "b", "c"], ["b", "c"]]


def test_a_mapping_needs_a_role_that_can_read_the_stream(local_aws: LocalAws) -> None:
    stream = Stream(local_aws)
    closed = make_function(local_aws, CALLS, make_role(local_aws, allow("dynamodb:GetItem")))
    with pytest.raises(ClientError, match=r"InvalidParameterValueException.*Cannot access stream"):
        stream.map(closed)
