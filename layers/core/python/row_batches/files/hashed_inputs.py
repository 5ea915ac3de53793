"""Users' objects that are hashed while they are read, for the proof of the run.

An object of up to ``HASHED_PART_BYTES`` has one SHA-256. A larger one has one for each part of that size, because
reading it can take several calls of the function, and no call can continue the SHA-256 of another one. So the hashes
depend on the object's bytes alone, not on the number of calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from row_batches.document.plan import PartProof, ReadObject
from row_batches.document.s3_location import S3Location
from row_batches.files.ports import InputObject, InputObjects

HASHED_PART_BYTES = 1_000_000_000
"""A call that continues inside a part reads the part's start again, at about 60 MB/s."""


class Reads:
    """The hashes so far. ``state`` is for the next call, which begins with ``resume``."""

    def __init__(self) -> None:
        self._read: dict[str, ReadObject] = {}

    @property
    def state(self) -> list[ReadObject]:
        return list(self._read.values())

    def resume(self, state: Iterable[ReadObject]) -> None:
        self._read |= {read.uri: read for read in state}

    def begin(self, found: InputObject) -> int:
        """Note that the object is read. Returns how many of its first bytes are hashed."""
        uri = found.location.uri
        read = self._read.setdefault(uri, ReadObject(uri=uri, etag=found.etag, size_bytes=found.size))
        return read.hashed_bytes

    def add(self, found: InputObject, start: int, part: PartProof) -> None:
        """Add the hash of the part from byte ``start`` on. Nothing happens if it is known."""
        read = self._read[found.location.uri]
        if read.hashed_bytes != start:
            return
        if part.bytes == found.size:
            changed = read.model_copy(update={"sha256": part.sha256})
        else:
            changed = read.model_copy(update={"parts": [*read.parts, part]})
        self._read[read.uri] = changed

    def of(self, objects: Iterable[tuple[str, InputObject]]) -> list[ReadObject]:
        """The ``objects`` that were read, each given with its name. The hashes are those of whole objects."""
        found = [(name, self._read[one.location.uri]) for name, one in objects if one.location.uri in self._read]
        return [
            read.model_copy(update={"name": name, "parts": read.parts if read.is_hashed else []})
            for name, read in found
        ]


class HashedInputs:
    """``InputObjects`` that keeps the hashes of what was read of each object, in ``reads``.

    Readers can read an object several times, to recognise its format. All readings are of the same bytes, because
    ``stream`` raises an error if the object was replaced, so each byte is hashed once.
    """

    def __init__(self, inputs: InputObjects) -> None:
        self._inputs = inputs
        self.reads = Reads()

    def head(self, location: S3Location) -> InputObject:
        return self._inputs.head(location)

    def objects_under(self, bucket: str, prefix: str) -> Iterator[InputObject]:
        return self._inputs.objects_under(bucket, prefix)

    def stream(self, found: InputObject, start: int = 0) -> Iterator[bytes]:
        hashed = self.reads.begin(found)
        if hashed == found.size or start - hashed >= HASHED_PART_BYTES:
            yield from self._inputs.stream(found, start)
            return
        at = min(start, hashed)
        chunks = self._hashed(found, self._inputs.stream(found, at), hashed - at)
        for chunk in chunks:
            ahead = start - at
            at += len(chunk)
            if ahead <= 0:
                yield chunk
            elif ahead < len(chunk):
                yield chunk[ahead:]

    def _hashed(self, found: InputObject, chunks: Iterable[bytes], passed: int) -> Iterator[bytes]:
        """The chunks. Those after the first ``passed`` bytes, where a part begins, are hashed."""
        part_start = self.reads.begin(found)
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            view = memoryview(chunk)[passed:]
            passed = max(0, passed - len(chunk))
            while view:
                piece = view[: HASHED_PART_BYTES - size]
                digest.update(piece)
                size += len(piece)
                view = view[len(piece) :]
                # A reader can stop after the last chunk without asking for another one.
                if size == HASHED_PART_BYTES or part_start + size == found.size:
                    self.reads.add(found, part_start, PartProof(bytes=size, sha256=digest.hexdigest()))
                    part_start += size
                    digest, size = hashlib.sha256(), 0
            yield chunk
