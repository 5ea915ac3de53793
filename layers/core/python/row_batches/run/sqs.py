"""The dead-letter queue on SQS, behind ``row_batches.run.ports.DeadLetters``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from foundation.aws.errors import translated
from foundation.aws.retry import retried
from foundation.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

MOST_ENTRIES = 10
MOST_BYTES = 256 * 1024
"""Limits of one SendMessageBatch: 10 messages, and the sum of their sizes that every queue allows
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)."""
MOST_TRIES = 3


class SqsDeadLetters:
    """Sends letters to the queue of the given name. The client is made for the first letter: most runs have none."""

    def __init__(self, make_client: Callable[[], SQSClient], queue: str) -> None:
        self._make_client = make_client
        self._queue = queue

    @cached_property
    def _queue_url(self) -> str:
        """The queue's URL, asked for when the first letter is sent. SQS says not to build it from its parts
        (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html).
        """
        with translated("sqs:GetQueueUrl", self._queue):
            return self._make_client().get_queue_url(QueueName=self._queue)["QueueUrl"]

    def send(self, letters: Iterable[dict[str, Any]]) -> None:
        """Send the letters. Raises ``ServiceUnavailableError`` if SQS keeps refusing single messages of a batch."""
        batch: list[str] = []
        size = 0
        for letter in letters:
            body = _encoded(letter)
            body_bytes = len(body.encode())
            if batch and (len(batch) == MOST_ENTRIES or size + body_bytes > MOST_BYTES):
                self._send_batch(batch)
                batch, size = [], 0
            batch.append(body)
            size += body_bytes
        if batch:
            self._send_batch(batch)

    def _send_batch(self, bodies: list[str]) -> None:
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)
        ]

        def send() -> None:
            nonlocal entries
            with translated("sqs:SendMessage", self._queue_url):
                answer = self._make_client().send_message_batch(QueueUrl=self._queue_url, Entries=entries)
            failed = {entry["Id"]: entry for entry in answer.get("Failed", [])}
            entries = [entry for entry in entries if entry["Id"] in failed]
            if failed:
                reason = "; ".join(f"{entry['Code']}: {entry.get('Message', '')}" for entry in failed.values())
                raise _RefusedError(f"sqs:SendMessage on {self._queue_url} refused messages: {reason}")

        try:
            retried(send, on=_RefusedError, attempts=MOST_TRIES)
        except _RefusedError as error:
            raise ServiceUnavailableError(str(error)) from error


class _RefusedError(Exception):
    """Raised when SQS accepts some messages of a batch and refuses others."""


def _encoded(letter: dict[str, Any]) -> str:
    """JSON with U+FFFE and U+FFFF escaped like control characters, because SQS refuses or replaces them
    (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html).
    """
    return orjson.dumps(letter).decode().replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
