"""The notification topic on SNS, behind ``foundation.ports.Notifier``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from foundation.aws.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

MOST_SUBJECT_CHARACTERS = 99
"""A subject is ASCII without line breaks and has fewer than 100 characters
(https://docs.aws.amazon.com/sns/latest/api/API_Publish.html)."""


class SnsNotifier:
    """Publishes to one topic. Raises what ``translated`` raises."""

    def __init__(self, client: SNSClient, topic_arn: str) -> None:
        self._client = client
        self._topic_arn = topic_arn

    def publish(self, subject: str, body: dict[str, Any], attributes: dict[str, str | int]) -> None:
        """Publish ``body`` as JSON. Subscribers can filter numeric attributes by range. Empty ones are omitted."""
        values: dict[str, MessageAttributeValueTypeDef] = {
            name: {"DataType": "Number" if isinstance(value, int) else "String", "StringValue": str(value)}
            for name, value in attributes.items()
            if value != ""
        }
        plain = " ".join(subject.encode("ascii", "replace").decode().split())[:MOST_SUBJECT_CHARACTERS]
        with translated("sns:Publish", self._topic_arn):
            self._client.publish(
                TopicArn=self._topic_arn,
                Subject=plain,
                Message=orjson.dumps(body, option=orjson.OPT_INDENT_2).decode(),
                MessageAttributes=values,
            )
