"""Users' objects that are hashed while they are read, for the proof of the run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from row_batches.document.batch_config import S3Location
from row_batches.document.plan import ReadObject
from row_batches.files.ports import InputObject, InputObjects


class HashedInputs:
    """``InputObjects`` that keeps the SHA-256 of each object that was read to its end.

    Readers can read an object several times, to recognise its format. The last complete reading counts; all readings
    are of the same bytes, because ``stream`` raises an error if the object was replaced.
    """

    def __init__(self, inputs: InputObjects) -> None:
        self._inputs = inputs
        self._read: dict[S3Location, ReadObject] = {}

    def head(self, location: S3Location) -> InputObject:
        return self._inputs.head(location)

    def objects_under(self, bucket: str, prefix: str) -> Iterator[InputObject]:
        return self._inputs.objects_under(bucket, prefix)

    def stream(self, found: InputObject, start: int = 0) -> Iterator[bytes]:
        if start:
            yield from self._inputs.stream(found, start)  # a part of an object has no hash of its own
            return
        location = found.location
        uri = f"s3://{location.bucket}/{location.key}"
        read = self._read.setdefault(location, ReadObject(uri=uri, etag=found.etag, size_bytes=found.size))
        digest = hashlib.sha256()
        size = 0
        for chunk in self._inputs.stream(found):
            digest.update(chunk)
            size += len(chunk)
            if size == found.size:  # a reader can stop after the last chunk without asking for another one
                self._read[location] = read.model_copy(update={"sha256": digest.hexdigest()})
            yield chunk

    def read_of(self, objects: Iterable[tuple[str, InputObject]]) -> list[ReadObject]:
        """Those of ``objects``, each given with its name, that were read."""
        return [
            self._read[found.location].model_copy(update={"name": name})
            for name, found in objects
            if found.location in self._read
        ]
