"""Stages a file of any size in a process of its own, over calls of a function of a given speed, to measure its memory.

The file is made as it is read, except for Parquet, whose description is at its end. Only the hash of the staged copy is
kept.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import Keys
from row_batches.document.s3_location import S3Location
from row_batches.files.hashed_inputs import HashedInputs
from row_batches.files.ports import InputObject
from row_batches.files.several import NamedFile, open_files
from row_batches.files.table import InputStaging
from row_batches.run.staging import Finished, Stager
from tests.support.batches import execution_of
from tests.support.fakes import FakeObjectStore
from tests.support.memory import peak_kilobytes
from tests.support.tables import as_xlsx

CHUNK_BYTES = 1024 * 1024
CALL_SECONDS = 900.0
KEYS = Keys("large")


@dataclass(frozen=True)
class Made:
    """A file of ``size`` bytes. ``stream`` gives its bytes from one on."""

    size: int
    stream: Callable[[int], Iterator[bytes]]


@dataclass(frozen=True)
class Outcome:
    """What staging a file took. ``read_bytes`` counts every reading; ``seconds`` is CPU time, with making a CSV."""

    calls: int = 0
    rows: int = 0
    staged_bytes: int = 0
    sha256: str = ""
    file_hashes: int = 0
    refusal: str = ""
    read_bytes: int = 0
    peak_mb: float = 0.0
    seconds: float = 0.0


def rows_of_text(size: int) -> bytes:
    """Some ``size`` bytes of rows; every fourth has quotes, a line end and letters outside ASCII."""
    chosen = random.Random(7)  # the same in every process
    lines: list[bytes] = []
    while size > 0:
        words = " ".join(f"{chosen.getrandbits(32):x}" for _ in range(12))
        text = f'"{words}, ""é""\n{words}"' if len(lines) % 4 == 0 else words
        lines.append(f"{len(lines)},{text},{chosen.random()},user@example.com\n".encode())
        size -= len(lines[-1])
    return b"".join(lines)


def repeated(head: bytes, block: bytes, size: int) -> Made:
    """A file of about ``size`` bytes: ``head``, and ``block`` as often as it fits."""
    times = max(1, (size - len(head)) // len(block))

    def stream(start: int = 0) -> Iterator[bytes]:
        if start < len(head):
            yield head[start:]
        whole, inside = divmod(max(0, start - len(head)), len(block))
        for number in range(whole, times):
            for at in range(inside if number == whole else 0, len(block), CHUNK_BYTES):
                yield block[at : at + CHUNK_BYTES]

    return Made(len(head) + times * len(block), stream)


def a_csv(size: int, _folder: Path) -> Made:
    return repeated(b"id,text,number,mail\n", rows_of_text(4_000_000), size)


def a_gzip_csv(size: int, _folder: Path) -> Made:
    """Members behind one another, as programs write them that use several threads."""
    return repeated(gzip.compress(b"id,text,number,mail\n"), gzip.compress(rows_of_text(4_000_000)), size)


def a_parquet(size: int, folder: Path) -> Made:
    path = folder / "made.parquet"
    columns = "i AS id, repeat(md5(i::VARCHAR), 60) AS text, i / 7 AS number, i % 3 = 0 AS even"
    with duckdb.connect(config={"memory_limit": "400MB", "threads": 1}) as connection:
        connection.execute(
            f"COPY (SELECT {columns} FROM range({size // 1_945}) r(i)) TO '{path}' (COMPRESSION uncompressed)"
        )
    return on_disk(path)


def a_workbook(size: int, folder: Path) -> Made:
    path = folder / "made.xlsx"
    path.write_bytes(as_xlsx([["a"], ["1"]]))
    os.truncate(path, size)
    return on_disk(path)


def on_disk(path: Path) -> Made:
    def stream(start: int = 0) -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(start)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    return Made(path.stat().st_size, stream)


MAKERS: dict[str, Callable[[int, Path], Made]] = {
    "csv": a_csv,
    "csv.gz": a_gzip_csv,
    "parquet": a_parquet,
    "xlsx": a_workbook,
}


@dataclass
class Inputs:
    """The file as an object of the user's. ``read`` counts the bytes."""

    made: Made
    found: InputObject
    read: int = 0

    def head(self, location: S3Location) -> InputObject:
        raise AssertionError(location)

    def objects_under(self, bucket: str, prefix: str) -> Iterator[InputObject]:
        raise AssertionError(bucket, prefix)

    def stream(self, found: InputObject, start: int = 0) -> Iterator[bytes]:
        assert found == self.found
        for chunk in self.made.stream(start):
            self.read += len(chunk)
            yield chunk


class HashingStore(FakeObjectStore):
    """A store that keeps of large objects only the hash of their bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.digests: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}

    def start_upload(self, key: str, tags: dict[str, str] | None = None) -> str:
        self.digests[key], self.sizes[key] = hashlib.sha256(), 0
        return key

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        self.digests[key].update(body)
        self.sizes[key] += len(body)
        return str(number)

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        return "1"

    def abort_upload(self, key: str, upload_id: str) -> None:
        del self.digests[key]


@dataclass
class Deadline:
    """The time of a call of a function that stages so many bytes a second; 0: as fast as it is."""

    staging: InputStaging
    bytes_a_second: float
    begun_bytes: int = field(default=-1)

    def remaining_seconds(self) -> float:
        if self.begun_bytes < 0:
            self.begun_bytes = self.staging.size_bytes
        staged = self.staging.size_bytes - self.begun_bytes
        return CALL_SECONDS - (staged / self.bytes_a_second if self.bytes_a_second else 0.0)


def stage(made: Made, name: str, bytes_a_second: float) -> Outcome:
    found = InputObject(S3Location("inputs", name), made.size, '"etag"')
    store, inputs, execution = HashingStore(), Inputs(made, found), execution_of("large")
    calls, finished = 0, None
    begun = time.process_time()
    try:
        while finished is None:
            calls += 1
            finished, hashes = call(HashedInputs(inputs), found, store, execution, bytes_a_second)
    except InvalidInputError as error:
        return Outcome(calls=calls, refusal=str(error), read_bytes=inputs.read, peak_mb=peak_kilobytes() / 1024)
    return Outcome(
        calls=calls,
        rows=finished.total_rows,
        staged_bytes=store.sizes[KEYS.staged],
        sha256=store.digests[KEYS.staged].hexdigest(),
        file_hashes=hashes,
        read_bytes=inputs.read,
        peak_mb=peak_kilobytes() / 1024,
        seconds=time.process_time() - begun,
    )


def call(
    inputs: HashedInputs, found: InputObject, store: HashingStore, execution: Any, bytes_a_second: float
) -> tuple[Finished | None, int]:
    """A call as ``validate_input`` makes it; returns the number of hashes of the whole file, too."""
    whole, later = partial(inputs.stream, found), partial(inputs.stream, found)
    staging = open_files([NamedFile(found.location.key, found.size, whole, later)], InputFormat())
    stager = Stager(store, KEYS, execution, found.etag, Deadline(staging, bytes_a_second), inputs.reads)
    finished = stager.stage(staging, InputFormat())
    (read,) = inputs.reads.of([(found.location.key, found)])
    return finished, len(read.parts) or int(bool(read.sha256))


def staged_alone(kind: str, size: int, bytes_a_second: float = 0.0) -> Outcome:
    """Stage a file of about ``size`` bytes in a new process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, "-m", "tests.support.large_files", kind, str(size), str(bytes_a_second)]
    done = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return Outcome(**json.loads(done.stdout))


def main() -> None:
    kind, size, bytes_a_second = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        made = MAKERS[kind](size, Path(folder))
        print(json.dumps(asdict(stage(made, f"made.{kind}", bytes_a_second))))


if __name__ == "__main__":
    main()
