"""Status events of executions, and definitions that AWS refuses."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import FOLDER, LocalAws
from emulator.tests.machines import Machines, State, client, distributed, jsonata
from emulator.tests.resources import eventually, unique

pytestmark = pytest.mark.local_aws

KEEP = {"Type": "Pass", "End": True}
WAIT = {"Type": "Wait", "Seconds": 30, "End": True}


@pytest.fixture(scope="module")
def machines(local_aws: LocalAws) -> Machines:
    return Machines(local_aws)


@pytest.fixture(scope="module")
def received(local_aws: LocalAws) -> Callable[[str], list[dict[str, Any]]]:
    """Details of the status events that arrived for executions of a machine, in order."""
    queues, events = client(local_aws, "sqs"), client(local_aws, "events")
    name = unique("events")
    queue = queues.create_queue(QueueName=name)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    queues.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    pattern = {"source": ["aws.states"], "detail-type": ["Step Functions Execution Status Change"]}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    seen: list[dict[str, Any]] = []

    def look(machine: str) -> list[dict[str, Any]]:
        messages = queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            queues.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            seen.append(json.loads(message["Body"])["detail"])
        return [detail for detail in seen if detail["stateMachineArn"].startswith(machine)]

    return look


Received = Callable[[str], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("definition", "status", "error"),
    [
        (jsonata({"Keep": KEEP}), "SUCCEEDED", None),
        (jsonata({"Break": {"Type": "Fail", "Error": "E", "Cause": "c"}}), "FAILED", "E"),
        (jsonata({"Wait": WAIT}, TimeoutSeconds=1), "TIMED_OUT", None),
        (jsonata({"Wait": WAIT}), "ABORTED", None),
    ],
)
def test_each_status_is_published_with_input_and_output(
    machines: Machines, received: Received, definition: dict[str, Any], status: str, error: str | None
) -> None:
    """dg/eventbridge-integration.html"""
    machine = machines.create(definition)
    run = machines.start(machine, {"a": 1})
    if status == "ABORTED":
        run.stop()
    run.ended()
    details = eventually(lambda: found if len(found := received(machine)) == 2 else [])
    assert details, received(machine)
    by_status = {detail["status"]: detail for detail in details}
    assert set(by_status) == {"RUNNING", status}
    last = by_status[status]
    assert (last["executionArn"], json.loads(last["input"]), last["error"]) == (run.arn, {"a": 1}, error)
    assert last["output"] == ('{"a":1}' if status == "SUCCEEDED" else None)
    assert last["stopDate"] >= last["startDate"]


STOPPED_BEFORE_ITS_THREAD_BEGINS = """
import json
from ministack.services import stepfunctions
from emulator.step_functions import executions

class LateThreads:
    def submit(self, work):
        self.work = work

executions.THREADS = LateThreads()
published = []
stepfunctions._emit_execution_status_event = lambda record: published.append(record["status"])
definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
role = "arn:aws:iam::000000000000:role/any"
made = stepfunctions._create_state_machine({"name": "any", "roleArn": role, "definition": json.dumps(definition)})
execution = executions.start(json.loads(made[2])["stateMachineArn"], None, "{}")
executions.stop(execution.arn, None, None)
executions.THREADS.work()
print(sorted(published))
"""


def test_an_execution_stopped_before_its_thread_begins_publishes_each_status_once() -> None:
    """dg/eventbridge-integration.html: one event for each change of status"""
    interpreter = os.environ.get("EMULATOR_PYTHON") or str(FOLDER / ".venv-emulator" / "bin" / "python")

    done = subprocess.run(
        [interpreter, "-c", STOPPED_BEFORE_ITS_THREAD_BEGINS], cwd=FOLDER, capture_output=True, text=True, check=False
    )

    assert done.stdout == "['ABORTED', 'RUNNING']\n", done.stderr


def test_nested_executions_publish_events_and_children_of_a_map_do_not(machines: Machines, received: Received) -> None:
    """dg/eventbridge-integration.html speaks of executions; for children of a map run AWS documents none"""
    inner = machines.create(jsonata({"Keep": KEEP}))
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Arguments": {"StateMachineArn": inner},
        "End": True,
    }
    outer = machines.create(jsonata({"Map": distributed({"Run": task}, Items="{% [1, 2] %}", Label="rows")}))
    machines.start(outer).output()
    nested = eventually(lambda: found if len(found := received(inner)) == 4 else [])
    assert sorted(detail["status"] for detail in nested) == ["RUNNING", "RUNNING", "SUCCEEDED", "SUCCEEDED"]
    assert eventually(lambda: len(received(outer)) == 2)
    assert {detail["stateMachineArn"] for detail in received(outer)} == {outer}


def test_express_executions_publish_no_events(machines: Machines, received: Received) -> None:
    """dg/eventbridge-integration.html: Standard workflows only"""
    express = machines.create(jsonata({"Keep": KEEP}), kind="EXPRESS")
    client(machines.aws, "stepfunctions").start_sync_execution(stateMachineArn=express, input="{}")
    standard = machines.create(jsonata({"Keep": KEEP}))
    machines.start(standard).output()
    eventually(lambda: len(received(standard)) == 2)
    assert received(express) == []


@pytest.mark.parametrize(("level", "with_data"), [("ERROR", False), ("ALL", True), ("FATAL", False), ("OFF", False)])
def test_events_of_the_level_reach_the_log_group(machines: Machines, level: str, with_data: bool) -> None:
    """dg/cloudwatch-log-level.html; recording: express.json for the members of an event"""
    logs, states = client(machines.aws, "logs"), client(machines.aws, "stepfunctions")
    group = f"/aws/stepfunctions/{unique('group')}"
    logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:{machines.aws.region}:{machines.aws.account_id}:log-group:{group}:*"
    machine = machines.create(jsonata({"Break": {"Type": "Fail", "Error": "E", "Cause": "c"}}))
    states.update_state_machine(
        stateMachineArn=machine,
        loggingConfiguration={
            "level": level,
            "includeExecutionData": with_data,
            "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}],
        },
    )
    run = machines.start(machine, {"secret": 1})
    run.ended()
    found = [json.loads(event["message"]) for event in logs.filter_log_events(logGroupName=group)["events"]]
    expected = {
        "ALL": ["ExecutionStarted", "FailStateEntered", "ExecutionFailed"],
        "ERROR": ["FailStateEntered", "ExecutionFailed"],
        "FATAL": ["ExecutionFailed"],
        "OFF": [],
    }[level]
    assert [event["type"] for event in found] == expected
    assert ("secret" in json.dumps(found)) is with_data
    if found:
        last = found[-1]
        keys = ["details", "event_timestamp", "execution_arn", "id", "previous_event_id", "redrive_count", "type"]
        assert sorted(last) == keys
        assert (last["id"], last["previous_event_id"], last["execution_arn"]) == ("3", "2", run.arn)
        assert last["details"] == {"error": "E", "cause": "c"}


SYNC = {
    "Type": "Task",
    "Resource": "arn:aws:states:::states:startExecution.sync:2",
    "Arguments": {"StateMachineArn": "{% $states.input %}"},
    "End": True,
}
INLINE = {
    "Type": "Map", "ItemReader": {}, "ItemProcessor": {"StartAt": "Keep", "States": {"Keep": KEEP}}, "End": True
}  # fmt: skip


@pytest.mark.parametrize(
    ("state", "kind", "text"),
    [
        (SYNC, "EXPRESS", "does not support '.sync'"),
        (distributed(), "EXPRESS", "does not support DISTRIBUTED"),
        (distributed({"Run": SYNC}, kind="EXPRESS"), "STANDARD", "does not support '.sync'"),
        (distributed(kind=""), "STANDARD", "ExecutionType"),
        (distributed(Label="a label"), "STANDARD", "Label"),
        (distributed(Label="x" * 41), "STANDARD", "Label"),
        (INLINE, "STANDARD", "DISTRIBUTED"),
        (
            {"Type": "Pass", "ResultPath": "$.a", "End": True},
            "STANDARD",
            "'ResultPath' is only supported for the 'JSONPath'",
        ),
    ],
)
def test_definitions_that_cannot_run_are_refused(machines: Machines, state: State, kind: str, text: str) -> None:
    """dg/state-map-distributed.html, dg/choosing-workflow-type.html; recording: express.json, illegal_callbacks"""
    with pytest.raises(ClientError, match=text) as refused:
        machines.create(jsonata({"State": state}), kind=kind)
    assert refused.value.response["Error"]["Code"] == "InvalidDefinition"


def test_a_field_of_jsonata_is_refused_in_a_machine_without_it(machines: Machines) -> None:
    """dg/transforming-data.html"""
    state = {"Type": "Pass", "Output": 1, "End": True}
    text = (
        "set to 'JSONPath', but field 'Output' is only supported for the 'JSONata' QueryLanguage at /States/One/Output"
    )
    with pytest.raises(ClientError, match=text):
        machines.create({"StartAt": "One", "States": {"One": state}})
    machines.create({"StartAt": "One", "States": {"One": {**state, "QueryLanguage": "JSONata"}}})


def test_a_version_runs_the_definition_it_was_published_with(machines: Machines) -> None:
    """dg/concepts-state-machine-version.html"""
    first = jsonata({"Old": {"Type": "Pass", "Output": "old", "End": True}})
    machine = machines.create(first)
    states = client(machines.aws, "stepfunctions")
    version = states.publish_state_machine_version(stateMachineArn=machine)["stateMachineVersionArn"]
    states.update_state_machine(
        stateMachineArn=machine, definition=json.dumps(jsonata({"New": {"Type": "Pass", "Output": "new", "End": True}}))
    )
    assert (machines.start(version).output(), machines.start(machine).output()) == ("old", "new")
