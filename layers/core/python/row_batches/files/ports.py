"""Ports to the users' buckets and the results bucket, as Protocols. Adapters implement them on AWS, fakes in tests.

Every method raises errors of ``foundation.errors``: ``DeploymentError`` for a denied permission or a missing resource,
``ThrottledError`` and ``ServiceUnavailableError`` after the client's own retries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from foundation.ports import ObjectStore
from row_batches.document.s3_location import S3Location


class InputObject(NamedTuple):
    """A user's object at the time of ``head``: its size in bytes and its ETag as S3 returns it."""

    location: S3Location
    size: int
    etag: str


class InputObjects(Protocol):
    """The users' buckets, read only."""

    def head(self, location: S3Location) -> InputObject:
        """The object at ``location``. Raises ``ObjectNotFoundError``."""

    def objects_under(self, bucket: str, prefix: str) -> Iterator[InputObject]:
        """The objects whose keys begin with ``prefix``, in the order of their keys' bytes."""

    def stream(self, found: InputObject, start: int = 0) -> Iterator[bytes]:
        """The same object from byte ``start`` on, in chunks of up to 1 MiB.

        Raises ``ObjectChangedError`` if it was replaced meanwhile.
        """


class OutputObjects(Protocol):
    """The users' buckets that results are copied to, write only. The copied objects are those of the results bucket.

    Methods that write raise ``DeliveryError`` when S3 refuses the place.
    """

    def try_upload(self, place: S3Location) -> None:
        """Start an upload and abort it, so that a refusal shows before anything is spent. Writes nothing."""

    def put(self, place: S3Location, body: bytes) -> None: ...

    def size(self, key: str) -> int:
        """The size in bytes of an object of the results bucket."""

    def copy(self, key: str, place: S3Location) -> None:
        """Copy an object of up to 5 GB."""

    def start_upload(self, place: S3Location) -> str:
        """Start a multipart upload; returns its id."""

    def copy_part(self, key: str, place: S3Location, upload_id: str, number: int, first: int, end: int) -> str:
        """Copy the bytes from ``first`` up to ``end`` as part ``number`` (from 1); returns its ETag."""

    def abort_upload(self, place: S3Location, upload_id: str) -> None:
        """Remove the parts of an upload that will not be completed. An upload that is gone already is a success."""

    def complete_upload(self, place: S3Location, upload_id: str, etags: list[str]) -> None:
        """Join the parts. Raises ``ObjectNotFoundError`` if the upload no longer exists, as ``copy_part`` does."""


class WorkObjects(ObjectStore, Protocol):
    """The results bucket, with the staged inputs and plans of this and earlier executions."""

    def upload(self, key: str, chunks: Iterable[bytes]) -> str:
        """Write an object of any size in parts; returns its version id.

        If ``chunks`` raises an error, the error is raised again and no object is written.
        """
