"""Users' objects, and the results bucket with the staged copy, on S3, behind ``row_batches.files.ports``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from foundation.aws.errors import translated
from foundation.aws.s3 import S3ObjectStore, read_in_ranges
from foundation.errors import BatchProcessorError
from row_batches.document.s3_location import S3Location
from row_batches.files.ports import InputObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RANGE_BYTES = 16 * 1024 * 1024
"""With this size, 10 GB take about 600 requests."""
HEAD_BYTES = 256 * 1024
"""The first request for a large object, because a file is also opened for its header alone."""
PART_BYTES = 8 * 1024 * 1024
"""10,000 parts of this size are 84 GB. S3 requires at least 5 MiB
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""


class S3InputObjects:
    """Users' objects, read only."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def head(self, location: S3Location) -> InputObject:
        # s3:GetObject allows HeadObject, too (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).
        with translated("s3:GetObject", location.uri):
            answer = self._client.head_object(Bucket=location.bucket, Key=location.key)
        return InputObject(location, answer["ContentLength"], answer["ETag"])

    def objects_under(self, bucket: str, prefix: str) -> Iterator[InputObject]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        with translated("s3:ListBucket", f"s3://{bucket}/{prefix}"):
            for page in pages:
                for entry in page.get("Contents", []):
                    yield InputObject(S3Location(bucket, entry["Key"]), entry["Size"], entry["ETag"])

    def stream(self, found: InputObject, start: int = 0) -> Iterator[bytes]:
        location = found.location
        first_bytes = HEAD_BYTES if found.size > RANGE_BYTES else RANGE_BYTES
        return read_in_ranges(
            self._client, location.bucket, location.key, RANGE_BYTES, start, first_bytes, IfMatch=found.etag
        )


class S3WorkObjects(S3ObjectStore):
    """The bucket of work and results. Memory: one part."""

    def upload(self, key: str, chunks: Iterable[bytes]) -> str:
        parts = _parts(chunks)
        first = next(parts, b"")
        if len(first) < PART_BYTES:
            return self.put(key, first)
        upload_id = self.start_upload(key)
        completed = False
        try:
            etags = [self.upload_part(key, upload_id, 1, first)]
            del first
            etags += [self.upload_part(key, upload_id, number, part) for number, part in enumerate(parts, 2)]
            version = self.complete_upload(key, upload_id, etags)
            completed = True
        finally:
            if not completed:
                # The original error matters more. The bucket's lifecycle removes parts that stay.
                with suppress(BatchProcessorError):
                    self.abort_upload(key, upload_id)
        return version


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join chunks to parts of at least PART_BYTES; the last one can be smaller."""
    part = bytearray()
    for chunk in chunks:
        part += chunk
        if len(part) >= PART_BYTES:
            yield bytes(part)
            part.clear()
    if part:
        yield bytes(part)
