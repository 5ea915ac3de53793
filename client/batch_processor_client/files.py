"""Files on this machine and objects in S3."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.exceptions import ClientError as RefusedByAwsError
from s3transfer.subscribers import BaseSubscriber

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError

CHUNK_BYTES = 1024 * 1024
SHARED_PREFIX = "shared/files/"
"""Prefix in the input bucket of files that no run uploaded. Below ``uploads/`` each folder is that of one run."""
MOST_PRESIGNED_SECONDS = 7 * 24 * 3600
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html"""


def readable_file(text: str | Path) -> Path:
    """The path of a readable file. Raises ClientError before anything is sent to AWS."""
    path = Path(text)
    try:
        with path.open("rb"):
            return path
    except FileNotFoundError:
        raise ClientError(f"There is no file {path}.") from None
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}.") from None


def writable_file(text: str | Path) -> Path:
    """The path of a file to write. Raises ClientError before anything is sent to AWS."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise ClientError(f"OUTPUT={text}: name a file in a folder that exists.")
    return path


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``. Raises ClientError for something else."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ClientError(f"{uri} is not the address of an object: s3://bucket/key.")
    return bucket, key


def uploads_prefix(run: str) -> str:
    """Prefix in the input bucket of what a run uploaded, which is deleted with the run."""
    return f"uploads/{run}/"


def upload_uri(deployment: Deployment, path: Path, prefix: str) -> str:
    """Where ``upload`` puts a file in the input bucket.

    The key contains a hash of the file, so an upload never replaces a different file with the same name.
    """
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return f"s3://{deployment.input_bucket}/{prefix}{content}/{path.name}"


class Transfer(BaseSubscriber):
    """An upload that is watched. Any thread can read how many bytes are ``sent``, and ``cancel`` the rest.

    ``told`` is called with the number of further bytes, less than 0 when some are sent again.
    """

    def __init__(self, told: Callable[[int], object] | None = None) -> None:
        self.sent = 0
        self._told = told
        self._is_cancelled = False

    def cancel(self) -> None:
        self._is_cancelled = True

    def on_progress(self, future: Any, bytes_transferred: int, **_: Any) -> None:
        self.sent += bytes_transferred
        if self._told is not None:
            self._told(bytes_transferred)
        if self._is_cancelled:
            future.cancel()


def upload(deployment: Deployment, path: Path, prefix: str, transfer: Transfer | None = None) -> str:
    """Put a file into the input bucket under ``prefix``, which ends in ``/``, and return its address.

    Raises ClientError if the ``transfer`` is cancelled.
    """
    uri = upload_uri(deployment, path, prefix)
    put(deployment, path, uri, transfer)
    return uri


def put(deployment: Deployment, path: Path, uri: str, transfer: Transfer | None = None) -> None:
    """Write a file to an object. Raises ClientError if the ``transfer`` is cancelled."""
    client, (bucket, key) = deployment.client("s3"), split_s3_uri(uri)
    if transfer is None:
        client.upload_file(str(path), bucket, key)
        return
    with create_transfer_manager(client, TransferConfig()) as manager:
        try:
            manager.upload(str(path), bucket, key, subscribers=[transfer]).result()
        except CancelledError:
            raise ClientError(f"The upload of {path.name} was cancelled.") from None


def download(deployment: Deployment, uri: str, path: Path) -> Path:
    """Write an object to a file. Raises ClientError if there is no such object."""
    bucket, key = split_s3_uri(uri)
    try:
        deployment.client("s3").download_file(bucket, key, str(path))
    except RefusedByAwsError as refused:
        if refused.response["Error"]["Code"] not in ("404", "NoSuchKey"):
            raise
        raise ClientError(f"There is no {uri}.") from None
    return path


def open_object(deployment: Deployment, uri: str) -> Iterator[bytes]:
    """The content of an object in chunks. Raises ClientError, before the first chunk, if there is no such object."""
    bucket, key = split_s3_uri(uri)
    try:
        body = deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
    except RefusedByAwsError as refused:
        if refused.response["Error"]["Code"] not in ("404", "NoSuchKey"):
            raise
        raise ClientError(f"There is no {uri}.") from None
    return iter(lambda: body.read(CHUNK_BYTES), b"")


def presign(deployment: Deployment, uri: str, seconds: int = 3600) -> str:
    """A link to an object that works for so many seconds, or until the credentials that signed it end."""
    if not 0 < seconds <= MOST_PRESIGNED_SECONDS:
        raise ClientError(f"A link works for 1 to {MOST_PRESIGNED_SECONDS:,} seconds, not {seconds:,}.")
    bucket, key = split_s3_uri(uri)
    link: str = deployment.client("s3").generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds
    )
    return link
