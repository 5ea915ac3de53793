"""An object that is written piece by piece, and can be continued by a later call of the function."""

from __future__ import annotations

from foundation.ports import ObjectStore
from row_batches.files.result_file import FileState, ResultFile


class Upload:
    """A result file that uploads each part when it is full. Memory: a part.

    ``state`` is that of an earlier call's upload, from its property ``state``.
    """

    def __init__(self, objects: ObjectStore, key: str, state: FileState | None = None) -> None:
        self._file = ResultFile(objects, FileState(key=key) if state is None else state)

    @property
    def state(self) -> FileState:
        return self._file.state

    def append(self, lines: bytes) -> bool:
        """Add whole lines of UTF-8. Returns whether that uploaded a part."""
        self._file.append(lines)
        return self._file.upload_full_part()

    def complete(self) -> str:
        """Complete the object; returns its version id."""
        self._file.upload_last_part()
        return self._file.complete()

    def abort(self) -> None:
        """Remove the parts. Nothing is visible under the key."""
        self._file.abort()
