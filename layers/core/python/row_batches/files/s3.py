"""Users' objects and the staged copy on S3, and a tool's settings, behind ``row_batches.files.ports``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from foundation.aws.errors import translated
from row_batches.document.batch_config import S3Location
from row_batches.files.ports import InputObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES = 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
"""10,000 parts of it are 84 GB; S3 wants 5 MiB at least
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""


def _uri(location: S3Location) -> str:
    return f"s3://{location.bucket}/{location.key}"


class S3InputObjects:
    """Users' objects, read only."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def head(self, location: S3Location) -> InputObject:
        # HeadObject is allowed by s3:GetObject (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).
        with translated("s3:GetObject", _uri(location)):
            answer = self._client.head_object(Bucket=location.bucket, Key=location.key)
        return InputObject(location, answer["ContentLength"], answer["ETag"])

    def stream(self, found: InputObject) -> Iterator[bytes]:
        location = found.location
        with translated("s3:GetObject", _uri(location)):
            body = self._client.get_object(Bucket=location.bucket, Key=location.key, IfMatch=found.etag)["Body"]
            with body:
                yield from body.iter_chunks(CHUNK_BYTES)


class S3WorkObjects:
    """The bucket of work and results. Memory: one part."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def get(self, key: str) -> bytes:
        with translated("s3:GetObject", f"s3://{self.bucket}/{key}"):
            return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, key: str, body: bytes) -> str:
        with translated("s3:PutObject", f"s3://{self.bucket}/{key}"):
            return self._client.put_object(Bucket=self.bucket, Key=key, Body=body).get("VersionId", "")

    def upload(self, key: str, chunks: Iterable[bytes]) -> str:
        parts = _parts(chunks)
        first = next(parts, b"")
        if len(first) < PART_BYTES:
            return self.put(key, first)
        with translated("s3:PutObject", f"s3://{self.bucket}/{key}"):
            upload_id = self._client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]
        completed = False
        try:
            etags = [self._upload_part(key, upload_id, 1, first)]
            del first
            etags += [self._upload_part(key, upload_id, number, part) for number, part in enumerate(parts, 2)]
            with translated("s3:PutObject", f"s3://{self.bucket}/{key}"):
                answer = self._client.complete_multipart_upload(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]},
                )
            completed = True
        finally:
            if not completed:
                # Whatever went wrong is what counts; parts that stay are removed by the bucket's lifecycle.
                with suppress(ClientError, BotoCoreError):
                    self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        return answer.get("VersionId", "")

    def _upload_part(self, key: str, upload_id: str, number: int, part: bytes) -> str:
        with translated("s3:PutObject", f"s3://{self.bucket}/{key}"):
            return self._client.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=part
            )["ETag"]


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join chunks to parts of at least PART_BYTES, but for the last."""
    part = bytearray()
    for chunk in chunks:
        part += chunk
        if len(part) >= PART_BYTES:
            yield bytes(part)
            part.clear()
    if part:
        yield bytes(part)
