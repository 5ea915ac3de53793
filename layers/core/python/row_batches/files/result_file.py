"""An object of any size: one request if it is small, else parts, so that a later call can continue a stopped one."""

import hashlib
from io import BytesIO
from typing import Self

from foundation.lazy_model import LazyModel
from foundation.ports import ObjectStore
from row_batches.document.plan import PartProof

PART_BYTES = 5 * 1024 * 1024
"""Size of the first parts. Every part but the last has at least 5 MiB, and an object has up to 10,000 parts
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). With parts of this size only, an object could have
49 GiB. So the size grows with every thousand parts, up to 50 MiB, which allows 269 GiB."""


class FileProof(LazyModel):
    """An object with the hashes of its parts, one after the other. A hash over all of them could not be continued."""

    key: str
    parts: list[PartProof]


class FileState(LazyModel):
    """The state to continue from: the parts that S3 has, and the text after them that is not uploaded yet.

    Without an ``upload_id``, S3 has no parts. ``hashes`` are the hashes of the parts; None if they are not made.
    ``version_id`` is that of the complete object, "" before that and in the state of an earlier release.
    """

    key: str
    upload_id: str = ""
    tags: dict[str, str] | None = None
    etags: list[str] = []
    pending: str = ""
    hashes: list[PartProof] | None = None
    version_id: str = ""


class ResultFile:
    """One object that is being written. Holds up to one part and the largest piece appended in memory.

    The upload of parts starts when the first part is full. An object without a full part is put at once.
    """

    def __init__(self, objects: ObjectStore, state: FileState) -> None:
        self._objects = objects
        self._key = state.key
        self._tags = state.tags
        self._upload_id = state.upload_id
        self._version_id = state.version_id
        self._etags = list(state.etags)
        self._hashes = None if state.hashes is None else list(state.hashes)
        self._pending = BytesIO()
        self._pending.write(state.pending.encode())

    @classmethod
    def start(cls, objects: ObjectStore, key: str, tags: dict[str, str] | None = None, *, hashed: bool = True) -> Self:
        """Begin an object. It is ``hashed`` by parts, unless something else proves its content."""
        return cls(objects, FileState(key=key, tags=tags, hashes=[] if hashed else None))

    @property
    def state(self) -> FileState:
        return FileState(
            key=self._key,
            upload_id=self._upload_id,
            tags=self._tags,
            etags=list(self._etags),
            pending=self._pending.getvalue().decode(),
            hashes=None if self._hashes is None else list(self._hashes),
            version_id=self._version_id,
        )

    @property
    def is_in_parts(self) -> bool:
        """Whether the upload of parts has started."""
        return bool(self._upload_id)

    @property
    def proof(self) -> FileProof:
        """The hashes of the parts that are uploaded; of none if the object is not hashed."""
        return FileProof(key=self._key, parts=list(self._hashes or ()))

    def append(self, text: bytes) -> None:
        """Add whole lines of UTF-8; they stay in memory until ``upload_full_part``."""
        self._pending.write(text)

    def upload_full_part(self) -> bool:
        """Upload the pending text if it fills a part; returns whether it did."""
        if self._pending.tell() < PART_BYTES * (1 + len(self._etags) // 1_000):
            return False
        self._upload_pending()
        return True

    def start_parts(self) -> None:
        """Start the upload of parts even if none is full, for an object that another call completes."""
        if not self.is_in_parts:
            self._upload_id = self._objects.start_upload(self._key, self._tags)

    def upload_last_part(self) -> None:
        """End the content. What follows the full parts is uploaded; if there is none, ``complete`` puts the content."""
        if self._upload_id and (self._pending.tell() or not self._etags):
            self._upload_pending()
        elif not self._upload_id and self._hashes == []:
            self._hashes.append(_proof_of(self._pending.getvalue()))

    def complete(self) -> str:
        """Complete the object; returns its version id, also if an earlier call completed it."""
        if self._version_id:
            return self._version_id
        if self._upload_id:
            self._version_id = self._objects.complete_upload(self._key, self._upload_id, self._etags)
        else:
            self._version_id = self._objects.put(self._key, self._pending.getvalue(), self._tags)
            self._pending = BytesIO()
        return self._version_id

    def abort(self) -> None:
        """Remove the parts. Nothing is visible under the key."""
        if self._upload_id:
            self._objects.abort_upload(self._key, self._upload_id)

    def _upload_pending(self) -> None:
        self.start_parts()
        part = self._pending.getvalue()  # BytesIO shares its bytes without a copy
        self._pending = BytesIO()
        if self._hashes is not None:
            self._hashes.append(_proof_of(part))
        self._etags.append(self._objects.upload_part(self._key, self._upload_id, len(self._etags) + 1, part))


def _proof_of(part: bytes) -> PartProof:
    return PartProof(bytes=len(part), sha256=hashlib.sha256(part).hexdigest())
