"""What ``validate_input`` needs from outside, as Protocols. Adapters keep them on AWS, fakes in tests.

Every method raises errors of ``foundation.errors``: ``DeploymentError`` for a denied permission or a missing resource,
``ThrottledError`` and ``ServiceUnavailableError`` once the client's own retries are used up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from row_batches.document.batch_config import S3Location
from row_batches.document.plan import Target


@dataclass(frozen=True, slots=True)
class InputObject:
    """An object of the user's, as it was when it was looked at: size in bytes, ETag as S3 gives it."""

    location: S3Location
    size: int
    etag: str


class InputObjects(Protocol):
    """The users' buckets, read only."""

    def head(self, location: S3Location) -> InputObject:
        """Raises ``ObjectNotFoundError``."""

    def stream(self, found: InputObject) -> Iterator[bytes]:
        """That very object, in chunks of at most 1 MiB. Raises ``ObjectChangedError`` if it is another by now."""


class WorkObjects(Protocol):
    """The results bucket, where the staged input and the plan go, and those of earlier executions are."""

    @property
    def bucket(self) -> str: ...

    def get(self, key: str) -> bytes:
        """The whole object. Raises ``ObjectNotFoundError``."""

    def put(self, key: str, body: bytes) -> str:
        """Write the object, or replace it; returns its version id."""

    def upload(self, key: str, chunks: Iterable[bytes]) -> str:
        """Write an object of any size in parts; returns its version id.

        An error that ``chunks`` raises leaves nothing behind, and is raised.
        """


class Targets(Protocol):
    """The registry."""

    def get(self, name: str) -> Target | None: ...

    def all(self) -> list[Target]: ...
