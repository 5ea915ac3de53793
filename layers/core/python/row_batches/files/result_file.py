"""A large object written piece by piece, so that a call that was stopped or killed is carried on by the next one."""

from __future__ import annotations

from io import BytesIO
from typing import Self

from pydantic import BaseModel

from foundation.ports import ObjectStore

PART_BYTES = 5 * 1024 * 1024
"""Parts but the last have 5 MiB at least, and there are 10,000 at most
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). This size would make 49 GiB; each thousand of parts
has larger ones, up to 50 MiB, which makes 269 GiB."""


class FileState(BaseModel):
    """What is needed to carry on: the parts that S3 has, and the text after them that it has not."""

    key: str
    upload_id: str
    etags: list[str] = []
    pending: str = ""


class ResultFile:
    """One object on its way. Holds at most a part and the largest piece appended."""

    def __init__(self, objects: ObjectStore, state: FileState) -> None:
        self._objects = objects
        self._key = state.key
        self._upload_id = state.upload_id
        self._etags = list(state.etags)
        self._pending = BytesIO()
        self._pending.write(state.pending.encode())

    @classmethod
    def start(cls, objects: ObjectStore, key: str, tags: dict[str, str] | None = None) -> Self:
        return cls(objects, FileState(key=key, upload_id=objects.start_upload(key, tags)))

    @property
    def state(self) -> FileState:
        return FileState(
            key=self._key, upload_id=self._upload_id, etags=list(self._etags), pending=self._pending.getvalue().decode()
        )

    def append(self, text: bytes) -> None:
        """Whole lines of UTF-8; kept until ``upload_full_part``."""
        self._pending.write(text)

    def upload_full_part(self) -> bool:
        """Upload what is pending if it makes a part; whether it did."""
        if self._pending.tell() < PART_BYTES * (1 + len(self._etags) // 1_000):
            return False
        self._upload_pending()
        return True

    def upload_last_part(self) -> None:
        if self._pending.tell() or not self._etags:
            self._upload_pending()

    def complete(self) -> str:
        """Make the object visible; returns its version id, also when an earlier call did so."""
        return self._objects.complete_upload(self._key, self._upload_id, self._etags)

    def _upload_pending(self) -> None:
        part = self._pending.getvalue()  # without a copy: BytesIO lends its own bytes
        self._pending = BytesIO()
        self._etags.append(self._objects.upload_part(self._key, self._upload_id, len(self._etags) + 1, part))
