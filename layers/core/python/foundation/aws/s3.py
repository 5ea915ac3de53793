"""The results bucket on S3, behind ``foundation.ports.ObjectStore``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from unicodedata import category
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError, ClientError

from foundation.aws.errors import error_code, translate, translated
from foundation.errors import ObjectNotFoundError
from foundation.ports import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TAG_CATEGORIES = "LNZ"
TAG_SIGNS = "_.:/=+-@"
"""A tag's value has letters, numbers, spaces and these
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/tagging-managing.html); an execution's name may have others."""
ALREADY_THERE = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
"""The second: another such write is under way."""
CONTENT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
}
"""By a key's ending, so that browsers and other readers know what they get; others are left to S3's default."""
CHUNK_BYTES = 1024 * 1024
RANGE_BYTES = 8 * CHUNK_BYTES


class S3ObjectStore:
    """Objects of one bucket. The client is shared between threads, which boto3 allows for clients."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @property
    def bucket(self) -> str:
        return self._bucket

    def _uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def get(self, key: str) -> bytes:
        with translated("s3:GetObject", self._uri(key)):
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def read(self, key: str, version_id: str | None = None) -> Iterator[bytes]:
        """Range by range: a reader may take its time between two chunks, and S3 closes connections that wait."""
        pinned: dict[str, str] = {"VersionId": version_id} if version_id else {}
        start, size = 0, 1
        while start < size:
            asked = f"bytes={start}-{start + RANGE_BYTES - 1}"
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key, Range=asked, **pinned)  # type: ignore[arg-type]
                body = answer["Body"].read()
            except (ClientError, BotoCoreError) as error:
                if isinstance(error, ClientError) and error_code(error) == "InvalidRange":
                    return  # an empty object has no range
                raise translate(error, "s3:GetObject", self._uri(key)) from error
            pinned.setdefault("IfMatch", answer["ETag"])
            size = int(answer["ContentRange"].rpartition("/")[2])
            start += len(body)
            yield from (body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES))

    def exists(self, key: str) -> bool:
        try:
            with translated("s3:GetObject", self._uri(key)):
                self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectNotFoundError:
            return False
        return True

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
        described = _described(key, tags)
        with translated("s3:PutObject", self._uri(key)):
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **described)  # type: ignore[arg-type]
        return answer.get("VersionId", "")

    def put_new(self, key: str, body: bytes) -> bool:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*", **_described(key))  # type: ignore[arg-type]
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error_code(error) in ALREADY_THERE:
                return False
            raise translate(error, "s3:PutObject", self._uri(key)) from error
        return True

    def delete(self, key: str) -> None:
        with translated("s3:DeleteObject", self._uri(key)):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def list_objects(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, StartAfter=start_after
        )
        with translated("s3:ListBucket", self._uri(prefix)):
            for page in pages:
                for entry in page.get("Contents", []):
                    yield StoredObject(entry["Key"], entry["Size"])

    def start_upload(self, key: str, tags: dict[str, str] | None = None) -> str:
        described = _described(key, tags)
        with translated("s3:PutObject", self._uri(key)):
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, **described)  # type: ignore[arg-type]
        return answer["UploadId"]

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        with translated("s3:PutObject", self._uri(key)):
            return self._client.upload_part(
                Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body
            )["ETag"]

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        """No upload, but the object: a call that was killed had completed it. That is success."""
        try:
            answer = self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]},
            )
        except ClientError as error:
            if error_code(error) == "NoSuchUpload" and self.exists(key):
                return ""
            raise translate(error, "s3:PutObject", self._uri(key)) from error
        return answer.get("VersionId", "")


def _described(key: str, tags: dict[str, str] | None = None) -> dict[str, str]:
    """The request's fields for type and tags. Characters that S3 refuses in a tag's value become underscores."""
    fields = {}
    if content_type := CONTENT_TYPES.get(PurePosixPath(key).suffix):
        fields["ContentType"] = content_type
    if tags:
        fields["Tagging"] = urlencode({name: "".join(map(_tag_character, value)) for name, value in tags.items()})
    return fields


def _tag_character(character: str) -> str:
    return character if category(character)[0] in TAG_CATEGORIES or character in TAG_SIGNS else "_"
