"""Output objects of batch inference on S3, behind ``bedrock_batches.results.ports.ResultObjects``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bedrock_batches.results.ports import ResultObject
from foundation.aws.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RANGE_BYTES = 4 * 1024 * 1024
"""The bytes of one read. No connection stays open while the table is written, because it would be cut."""


class S3ResultObjects:
    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def _uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def head(self, key: str) -> ResultObject:
        with translated("s3:GetObject", self._uri(key)):
            found = self._client.head_object(Bucket=self._bucket, Key=key)
        return ResultObject(key, found["ETag"], found["ContentLength"], _moment(found["LastModified"]))

    def read(self, result: ResultObject, offset: int) -> Iterator[bytes]:
        while offset < result.size:
            last = min(offset + RANGE_BYTES, result.size) - 1
            with translated("s3:GetObject", self._uri(result.key)):
                data = self._client.get_object(
                    Bucket=self._bucket, Key=result.key, IfMatch=result.etag, Range=f"bytes={offset}-{last}"
                )["Body"].read()
            yield data
            offset = last + 1

    def list_objects(self, prefix: str) -> Iterator[ResultObject]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with translated("s3:ListBucket", self._uri(prefix)):
            for page in pages:
                for entry in page.get("Contents", []):
                    yield ResultObject(entry["Key"], entry["ETag"], entry["Size"], _moment(entry["LastModified"]))


def _moment(last_modified: datetime) -> datetime:
    """The time in whole seconds: a header has no fractions, a listing can have them."""
    return last_modified.astimezone(UTC).replace(microsecond=0)
