"""Ports of both capabilities to the outside, as Protocols. Adapters implement them on AWS, fakes in tests.

Every method raises errors of ``foundation.errors``: ``DeploymentError`` for a denied permission or a missing resource,
``ThrottledError`` and ``ServiceUnavailableError`` after the client's own retries.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol


class StoredObject(NamedTuple):
    """One object of a listing; ``size`` in bytes."""

    key: str
    size: int


class ObjectStore(Protocol):
    """The results bucket, with plan, brake, markers, rows objects and results."""

    @property
    def bucket(self) -> str: ...

    def get(self, key: str) -> bytes:
        """The whole object. Raises ``ObjectNotFoundError``."""

    def read(self, key: str, version_id: str | None = None, start: int = 0) -> Iterator[bytes]:
        """The object from byte ``start`` on, in chunks of at most 1 MiB. Raises ``ObjectNotFoundError``."""

    def exists(self, key: str) -> bool: ...

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
        """Write the object, or replace it; returns its version id."""

    def put_new(self, key: str, body: bytes) -> bool:
        """Write the object unless it exists; returns whether it did. Of several concurrent calls, one does."""

    def delete(self, key: str) -> None:
        """Delete the object. Does nothing if the key does not exist."""

    def list_objects(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        """The objects under ``prefix`` whose keys come after ``start_after``, in the order of their keys' bytes."""

    def start_upload(self, key: str, tags: dict[str, str] | None = None) -> str:
        """Start a multipart upload; returns its id. Nothing is visible under ``key`` until the upload is completed."""

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        """Write or replace part ``number`` (from 1); returns its ETag. Every part but the last has at least 5 MiB."""

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Remove the parts of an upload that will not be completed. An upload that is gone already is a success."""

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        """Join the parts to the object ``key``; returns its version id. It can be called again after it succeeded."""


class Notifier(Protocol):
    """Publishes messages, with attributes by which subscribers can filter them."""

    def publish(self, subject: str, body: dict[str, Any], attributes: dict[str, str | int]) -> None: ...


class Clock(Protocol):
    """The time, and waiting."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    def sleep(self, seconds: float) -> None: ...


class Deadline(Protocol):
    """When the current invocation of a function is over."""

    def remaining_seconds(self) -> float:
        """Seconds until Lambda stops this invocation of the function."""


WHOLE = "LEASE"
"""The part of a lease whose name has no parts."""


class Lease(NamedTuple):
    """A lease that is held: the part of the name, the owner, and its end in milliseconds since the epoch."""

    part: str
    owner: str
    until_ms: int


class Leases(Protocol):
    """Give each part of a name at most one owner at a time. An owner that dies keeps its lease until the lease ends."""

    def acquire(self, name: str, owner: str, seconds: float, part: str = WHOLE) -> bool:
        """Take the lease for so many seconds, or extend it; returns whether ``owner`` now holds it."""

    def release(self, name: str, owner: str, part: str = WHOLE) -> None:
        """Release the lease. Does nothing if the lease ended and another owner has taken it."""

    def held(self, name: str) -> list[Lease]:
        """The current leases of a name, ordered by part."""


class Metrics(Protocol):
    """Publishes the numbers of a run."""

    def put(self, target: str, values: dict[str, tuple[float, str]]) -> None:
        """Publish metrics by name, as (value, CloudWatch unit), under the dimension ``target``."""
