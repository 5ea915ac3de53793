"""What the notification topic of a deployment says."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from tests.support.deployment import Deployment


class Subscription:
    """A queue that hears what the notification topic says, while the test runs."""

    def __init__(self, deployment: Deployment) -> None:
        self.sqs, self.sns = deployment.client("sqs"), deployment.client("sns")
        self.topic = deployment.outputs["notification_topic_arn"]

    def __enter__(self) -> Subscription:
        self.queue = self.sqs.create_queue(QueueName=f"test-{uuid.uuid4()}")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
        policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": arn}]}
        self.sqs.set_queue_attributes(QueueUrl=self.queue, Attributes={"Policy": json.dumps(policy)})
        self.subscription = self.sns.subscribe(
            TopicArn=self.topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
        )["SubscriptionArn"]
        return self

    def __exit__(self, *_: object) -> None:
        self.sns.unsubscribe(SubscriptionArn=self.subscription)
        self.sqs.delete_queue(QueueUrl=self.queue)

    def message_of(self, execution: str, timeout_seconds: float = 300) -> dict[str, Any]:
        """The notification about the execution: ``{"Message", "MessageAttributes", …}``."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            for message in self.sqs.receive_message(QueueUrl=self.queue, WaitTimeSeconds=1).get("Messages", []):
                body = json.loads(message["Body"])
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                if body["MessageAttributes"]["execution_id"]["Value"] == execution:
                    return dict(body)
        raise AssertionError(f"no notification about {execution} in {timeout_seconds} s")

    def rest_of(self, execution: str) -> list[dict[str, Any]]:
        """The notifications about the execution that have come and were not read yet."""
        found = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue, WaitTimeSeconds=0).get("Messages", []):
            for message in messages:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                if body["MessageAttributes"]["execution_id"]["Value"] == execution:
                    found.append(dict(body))
        return found
