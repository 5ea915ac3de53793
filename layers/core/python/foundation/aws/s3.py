"""The results bucket on S3, behind ``foundation.ports.ObjectStore``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from unicodedata import category
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from foundation.aws.errors import AWS_ERRORS, error_code, translate, translated
from foundation.aws.retry import retried
from foundation.errors import ObjectNotFoundError, ServiceUnavailableError
from foundation.ports import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedMultipartUploadTypeDef

TAG_CATEGORIES = "LNZ"
TAG_SIGNS = "_.:/=+-@"
"""A tag's value can have letters, numbers, spaces and these characters
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/tagging-managing.html). An execution's name can have others."""
NO_UPLOAD = "NoSuchUpload"
"""The code for a multipart upload that was completed or aborted
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""
ALREADY_THERE = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
"""Codes for an object that exists already, or that another conditional write is just creating."""
CONTENT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""Content types by file extension, for browsers and other readers. Other extensions get S3's default."""
CHUNK_BYTES = 1024 * 1024
RANGE_BYTES = 8 * CHUNK_BYTES
BODY_ATTEMPTS = 4
CUT_SHORT = (BotoCoreError, HTTPError, OSError)
"""Exceptions while a body is read, after the response has begun."""


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
        return _get(self._client, Bucket=self._bucket, Key=key)[0]

    def read(self, key: str, version_id: str | None = None, start: int = 0) -> Iterator[bytes]:
        pinned = {"VersionId": version_id} if version_id else {}
        return read_in_ranges(self._client, self._bucket, key, RANGE_BYTES, start, None, **pinned)

    def exists(self, key: str) -> bool:
        try:
            with translated("s3:GetObject", self._uri(key)):
                self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectNotFoundError:
            return False
        return True

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
        described = object_fields(key, tags)
        with translated("s3:PutObject", self._uri(key)):
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **described)  # type: ignore[arg-type]
        return answer.get("VersionId", "")

    def put_new(self, key: str, body: bytes) -> bool:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*", **object_fields(key))  # type: ignore[arg-type]
        except AWS_ERRORS as error:
            if error_code(error) in ALREADY_THERE:
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
        described = object_fields(key, tags)
        with translated("s3:PutObject", self._uri(key)):
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, **described)  # type: ignore[arg-type]
        return answer["UploadId"]

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        with translated("s3:PutObject", self._uri(key)):
            return self._client.upload_part(
                Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body
            )["ETag"]

    def abort_upload(self, key: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except AWS_ERRORS as error:
            # The SDK repeats an abort whose answer was lost, and S3 then says that there is no such upload.
            if error_code(error) != NO_UPLOAD:
                raise translate(error, "s3:AbortMultipartUpload", self._uri(key)) from error

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        """Complete the upload. An upload that no longer exists is a success if an earlier call completed it: one that
        was killed, or whose answer was lost."""
        parts: CompletedMultipartUploadTypeDef = {
            "Parts": [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        }

        def complete() -> str:
            try:
                answer = self._client.complete_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload=parts
                )
            except AWS_ERRORS as error:
                version = self._completed(key, len(etags)) if error_code(error) == NO_UPLOAD else None
                if version is None:
                    raise translate(error, "s3:PutObject", self._uri(key)) from error
                return version
            return answer.get("VersionId", "")

        # After a lost answer, the second call completes the upload, or finds that the first one did.
        return retried(complete, on=ServiceUnavailableError, attempts=2)

    def _completed(self, key: str, parts: int) -> str | None:
        """The version of the object if it has this number of parts, which its ETag ends with
        (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html)."""
        try:
            with translated("s3:GetObject", self._uri(key)):
                found = self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectNotFoundError:
            return None
        return found.get("VersionId", "") if found["ETag"].strip('"').endswith(f"-{parts}") else None


def read_in_ranges(
    client: S3Client,
    bucket: str,
    key: str,
    range_bytes: int,
    start: int = 0,
    first_bytes: int | None = None,
    **pinned: str,
) -> Iterator[bytes]:
    """The object from byte ``start`` on, in chunks of up to 1 MiB, requested range by range, all of the same version.

    S3 closes idle connections, and a reader can pause between two chunks, so each range is a request. Memory:
    ``range_bytes``. Raises ``ObjectNotFoundError``, and ``ObjectChangedError`` if the object is replaced meanwhile.
    """
    size = start + 1
    while start < size:
        asked = f"bytes={start}-{start + (first_bytes or range_bytes) - 1}"
        first_bytes = None
        body, size, etag = _get(client, Bucket=bucket, Key=key, Range=asked, **pinned)
        pinned.setdefault("IfMatch", etag)
        start += len(body)
        yield from (body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES))


def _get(client: S3Client, **request: str) -> tuple[bytes, int, str]:
    """The object or the requested range, the size of the whole object, and its ETag.

    A body that is cut short is requested again, because the SDK retries requests, not bodies.
    """
    uri = f"s3://{request['Bucket']}/{request['Key']}"

    def get() -> tuple[bytes, int, str]:
        try:
            answer = client.get_object(**request)  # type: ignore[arg-type]
        except AWS_ERRORS as error:
            if error_code(error) == "InvalidRange":  # an empty object has no range
                return b"", 0, ""
            raise translate(error, "s3:GetObject", uri) from error
        body = answer["Body"].read()
        size = int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else len(body)
        return body, size, answer["ETag"]

    try:
        return retried(get, on=CUT_SHORT, attempts=BODY_ATTEMPTS)
    except CUT_SHORT as error:
        raise ServiceUnavailableError(
            f"s3:GetObject on {uri}: the answer was cut short: {error}. Try again later."
        ) from error


def object_fields(key: str, tags: dict[str, str] | None = None) -> dict[str, str]:
    """The request's fields for content type and tags. Characters that a tag's value cannot have become underscores."""
    fields = {}
    if content_type := CONTENT_TYPES.get(PurePosixPath(key).suffix):
        fields["ContentType"] = content_type
    if tags:
        fields["Tagging"] = urlencode({name: "".join(map(_tag_character, value)) for name, value in tags.items()})
    return fields


def _tag_character(character: str) -> str:
    return character if category(character)[0] in TAG_CATEGORIES or character in TAG_SIGNS else "_"
