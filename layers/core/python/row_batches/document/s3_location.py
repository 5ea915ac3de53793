"""Addresses in S3, as a document writes them: ``s3://<bucket>/<key>``."""

import re
from typing import NamedTuple

MOST_FOLDER_BYTES = 600
"""The rest of a key is for the execution's name, which has up to 320 bytes, and for the file's."""
FILE_ENDINGS = (".csv", ".json", ".jsonl", ".parquet", ".xlsx")


class S3Location(NamedTuple):
    """An object, or a folder whose key ends with "/"."""

    bucket: str
    key: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def names_several(location: S3Location) -> bool:
    """Whether the address names a folder or a pattern with ``*``."""
    return location.key.endswith("/") or "*" in location.key


def parse_input_uri(uri: str) -> S3Location:
    """Bucket and key of the input: an object, a folder ``s3://bucket/folder/``, or names with ``*``.

    Raises ValueError as ``parse_s3_uri``.
    """
    folder = uri.endswith("/") and uri.count("/") > 3
    location = parse_s3_uri(f"{uri}*" if folder else uri)
    return location._replace(key=location.key[:-1]) if folder else location


def parse_s3_uri(uri: str) -> S3Location:
    """Bucket and key of ``s3://<bucket>/<key>``. Raises ValueError, also for text that UTF-8 cannot encode.

    Bucket rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html.
    """
    if not uri.startswith("s3://"):
        raise ValueError("it does not start with s3://")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket) is None:
        raise ValueError("the bucket's name is not valid")
    if not key:
        raise ValueError("the object's key is missing")
    if key.endswith("/"):
        raise ValueError("it names a folder")
    if len(key.encode()) > 1_024:
        raise ValueError("the key has more than 1,024 bytes")
    return S3Location(bucket, key)


def parse_output_uri(uri: str) -> S3Location:
    """Bucket and folder of ``s3://<bucket>/<folder>/``; the folder ends with "/", and is "" for the bucket itself.

    The slash at the end can be left out. Raises ValueError.
    """
    folder = uri.removeprefix("s3://").partition("/")[2].rstrip("/")
    if folder.casefold().endswith(FILE_ENDINGS) and not uri.endswith("/"):
        raise ValueError("it names a file, but an output is several files")
    if "*" in folder:
        raise ValueError("a folder's name has no *")
    if len(folder.encode()) > MOST_FOLDER_BYTES:
        raise ValueError(f"the folder has more than {MOST_FOLDER_BYTES} bytes")
    checked = parse_s3_uri(f"{uri.rstrip('/')}/-" if uri.startswith("s3://") else uri)
    return S3Location(checked.bucket, folder and f"{folder}/")
