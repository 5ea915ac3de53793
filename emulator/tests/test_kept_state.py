"""A server that keeps its state begins with what the one before it had; what ran then is ended or runs again."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator import __main__ as command
from emulator.testing import LocalAws
from emulator.tests.machines import jsonata
from emulator.tests.resources import allow, eventually, invoke, make_function, make_role, unique
from emulator.tests.test_server import run_command

PRINTING = 'import json\ndef handler(event, context):\n    print("EVENT " + json.dumps(event))\n    return event'
WAITING = jsonata({"Wait": {"Type": "Wait", "Seconds": 600, "End": True}})
PASSING = jsonata({"Pass": {"Type": "Pass", "Output": {"kept": True}, "End": True}})


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws(keep=True) as kept:
        yield kept


def make_machine(aws: LocalAws, definition: dict[str, Any], kind: str = "STANDARD") -> str:
    made = aws.client("stepfunctions").create_state_machine(
        name=unique("machine"), definition=json.dumps(definition), roleArn=make_role(aws), type=kind
    )
    arn: str = made["stateMachineArn"]
    return arn


def start(aws: LocalAws, machine: str) -> str:
    arn: str = aws.client("stepfunctions").start_execution(stateMachineArn=machine, input="{}")["executionArn"]
    return arn


def describe(aws: LocalAws, execution: str) -> dict[str, Any]:
    described: dict[str, Any] = aws.client("stepfunctions").describe_execution(executionArn=execution)
    return described


def lines_of(aws: LocalAws, function: str) -> list[str]:
    logs = aws.client("logs")
    group = f"/aws/lambda/{function}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return []
    return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]


def test_objects_items_messages_functions_and_executions_are_still_there(aws: LocalAws) -> None:
    s3, dynamodb, sqs = aws.client("s3"), aws.client("dynamodb"), aws.client("sqs")
    bucket, table = unique("bucket"), unique("table")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket=bucket, Key="a", Body=body)["VersionId"] for body in (b"one", b"two")]
    dynamodb.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName=table, Item={"id": {"S": "1"}, "bytes": {"B": b"\x00\xff"}, "set": {"NS": ["1", "2"]}})
    queue = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="kept")
    function = make_function(aws, PRINTING)
    passed = start(aws, make_machine(aws, PASSING))
    assert eventually(lambda: describe(aws, passed)["status"] == "SUCCEEDED")

    aws.restart()

    bodies = [s3.get_object(Bucket=bucket, Key="a", VersionId=version)["Body"].read() for version in versions]
    assert bodies == [b"one", b"two"]
    assert dynamodb.get_item(TableName=table, Key={"id": {"S": "1"}})["Item"]["bytes"] == {"B": b"\x00\xff"}
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "kept"
    assert invoke(aws, function, {"asked": "again"}) == {"asked": "again"}
    assert json.loads(describe(aws, passed)["output"]) == {"kept": True}
    history = aws.client("stepfunctions").get_execution_history(executionArn=passed)["events"]
    assert history[-1]["type"] == "ExecutionSucceeded"


def test_an_execution_that_ran_is_aborted_and_its_rule_is_told(aws: LocalAws) -> None:
    function = make_function(aws, PRINTING)
    arn = aws.client("lambda").get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    machine = make_machine(aws, WAITING)
    events, rule = aws.client("events"), unique("rule")
    pattern = {"source": ["aws.states"], "detail": {"status": ["ABORTED"], "stateMachineArn": [machine]}}
    rule_arn = events.put_rule(Name=rule, EventPattern=json.dumps(pattern))["RuleArn"]
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": arn}])
    aws.client("lambda").add_permission(
        FunctionName=function,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule_arn,
    )
    execution = start(aws, machine)

    aws.restart()

    described = describe(aws, execution)
    assert (described["status"], described["error"]) == ("ABORTED", "LocalAws.Stopped")
    assert eventually(lambda: any(execution in line for line in lines_of(aws, function)))


def test_changes_of_a_table_that_were_not_read_yet_come_to_the_function(aws: LocalAws) -> None:
    dynamodb, table = aws.client("dynamodb"), unique("table")
    dynamodb.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    stream = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    reads = ["dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams"]
    function = make_function(aws, PRINTING, make_role(aws, allow(reads)))
    aws.client("lambda").create_event_source_mapping(
        EventSourceArn=stream,
        FunctionName=function,
        StartingPosition="TRIM_HORIZON",
        BatchSize=100,
        MaximumBatchingWindowInSeconds=30,
    )
    dynamodb.put_item(TableName=table, Item={"id": {"S": "waits-for-the-window"}})

    aws.restart()
    for number in range(100):
        dynamodb.put_item(TableName=table, Item={"id": {"S": str(number)}})

    assert eventually(lambda: any("waits-for-the-window" in line for line in lines_of(aws, function)))


def test_a_state_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "state.pickle").write_bytes(pickle.dumps(((1, "0.0.1", (3, 8)), {})))
    refused = run_command("start", "--port", "0", "--keep", "--state-dir", str(tmp_path))
    assert refused.returncode == 1
    assert "MiniStack 0.0.1, Python 3.8" in refused.stderr
    assert "state.pickle" in refused.stderr
    assert (tmp_path / "state.pickle").exists()


def test_a_server_that_does_not_keep_begins_empty() -> None:
    with LocalAws() as aws:
        aws.client("s3").create_bucket(Bucket="forgotten")
        aws.restart()
        assert aws.client("s3").list_buckets()["Buckets"] == []


SLOW_SERVER = """
import fcntl, os, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
pid_file = (folder / "pid").open("w")
fcntl.flock(pid_file, fcntl.LOCK_EX)
pid_file.write(str(os.getpid()))
pid_file.flush()

def save(*_):
    for size in range(1, 40):
        (folder / "state.pickle.partial").write_bytes(b"x" * size)
        time.sleep(0.05)
    (folder / "state.pickle.partial").rename(folder / "state.pickle")
    sys.exit()

signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_a_server_is_not_killed_while_it_writes_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "STOP_TIMEOUT_SECONDS", 1.0)
    with subprocess.Popen([sys.executable, "-c", SLOW_SERVER, str(tmp_path)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        assert command.stop(tmp_path) == 0
        assert server.wait() == 0
    assert len((tmp_path / "state.pickle").read_bytes()) == 39
