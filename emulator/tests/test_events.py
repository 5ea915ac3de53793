"""Events arrive where they may, and only there.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
"""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.resources import allow, eventually, make_function, make_role, unique

PRINTING = 'import json\ndef handler(event, context): print("EVENT " + json.dumps(event))'


@dataclass(frozen=True)
class Queue:
    """A queue, and what has arrived in it."""

    aws: LocalAws
    url: str
    arn: str

    def let_in(self, service: str, source_arn: str) -> None:
        statement = {
            **allow("sqs:SendMessage", self.arn),
            "Principal": {"Service": service},
            "Condition": {"ArnEquals": {"aws:SourceArn": source_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.aws.client("sqs").set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})

    def messages(self) -> list[dict[str, Any]]:
        received = self.aws.client("sqs").receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        found: list[dict[str, Any]] = received.get("Messages", [])
        return found


def make_queue(aws: LocalAws) -> Queue:
    url = aws.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    attributes = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    return Queue(aws, url, attributes["QueueArn"])


def function_arn(aws: LocalAws, name: str) -> str:
    arn: str = aws.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    return arn


def events_of(aws: LocalAws, name: str) -> list[Any]:
    """The events that a printing function has got."""
    try:
        logged = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    except ClientError:
        return []
    return [json.loads(line["message"][6:]) for line in logged if line["message"].startswith("EVENT ")]


def make_rule(aws: LocalAws, source: str) -> tuple[str, str]:
    name = unique("rule")
    pattern = json.dumps({"source": [source]})
    return name, aws.client("events").put_rule(Name=name, EventPattern=pattern)["RuleArn"]


def send(aws: LocalAws, source: str, detail: Any) -> None:
    entry = {"Source": source, "DetailType": "changed", "Detail": json.dumps(detail)}
    assert aws.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def test_a_rule_reaches_functions_and_queues_only_with_their_permission(local_aws: LocalAws) -> None:
    source, queue, closed = unique("source"), make_queue(local_aws), make_queue(local_aws)
    name = make_function(local_aws, PRINTING)
    rule, rule_arn = make_rule(local_aws, source)
    arn = function_arn(local_aws, name)
    targets = [{"Id": str(place), "Arn": target} for place, target in enumerate([arn, queue.arn, closed.arn])]
    local_aws.client("events").put_targets(Rule=rule, Targets=targets)
    send(local_aws, source, {"n": 1})
    local_aws.client("lambda").add_permission(
        FunctionName=name,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule_arn,
    )
    queue.let_in("events.amazonaws.com", rule_arn)
    send(local_aws, source, {"n": 2})
    assert [event["detail"] for event in eventually(lambda: events_of(local_aws, name))] == [{"n": 2}]
    assert [json.loads(message["Body"])["detail"] for message in eventually(queue.messages)] == [{"n": 2}]
    assert closed.messages() == []


def test_a_rule_starts_a_machine_with_its_role_and_keeps_what_it_may_not_deliver(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html"""
    states, source, dead = local_aws.client("stepfunctions"), unique("source"), make_queue(local_aws)
    definition = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
    machine = states.create_state_machine(
        name=unique("machine"), roleArn=make_role(local_aws), definition=json.dumps(definition)
    )["stateMachineArn"]
    role = make_role(local_aws)
    rule, rule_arn = make_rule(local_aws, source)
    dead.let_in("events.amazonaws.com", rule_arn)
    template = {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"number": <n>}'}
    target = {
        "Id": "m",
        "Arn": machine,
        "RoleArn": role,
        "InputTransformer": template,
        "DeadLetterConfig": {"Arn": dead.arn},
    }
    local_aws.client("events").put_targets(Rule=rule, Targets=[target])
    send(local_aws, source, {"n": 1})
    letter = eventually(dead.messages)[0]
    assert json.loads(letter["Body"])["detail"] == {"n": 1}
    attributes = {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert (attributes["RULE_ARN"], attributes["TARGET_ARN"]) == (rule_arn, machine)
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    policy = {"Version": "2012-10-17", "Statement": [allow("states:StartExecution", machine)]}
    local_aws.client("iam").put_role_policy(
        RoleName=role.rpartition("/")[2], PolicyName="start", PolicyDocument=json.dumps(policy)
    )
    send(local_aws, source, {"n": 2})
    started = eventually(lambda: states.list_executions(stateMachineArn=machine)["executions"])
    inputs = [json.loads(states.describe_execution(executionArn=one["executionArn"])["input"]) for one in started]
    assert inputs == [{"number": 2}]


def test_a_failing_function_behind_a_rule_is_retried_and_its_event_kept(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
    dead, source = make_queue(local_aws), unique("source")
    client, failing = local_aws.client("lambda"), "def handler(event, context): raise ValueError(event['detail'])"
    name = make_function(local_aws, failing, make_role(local_aws, allow("sqs:SendMessage", dead.arn)))
    client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": dead.arn}}
    )
    rule, rule_arn = make_rule(local_aws, source)
    client.add_permission(
        FunctionName=name,
        StatementId="r",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule_arn,
    )
    local_aws.client("events").put_targets(Rule=rule, Targets=[{"Id": "f", "Arn": function_arn(local_aws, name)}])
    send(local_aws, source, "bad")
    record = json.loads(eventually(dead.messages)[0]["Body"])
    assert record["requestPayload"]["detail"] == "bad"
    assert record["responsePayload"]["errorType"] == "ValueError"


def test_a_failure_destination_needs_the_permission_of_the_function_s_role(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
    dead = make_queue(local_aws)
    name = make_function(local_aws, "def handler(event, context): raise ValueError")
    client = local_aws.client("lambda")
    client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": dead.arn}}
    )
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    time.sleep(1)
    assert dead.messages() == []


def test_s3_notifies_a_function_that_lets_it_in_and_refuses_any_other(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html"""
    s3, bucket, name = local_aws.client("s3"), unique("bucket"), make_function(local_aws, PRINTING)
    s3.create_bucket(Bucket=bucket)
    rules = [{"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".out"}]
    configuration = {
        "LambdaFunctionArn": function_arn(local_aws, name),
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": rules}},
    }
    notification = {"LambdaFunctionConfigurations": [configuration]}
    with pytest.raises(ClientError, match="Unable to validate the following destination configurations"):
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notification)
    local_aws.client("lambda").add_permission(
        FunctionName=name,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
    )
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notification)
    for key in ("in/a b.out", "in/other", "elsewhere.out"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    keys = [event["Records"][0]["s3"]["object"]["key"] for event in eventually(lambda: events_of(local_aws, name))]
    assert keys == ["in/a+b.out"]


def test_a_subscription_filters_by_message_attributes(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-message-filtering.html"""
    sns, queue, closed = local_aws.client("sns"), make_queue(local_aws), make_queue(local_aws)
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    queue.let_in("sns.amazonaws.com", topic)
    wanted = {"status": ["FAILED"], "rows_failed": [{"numeric": [">", 5]}]}
    attributes = {"RawMessageDelivery": "true", "FilterPolicy": json.dumps(wanted)}
    for arn in (queue.arn, closed.arn):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    for status, failed in (("FAILED", 10), ("SUCCEEDED", 10), ("FAILED", 1)):
        sns.publish(
            TopicArn=topic,
            Message=f"{status} {failed}",
            MessageAttributes={
                "status": {"DataType": "String", "StringValue": status},
                "rows_failed": {"DataType": "Number", "StringValue": str(failed)},
            },
        )
    messages = eventually(queue.messages)
    assert [message["Body"] for message in messages] == ["FAILED 10"]
    assert messages[0]["MessageAttributes"]["rows_failed"] == {"DataType": "Number", "StringValue": "10"}
    assert closed.messages() == []


def test_an_encrypted_queue_and_topic_need_the_use_of_their_key(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html"""
    key = local_aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    queue, encryption = make_queue(local_aws), {"KmsMasterKeyId": key}
    local_aws.client("sqs").set_queue_attributes(QueueUrl=queue.url, Attributes=encryption)
    topic = local_aws.client("sns").create_topic(Name=unique("topic"), Attributes=encryption)["TopicArn"]
    sends = allow(["sqs:SendMessage", "sns:Publish"])
    without = make_role(local_aws, sends)
    entitled = make_role(local_aws, sends, allow(["kms:GenerateDataKey", "kms:Decrypt"], key))
    for service, send_one in (
        ("sqs", lambda client: client.send_message(QueueUrl=queue.url, MessageBody="x")),
        ("sns", lambda client: client.publish(TopicArn=topic, Message="x")),
    ):
        with pytest.raises(ClientError, match=f"kms:GenerateDataKey on resource: {key}"):
            send_one(local_aws.client_as(without, service))
        send_one(local_aws.client_as(entitled, service))
    assert [message["Body"] for message in queue.messages()] == ["x"]


def test_a_rule_reaches_an_encrypted_queue_only_when_the_key_lets_eventbridge_in(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-troubleshooting.html"""
    kms, queue, source = local_aws.client("kms"), make_queue(local_aws), unique("source")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    local_aws.client("sqs").set_queue_attributes(QueueUrl=queue.url, Attributes={"KmsMasterKeyId": key})
    rule, rule_arn = make_rule(local_aws, source)
    queue.let_in("events.amazonaws.com", rule_arn)
    local_aws.client("events").put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue.arn}])
    send(local_aws, source, 1)
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    uses = {**allow(["kms:Decrypt", "kms:GenerateDataKey"]), "Principal": {"Service": "events.amazonaws.com"}}
    policy["Statement"].append(uses)
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    send(local_aws, source, 2)
    assert [json.loads(message["Body"])["detail"] for message in queue.messages()] == [2]


@pytest.mark.parametrize("rate", ["rate(1 minutes)", "rate(2 minute)", "rate(0 minutes)", "rate(5 seconds)"])
def test_a_rate_that_eventbridge_does_not_know_is_refused(local_aws: LocalAws, rate: str) -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html"""
    with pytest.raises(ClientError, match="ValidationException"):
        local_aws.client("events").put_rule(Name=unique("rule"), ScheduleExpression=rate)


def test_rules_and_schedules_with_a_rate_reach_functions_and_machines_again_and_again() -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-rule-schedule.html; EVENTS_RATE_SCALE"""
    with LocalAws({"EVENTS_RATE_SCALE": "0.001"}) as aws:
        name, states = make_function(aws, PRINTING), aws.client("stepfunctions")
        definition = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
        machine = states.create_state_machine(
            name=unique("machine"), roleArn=make_role(aws), definition=json.dumps(definition)
        )["stateMachineArn"]
        role = make_role(aws, allow("states:StartExecution", machine))
        events, rules = aws.client("events"), [unique("rule"), unique("rule")]
        arns = [
            events.put_rule(Name=rule, ScheduleExpression="rate(15 minutes)", State="ENABLED")["RuleArn"]
            for rule in rules
        ]
        aws.client("lambda").add_permission(
            FunctionName=name,
            StatementId="rule",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=arns[0],
        )
        events.put_targets(Rule=rules[0], Targets=[{"Id": "f", "Arn": function_arn(aws, name), "Input": '"rule"'}])
        events.put_targets(Rule=rules[1], Targets=[{"Id": "m", "Arn": machine, "RoleArn": role, "Input": '"rule"'}])
        aws.client("scheduler").create_schedule(
            Name=unique("schedule"),
            ScheduleExpression="rate(15 minutes)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": machine, "RoleArn": role, "Input": '"schedule"'},
        )

        def inputs() -> list[str]:
            started = states.list_executions(stateMachineArn=machine)["executions"]
            return [states.describe_execution(executionArn=one["executionArn"])["input"] for one in started]

        assert eventually(lambda: min(inputs().count('"rule"'), inputs().count('"schedule"')) >= 2)
        assert eventually(lambda: len(events_of(aws, name)) >= 2)


def test_the_status_of_an_execution_starts_a_machine_with_what_the_transformer_takes(local_aws: LocalAws) -> None:
    """dg/eventbridge-integration.html; eventbridge/latest/userguide/eb-transform-target-input.html"""
    states, rule = local_aws.client("stepfunctions"), unique("rule")

    def machine(state: dict[str, Any]) -> str:
        arn: str = states.create_state_machine(
            name=unique("machine"),
            roleArn=make_role(local_aws),
            definition=json.dumps({"StartAt": "Only", "States": {"Only": {**state, "End": True}}}),
        )["stateMachineArn"]
        return arn

    watched, finishing = machine({"Type": "Wait", "Seconds": 600}), machine({"Type": "Pass"})
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [watched], "status": ["ABORTED", "TIMED_OUT"]},
    }
    local_aws.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    taken = {"arn": "$.detail.executionArn", "status": "$.detail.status", "stopped": "$.detail.stopDate"}
    target = {
        "Id": "finish",
        "Arn": finishing,
        "RoleArn": make_role(local_aws, allow("states:StartExecution", finishing)),
        "InputTransformer": {
            "InputPathsMap": taken,
            "InputTemplate": '{"execution": <arn>, "status": <status>, "stopped": <stopped>}',
        },
    }
    local_aws.client("events").put_targets(Rule=rule, Targets=[target])
    arn = states.start_execution(stateMachineArn=watched)["executionArn"]
    states.stop_execution(executionArn=arn)

    [started] = eventually(lambda: states.list_executions(stateMachineArn=finishing)["executions"])
    given = json.loads(states.describe_execution(executionArn=started["executionArn"])["input"])

    assert (given["execution"], given["status"]) == (arn, "ABORTED")
    assert isinstance(given["stopped"], int)


def test_a_one_time_schedule_invokes_its_target_with_its_role(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html"""
    name = make_function(local_aws, PRINTING)
    arn = function_arn(local_aws, name)
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    for role, text in (
        (make_role(local_aws), "denied"),
        (make_role(local_aws, allow("lambda:InvokeFunction", arn)), "allowed"),
    ):
        local_aws.client("scheduler").create_schedule(
            Name=unique("schedule"),
            ScheduleExpression=f"at({moment})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": arn, "RoleArn": role, "Input": json.dumps(text)},
        )
    assert eventually(lambda: events_of(local_aws, name)) == ["allowed"]
