"""The messages between the functions of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import unquote_plus

from pydantic import ConfigDict, Field

from foundation.lazy_model import LazyModel


class Message(LazyModel):
    """A message is the payload of an asynchronous call."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def payload(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


class TakeObjects(Message):
    """Asks ``bedrock_batch_result`` to take the results out of these output objects of the data bucket."""

    keys: tuple[str, ...] = Field(alias="takeObjects")

    @classmethod
    def of_notification(cls, event: Mapping[str, Any], bucket: str) -> Self:
        """The keys in our bucket that an S3 notification names, each once. S3's test event names none.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html (keys are URL-encoded)
        """
        records = event.get("Records")
        keys = [
            unquote_plus(record["s3"]["object"]["key"])
            for record in (records if isinstance(records, list) else [])
            if "s3" in record and record["s3"]["bucket"]["name"] == bucket
        ]
        return cls(keys=tuple(dict.fromkeys(keys)))


class Reparse(Message):
    """The answers of a job to read again, from the object after ``after`` on. ``dry_run`` only counts."""

    job_id: str = Field(alias="jobId")
    dry_run: bool = Field(alias="dryRun")
    after: str = ""


class ReparseJob(Message):
    """Asks ``bedrock_batch_result`` to read the kept answers of a job again."""

    reparse: Reparse


class ReconcileJob(Message):
    """Asks ``bedrock_job_events`` to reconcile a job."""

    job_id: str = Field(alias="jobId")


def take_objects_message(event: Mapping[str, Any], bucket: str) -> TakeObjects:
    """The message in an event of ``bedrock_batch_result``: our own message, or a notification of S3."""
    return TakeObjects.model_validate(event) if "takeObjects" in event else TakeObjects.of_notification(event, bucket)
