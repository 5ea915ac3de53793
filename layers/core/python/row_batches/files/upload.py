"""An object that is written piece by piece, and can be continued by a later call of the function."""

from __future__ import annotations

from foundation.ports import ObjectStore
from row_batches.files.result_file import PART_BYTES, FileState, ResultFile


class Upload:
    """An object of any size: one request if it is small, else parts. Memory: a part.

    ``state`` is that of an earlier call's upload, from its property ``state``.
    """

    def __init__(self, objects: ObjectStore, key: str, state: FileState | None = None) -> None:
        self._objects = objects
        self._key = key
        self._begun = None if state is None or not state.upload_id else ResultFile(objects, state)
        self._pending = bytearray(b"" if state is None or self._begun else state.pending.encode())

    @property
    def state(self) -> FileState:
        if self._begun is None:
            return FileState(key=self._key, upload_id="", pending=self._pending.decode())
        return self._begun.state

    def append(self, lines: bytes) -> bool:
        """Add whole lines of UTF-8. Returns whether that uploaded a part."""
        if self._begun is None:
            self._pending += lines
            if len(self._pending) < PART_BYTES:
                return False
            self._begun = ResultFile.start(self._objects, self._key)
            lines = bytes(self._pending)
            self._pending.clear()
        self._begun.append(lines)
        return self._begun.upload_full_part()

    def complete(self) -> str:
        """Complete the object; returns its version id."""
        if self._begun is None:
            return self._objects.put(self._key, bytes(self._pending))
        self._begun.upload_last_part()
        return self._begun.complete()

    def abort(self) -> None:
        """Remove the parts. Nothing is visible under the key."""
        if self._begun is not None:
            self._objects.abort_upload(self._key, self._begun.state.upload_id)
