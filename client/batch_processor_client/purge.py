"""Deletes all that a run left in its deployment: its rows, outputs and proof, and its item in the table of runs.

Buckets keep old versions of their objects, so every version is deleted. The plan and the item in the table of runs are
deleted last. They say where the rest is, so an interrupted purge can be repeated. The operator's own credentials need
``s3:ListBucketVersions``, ``s3:DeleteObjectVersion``, ``dynamodb:Query`` and ``dynamodb:BatchWriteItem``; no function
of the product can delete a version.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Protocol, TypeVar

from botocore.exceptions import ClientError as RefusedByAwsError
from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.documents import check_name
from batch_processor_client.errors import ClientError
from batch_processor_client.executions import name_of
from batch_processor_client.files import uploads_prefix
from batch_processor_client.runs import read_plan
from foundation.aws.leases import lease_partition
from foundation.aws.s3 import S3ObjectStore
from row_batches.document.plan import Keys, Plan, StorageMode
from row_batches.rows.dynamodb import partitions_of
from row_batches.run.runs import lease_name
from row_batches.run.runs_dynamodb import DynamoDbRuns, run_partition

STILL_RUNNING = ("RUNNING", "PENDING_REDRIVE")
WRITING = timedelta(hours=1)
"""The output of a stopped run is written within this time: its rows in flight end within 15 minutes."""
MOST_ITEMS_A_WRITE = 25
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html"""
MOST_OBJECTS_A_DELETION = 1_000
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""
PAUSE_SECONDS = 1.0
"""The pause before items that a throttled table left over are written again."""
KEPT = (
    "copies that were delivered to output_s3_uri, and files that you downloaded",
    "the input file, unless the run uploaded it",
    "answers that other runs can reuse (cache_days): they expire by themselves",
    "messages in the dead-letter queue, the execution's history in Step Functions, logs and traces: they expire too",
)


Element = TypeVar("Element")


class Part(BaseModel):
    """The data of a run in one place. ``size_bytes`` is None for items of a table, whose size is not known."""

    model_config = ConfigDict(frozen=True)

    what: str
    place: str
    count: int
    size_bytes: int | None = None


class Purge(BaseModel):
    """The data that a run left, place by place. ``is_deleted``: it is deleted now. ``kept`` is never deleted."""

    model_config = ConfigDict(frozen=True)

    execution: str
    parts: list[Part]
    is_deleted: bool = False
    kept: list[str] = list(KEPT)

    @property
    def count(self) -> int:
        """The number of objects and items."""
        return sum(part.count for part in self.parts)


def look(deployment: Deployment, execution: str) -> Purge:
    """Find what a run left, without empty parts. Raises ClientError for a run that still runs or is still read."""
    name = _purgeable(deployment, execution)
    parts = [place.look() for place in _places(deployment, name, time.sleep)]
    return Purge(execution=name, parts=[part for part in parts if part.count])


def purge(deployment: Deployment, found: Purge, wait: Callable[[float], None] = time.sleep) -> Purge:
    """Delete what ``look`` found. Raises what ``look`` raises, and ClientError when AWS keeps an object."""
    for place in _places(deployment, _purgeable(deployment, found.execution), wait):
        place.delete()
    return found.model_copy(update={"is_deleted": True})


def _purgeable(deployment: Deployment, execution: str) -> str:
    """The name of the run. Raises ClientError if its data are still written or read."""
    name = name_of(execution)
    check_name(name)
    arn = deployment.execution_arn(name)
    if execution not in (name, arn):
        raise ClientError(f"{execution} is not an execution of {deployment.environment}.")
    table = DynamoDbRuns(deployment.client("dynamodb"), deployment.runs_table)
    described = _described(deployment, arn)
    if described.get("status") in STILL_RUNNING:
        raise ClientError(f"{name} still runs. Stop it first: make stop EXECUTION={name}.")
    run = table.get(name)
    ended = described.get("stopDate")
    if run is not None and run.ended_at is None and ended is not None and datetime.now(UTC) - ended < WRITING:
        raise ClientError(f"The output of {name} is still being written. Try again in a few minutes.")
    for other in table.running():
        if other.execution != name and _reads(deployment, other.execution, name):
            raise ClientError(
                f"{other.execution} is still running and reuses rows of {name}. "
                f"Purge {name} when {other.execution} has ended."
            )
    return name


def _described(deployment: Deployment, arn: str) -> dict[str, Any]:
    """The response of DescribeExecution, {} when Step Functions has forgotten the execution."""
    try:
        answer: dict[str, Any] = deployment.client("stepfunctions").describe_execution(executionArn=arn)
    except RefusedByAwsError as refused:
        if refused.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return {}
    return answer


def _reads(deployment: Deployment, reader: str, name: str) -> bool:
    """Whether a running run takes over rows of this one, directly or along a chain of retries.

    Raises ClientError if another release wrote its plan.
    """
    plan = _plan(deployment, reader)
    if plan is not None:
        return any(earlier.name == name for earlier in plan.resume_from)
    # Which runs it reads is known once it is planned. Until then it can be any of the chain.
    document = json.loads(_described(deployment, deployment.execution_arn(reader)).get("input") or "{}")
    return bool((document.get("execution_config") or {}).get("resume_from"))


class _Place(Protocol):
    """A place that a run left something in."""

    def look(self) -> Part: ...

    def delete(self) -> None: ...


def _places(deployment: Deployment, name: str, wait: Callable[[float], None]) -> Iterator[_Place]:
    """The places in the order in which they are deleted."""
    keys, dynamodb, s3 = Keys(name), deployment.client("dynamodb"), deployment.client("s3")
    plan = _plan(deployment, name)
    if plan is not None and plan.storage.mode is StorageMode.DYNAMODB:
        row, of_rows = ("batch_id", "row_id"), partitions_of(plan.storage)
        yield _Items("rows", dynamodb, deployment.results_table, row, of_rows, wait)
    yield _Objects("uploaded input", s3, deployment.input_bucket, uploads_prefix(name))
    yield _Objects("dead letters", s3, deployment.results_bucket, keys.oversized)
    yield _Objects("outputs and proof", s3, deployment.results_bucket, keys.results)
    yield _Objects("rows and plan", s3, deployment.results_bucket, keys.work, last=keys.plan)
    of_run = [lease_partition(lease_name(name)), run_partition(name)]
    yield _Items("table of runs", dynamodb, deployment.runs_table, ("PK", "SK"), of_run, wait)


def _plan(deployment: Deployment, name: str) -> Plan | None:
    """The plan; None if there is none, or none any more. Its rows in a table then expire by themselves."""
    store = S3ObjectStore(deployment.client("s3"), deployment.results_bucket)
    return read_plan(deployment, name) if store.exists(Keys(name).plan) else None


class _Objects:
    """All versions of the objects under a prefix that ends in ``/``. ``last`` is the key that is deleted last."""

    def __init__(self, what: str, s3: Any, bucket: str, prefix: str, last: str = "") -> None:
        self._what = what
        self._s3 = s3
        self._bucket = bucket
        self._prefix = prefix
        self._last = last

    def _versions(self) -> Iterator[dict[str, Any]]:
        """Versions and markers of deletions, which have no size."""
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=self._prefix):
            yield from page.get("Versions", [])
            yield from page.get("DeleteMarkers", [])

    def look(self) -> Part:
        count = size = 0
        for version in self._versions():
            count, size = count + 1, size + version.get("Size", 0)
        return Part(what=self._what, place=f"s3://{self._bucket}/{self._prefix}", count=count, size_bytes=size)

    def delete(self) -> None:
        held_back = list[dict[str, str]]()
        for versions in _chunks(self._versions(), MOST_OBJECTS_A_DELETION):
            named = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
            held_back += [one for one in named if one["Key"] == self._last]
            self._delete([one for one in named if one["Key"] != self._last])
        self._delete(held_back)

    def _delete(self, versions: Sequence[dict[str, str]]) -> None:
        if not versions:
            return
        answer = self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": versions, "Quiet": True})
        for refused in answer.get("Errors", [])[:1]:
            raise ClientError(
                f"AWS refused to delete {refused['Key']} of {self._bucket}: {refused['Code']}: "
                f"{refused.get('Message', '')}. The rest is not deleted: repeat the purge when that is solved."
            )


class _Items:
    """The items of some partitions of a table. ``key`` has the names of its partition key and its sort key."""

    def __init__(
        self,
        what: str,
        dynamodb: Any,
        table: str,
        key: tuple[str, str],
        partitions: Sequence[str],
        wait: Callable[[float], None],
    ) -> None:
        self._what = what
        self._dynamodb = dynamodb
        self._table = table
        self._key = key
        self._partitions = partitions
        self._wait = wait

    def _pages(self, names: dict[str, str], **asked: str) -> Iterator[dict[str, Any]]:
        for partition in self._partitions:
            yield from self._dynamodb.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="#partition = :partition",
                ExpressionAttributeNames={"#partition": self._key[0], **names},
                ExpressionAttributeValues={":partition": {"S": partition}},
                **asked,
            )

    def look(self) -> Part:
        count = sum(page["Count"] for page in self._pages({}, Select="COUNT"))
        return Part(what=self._what, place=f"table {self._table}", count=count)

    def delete(self) -> None:
        pages = self._pages({"#sort": self._key[1]}, ProjectionExpression="#partition, #sort")
        for written in _chunks((key for page in pages for key in page["Items"]), MOST_ITEMS_A_WRITE):
            left: dict[str, Any] = {self._table: [{"DeleteRequest": {"Key": key}} for key in written]}
            while left:
                left = self._dynamodb.batch_write_item(RequestItems=left).get("UnprocessedItems") or {}
                if left:
                    self._wait(PAUSE_SECONDS)


def _chunks(elements: Iterator[Element], size: int) -> Iterator[list[Element]]:
    while chunk := list(islice(elements, size)):
        yield chunk
