"""The input of a job while it is put together: its lines on disk in priority order, then as objects in parts.

Memory: 12 bytes a record, and 8 MiB while an object is written.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import BinaryIO

from batch_processor.app.ports import ObjectStore
from batch_processor.domain.bedrock import job as names
from batch_processor.domain.bedrock.parts import Part
from batch_processor.domain.errors import PermanentError

UPLOAD_BYTES = 8 * 1024 * 1024
MOST_BYTES = 1_300_000_000
"""Of the function's 2048 MB of /tmp; the rest is for DuckDB and the records in flight."""


class Draft:
    """Lines are only ever added. Use as a context manager, which closes the files."""

    def __init__(self, folder: Path) -> None:
        self._lines = (folder / "input.jsonl").open("w+b")
        self._records = (folder / "records.txt").open("w+b")
        self._record_sizes = array("L")
        self.sizes = array("L")
        """Bytes of each line of the input."""
        self.tokens = array("L")
        """Estimated input tokens of each record."""

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._records.close()

    def __len__(self) -> int:
        return len(self.sizes)

    def add(self, line: bytes, record: bytes, input_tokens: int) -> None:
        """Raises PermanentError when /tmp would not hold the line."""
        if self._lines.tell() + len(line) > MOST_BYTES:
            raise PermanentError(
                f"{len(self) + 1:,} records make an input of over {MOST_BYTES:,} bytes: lower limits.maxViolations."
            )
        self._lines.write(line)
        self._records.write(record)
        self.sizes.append(len(line))
        self._record_sizes.append(len(record))
        self.tokens.append(input_tokens)

    def upload(self, job_id: str, part: Part, objects: ObjectStore) -> int:
        """Write a part's two objects; returns the bytes of its input."""
        _write(self._records, self._record_sizes, part, names.records_key(job_id, part.number), objects)
        return _write(self._lines, self.sizes, part, names.input_key(job_id, part.number), objects)


def _write(file: BinaryIO, sizes: array[int], part: Part, key: str, objects: ObjectStore) -> int:
    size = sum(sizes[part.start : part.end])
    file.seek(sum(sizes[: part.start]))
    if size <= UPLOAD_BYTES:
        objects.put(key, file.read(size))
        return size
    upload = objects.start_upload(key)
    etags = [
        objects.upload_part(key, upload, number, file.read(min(UPLOAD_BYTES, size - offset)))
        for number, offset in enumerate(range(0, size, UPLOAD_BYTES), 1)
    ]
    objects.complete_upload(key, upload, etags)
    return size
