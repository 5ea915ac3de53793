"""Merges content into the lake that could not be merged before.

A schedule merges the objects under sync-failed/ every 15 minutes. This does it at once. It calls the function
bedrock_sync for each object under bedrock-batches/sync-failed/ of the data bucket. The function deletes the object when
all its content is in the lake; otherwise it keeps the lines that failed again, with the reason. Then it compares all
content in VentureOS-Violations with the lake, some thousand items a call, and merges what the lake lacks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.config import Config
from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from bedrock_batches.sync.failed_items import FAILED_PREFIX
from foundation.functions import function_sizes

MOST_REASONS = 5


class Replayed(BaseModel):
    """The outcome of one object. ``error`` is why the function failed, "" if it did not; ``reasons`` are those of items
    that failed again."""

    model_config = ConfigDict(frozen=True)

    key: str
    merged: int = 0
    were_there: int = 0
    failed: int = 0
    reasons: list[str] = []
    error: str = ""

    @property
    def complete(self) -> bool:
        """Whether all its content is in the lake."""
        return not self.failed and not self.error


class Compared(BaseModel):
    """The comparison of all content with the lake. ``uncounted`` items have no outcome."""

    model_config = ConfigDict(frozen=True)

    compared: int = 0
    merged: int = 0
    failed: int = 0
    uncounted: int = 0
    reasons: list[str] = []
    error: str = ""

    @property
    def complete(self) -> bool:
        """Whether the lake has all content."""
        return not self.failed and not self.uncounted and not self.error


class Resync:
    """The objects that wait to be merged, and the function that merges them."""

    def __init__(self, storage: Any, functions: Any, bucket: str, function: str) -> None:
        self._storage = storage
        self._functions = functions
        self._bucket = bucket
        self._function = function

    def waiting(self) -> Iterator[str]:
        """Keys of the objects, oldest day first."""
        for page in self._storage.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=FAILED_PREFIX):
            for entry in page.get("Contents", []):
                yield entry["Key"]

    def replay(self, key: str) -> dict[str, Any]:
        """Merge one object. Returns the function's response (``SyncResult.document``), or ``{"error": …}``."""
        return self._call({"replay": key})

    def compare(self, cursor: str) -> dict[str, Any]:
        """Merge a page of the table. Returns the same as ``replay``, with the next ``cursor`` and ``reasons``."""
        return self._call({"compare": cursor})

    def _call(self, event: dict[str, str]) -> dict[str, Any]:
        answer = self._functions.invoke(FunctionName=self._function, Payload=json.dumps(event).encode())
        document: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            return {"error": f"{document.get('errorType')}: {document.get('errorMessage')}"}
        return document

    def reasons(self, key: str) -> list[str]:
        """Why items of the object failed, each reason once."""
        lines = self._storage.get_object(Bucket=self._bucket, Key=key)["Body"].read().splitlines()
        return sorted({str(json.loads(line)["reason"]) for line in lines if line})


def resync(deployment: Deployment, only: str = "") -> Iterator[Replayed | Compared]:
    """Merge the objects with a key that ends in ``only``; without ``only``, all of them, and compare at the end.

    Raises ClientError if there is no such object, or if the deployment has no Bedrock batches.
    """
    yield from merge(waiting_of(deployment), only)


def waiting_of(deployment: Deployment) -> Resync:
    """The objects that wait in a deployment. Raises ClientError if it has no Bedrock batches."""
    bucket, function = deployment.bedrock(deployment.data_bucket), deployment.bedrock_function("bedrock_sync")
    # No retries: a second call would start while the function still runs.
    seconds = function_sizes("bedrock_batches")["bedrock_sync"].timeout_seconds
    patient = Config(read_timeout=seconds + 30, retries={"total_max_attempts": 1})
    return Resync(deployment.client("s3"), deployment.client("lambda", patient), bucket, function)


def merge(waiting: Resync, only: str = "") -> Iterator[Replayed | Compared]:
    """``resync`` with the clients of ``waiting``."""
    keys = [key for key in waiting.waiting() if key.endswith(only)]
    if not keys and only:
        raise ClientError(f"No object under {FAILED_PREFIX} has a key that ends in {only}. List the objects there.")
    for key in keys:
        yield _replay(waiting, key)
    if not only:
        yield _compare(waiting)


def _replay(waiting: Resync, key: str) -> Replayed:
    answer = waiting.replay(key)
    if "error" in answer:
        return Replayed(key=key, error=answer["error"])
    return Replayed(
        key=key,
        merged=answer["updated"],
        were_there=answer["unchanged"],
        failed=answer["failed"],
        reasons=waiting.reasons(key)[:MOST_REASONS] if answer["failed"] else [],
    )


def _compare(waiting: Resync) -> Compared:
    """Compare all content with the lake, page by page."""
    compared = merged = failed = uncounted = 0
    reasons: set[str] = set()
    cursor, error = "", ""
    while True:
        answer = waiting.compare(cursor)
        if "error" in answer:
            error = answer["error"]
            break
        updated, unchanged, kept_out = (int(answer[name]) for name in ("updated", "unchanged", "failed"))
        compared += int(answer["items"])
        uncounted += int(answer["items"]) - updated - unchanged - kept_out - int(answer["ignored"])
        merged += updated
        failed += kept_out
        reasons |= set(answer["reasons"])
        cursor = answer["cursor"]
        if not cursor:
            break
    return Compared(
        compared=compared,
        merged=merged,
        failed=failed,
        uncounted=uncounted,
        reasons=sorted(reasons)[:MOST_REASONS],
        error=error,
    )
