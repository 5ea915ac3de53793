"""The input of a job while it is built: first lines on disk in any order, then objects in priority order.

Memory: 48 bytes a record, and 8 MiB while an object is written.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bedrock_batches.submit import names
from bedrock_batches.submit.parts import Span
from foundation.errors import PermanentError
from foundation.ports import ObjectStore

UPLOAD_BYTES = 8 * 1024 * 1024
MOST_BYTES = 1_300_000_000
"""The draft's share of the function's 2048 MB of /tmp. The rest is for DuckDB (``lake.duckdb_.Resources``) and for the
records in flight."""


class Draft:
    """Lines are first added in any order and then sorted. A context manager that closes the files."""

    def __init__(self, folder: Path) -> None:
        self._lines = _File(folder / "input.jsonl")
        self._records = _File(folder / "records.txt")
        self._places = array("L")
        self.tokens = array("L")
        """Estimated input tokens of each record."""

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._records.close()

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def sizes(self) -> array[int]:
        """Bytes of each line of the input."""
        return self._lines.sizes

    def add(self, place: int, line: bytes, record: bytes, input_tokens: int) -> None:
        """Add a record's line. ``place`` is its place by priority; ``line`` comes from ``prompt.line_of``. Raises
        PermanentError if /tmp is too small."""
        if self._lines.end + len(line) > MOST_BYTES:
            raise PermanentError(
                f"{len(self) + 1:,} records make an input of over {MOST_BYTES:,} bytes: lower limits.maxViolations."
            )
        self._lines.add(line)
        self._records.add(record)
        self._places.append(place)
        self.tokens.append(input_tokens)

    def put_in_order(self) -> None:
        """Sort the lines by place. No line can be added afterwards."""
        order = sorted(range(len(self)), key=self._places.__getitem__)
        self._lines.put_in_order(order)
        self._records.put_in_order(order)
        self.tokens = _picked(self.tokens, order)

    def cut_after(self, count: int) -> None:
        """Keep the first ``count`` records."""
        for values in (self.tokens, self._lines.sizes, self._records.sizes):
            del values[count:]

    def violation_ids(self) -> list[str]:
        """The records' ids, in order. Memory: about 100 bytes each."""
        whole = Span(0, 0, len(self))
        return [
            names.split_records_line(line)[0]
            for chunk in self._records.chunks(whole)
            for line in chunk.decode().split("\n")
            if line
        ]

    def lines(self, part: Span) -> Iterator[bytes]:
        """The lines of a part with their records' places in the job, some MiB at a time."""
        return self._lines.chunks(part, _numbered)

    def upload(self, job_id: str, part: Span, objects: ObjectStore) -> int:
        """Write a part's two objects; returns the bytes of its input."""
        records = self._records.chunks(part)
        _write(records, self._records.size(part), names.records_key(job_id, part.number), objects)
        size = self._lines.size(part)
        _write(self.lines(part), size, names.input_key(job_id, part.number), objects)
        return size


@dataclass
class _File:
    """Lines in a file, found by their number."""

    path: Path
    end: int = 0
    begins: array[int] = field(default_factory=lambda: array("L"))
    sizes: array[int] = field(default_factory=lambda: array("L"))

    def __post_init__(self) -> None:
        self._file = self.path.open("w+b")

    def close(self) -> None:
        self._file.close()

    def add(self, line: bytes) -> None:
        self._file.write(line)
        self.begins.append(self.end)
        self.sizes.append(len(line))
        self.end += len(line)

    def put_in_order(self, order: list[int]) -> None:
        self.begins, self.sizes = _picked(self.begins, order), _picked(self.sizes, order)

    def size(self, part: Span) -> int:
        """Bytes of the lines of a part."""
        return sum(self.sizes[part.start : part.end])

    def chunks(self, part: Span, changed: Callable[[bytes, int], bytes] = lambda line, _: line) -> Iterator[bytes]:
        """The lines of a part, some MiB at a time, each changed by its place. A change keeps the length."""
        chunk = bytearray()
        for number in range(part.start, part.end):
            self._file.seek(self.begins[number])
            chunk += changed(self._file.read(self.sizes[number]), number)
            if len(chunk) >= UPLOAD_BYTES:
                yield bytes(chunk)
                chunk.clear()
        if chunk:
            yield bytes(chunk)


def _picked(values: array[int], order: list[int]) -> array[int]:
    return array("L", (values[number] for number in order))


_NUMBERED = b'{"recordId":"' + names.record_id(0).encode()


def _numbered(line: bytes, place: int) -> bytes:
    """The line of ``prompt.line_of`` with the record's place in the job."""
    assert line.startswith(_NUMBERED)
    return _NUMBERED.replace(names.record_id(0).encode(), names.record_id(place).encode()) + line[len(_NUMBERED) :]


def _write(chunks: Iterator[bytes], size: int, key: str, objects: ObjectStore) -> None:
    if size <= UPLOAD_BYTES:
        objects.put(key, b"".join(chunks))
        return
    upload = objects.start_upload(key)
    etags = [objects.upload_part(key, upload, number, chunk) for number, chunk in enumerate(chunks, 1)]
    objects.complete_upload(key, upload, etags)
