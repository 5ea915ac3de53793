"""What both capabilities need from outside, as Protocols. Adapters keep them on AWS, fakes in tests.

Every method raises errors of ``foundation.errors``: ``DeploymentError`` for a denied permission or a missing resource,
``ThrottledError`` and ``ServiceUnavailableError`` once the client's own retries are used up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing; ``size`` in bytes."""

    key: str
    size: int


class ObjectStore(Protocol):
    """The results bucket: plan, brake, markers, rows objects and results are all objects in it."""

    @property
    def bucket(self) -> str: ...

    def get(self, key: str) -> bytes:
        """The whole object. Raises ``ObjectNotFoundError``."""

    def read(self, key: str, version_id: str | None = None) -> Iterator[bytes]:
        """The object in chunks of at most 1 MiB. Raises ``ObjectNotFoundError``."""

    def exists(self, key: str) -> bool: ...

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
        """Write the object, or replace it; returns its version id."""

    def put_new(self, key: str, body: bytes) -> bool:
        """Write the object unless there is one; whether it did. Of several at once, one does."""

    def delete(self, key: str) -> None:
        """Delete the object; a key that does not exist is no error."""

    def list_objects(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        """The objects under ``prefix`` whose keys come after ``start_after``, in the order of their keys' bytes."""

    def start_upload(self, key: str, tags: dict[str, str] | None = None) -> str:
        """Begin a multipart upload; returns its id. Nothing is visible under ``key`` until it is completed."""

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        """Write part ``number`` (from 1), or replace it; returns its ETag. All but the last have 5 MiB or more."""

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        """Make the parts the object ``key``; returns its version id, also when it was completed before."""


class Notifier(Protocol):
    def publish(self, subject: str, body: dict[str, Any], attributes: dict[str, str | int]) -> None: ...


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    def sleep(self, seconds: float) -> None: ...


class Deadline(Protocol):
    def remaining_seconds(self) -> float:
        """What is left of this invocation of the function."""


WHOLE = "LEASE"
"""The part of a lease whose name has no parts."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is held: a part of its name, its owner, its end in milliseconds since the epoch."""

    part: str
    owner: str
    until_ms: int


class Leases(Protocol):
    """At most one owner at a time of each part of a name. An owner that dies keeps its lease until the lease ends."""

    def acquire(self, name: str, owner: str, seconds: float, part: str = WHOLE) -> bool:
        """Whether ``owner`` now holds the lease, for so many seconds; its own lease is extended."""

    def release(self, name: str, owner: str, part: str = WHOLE) -> None:
        """Give the lease back. One that ended and went to another owner stays theirs."""

    def held(self, name: str) -> list[Lease]:
        """The leases of a name that are held now, in the order of their parts."""


class Metrics(Protocol):
    def put(self, target: str, values: dict[str, tuple[float, str]]) -> None:
        """Publish metrics by name, as (value, CloudWatch unit), under the dimension ``target``."""
