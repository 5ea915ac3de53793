"""The hashes of an object are the same, however often and from wherever it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from row_batches.document.plan import ReadObject
from row_batches.document.s3_location import S3Location
from row_batches.files import hashed_inputs
from row_batches.files.hashed_inputs import HashedInputs
from row_batches.files.ports import InputObject

BODY = bytes(range(256)) * 10
FOUND = InputObject(S3Location("inputs", "rows.csv"), len(BODY), '"etag"')
PARTS = [(1_000, BODY[:1_000]), (1_000, BODY[1_000:2_000]), (560, BODY[2_000:])]


class Inputs:
    """One object, in chunks of 300 bytes; ``read`` counts the bytes that were read."""

    def __init__(self) -> None:
        self.read = 0

    def head(self, location: S3Location) -> InputObject:
        raise AssertionError(location)

    def objects_under(self, bucket: str, prefix: str) -> Iterator[InputObject]:
        raise AssertionError(bucket, prefix)

    def stream(self, found: InputObject, start: int = 0) -> Iterator[bytes]:
        for at in range(start, found.size, 300):
            chunk = BODY[at : min(at + 300, found.size)]
            self.read += len(chunk)
            yield chunk


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashed_inputs, "HASHED_PART_BYTES", 1_000)


def call(starts: list[tuple[int, int]], state: list[ReadObject], inputs: Inputs | None = None) -> list[ReadObject]:
    """A call of the function that reads so many chunks from each start; returns its state for the next one."""
    hashed = HashedInputs(inputs or Inputs())
    hashed.reads.resume(ReadObject.model_validate_json(read.model_dump_json()) for read in state)
    for start, chunks in starts:
        stream = hashed.stream(FOUND, start)
        got = b"".join(chunk for _, chunk in zip(range(chunks), stream, strict=False))
        assert got == BODY[start : start + len(got)]
        assert chunks < 9 or got == BODY[start:]
    return hashed.reads.state


def hashes(state: list[ReadObject]) -> list[tuple[int, str]]:
    (read,) = state
    assert read.sha256 == ""
    return [(part.bytes, part.sha256) for part in read.parts]


EXPECTED = [(size, hashlib.sha256(part).hexdigest()) for size, part in PARTS]


@pytest.mark.parametrize(
    "calls",
    [
        [[(0, 9)]],
        [[(0, 1), (0, 9)]],
        [[(0, 4)], [(0, 1), (1_150, 9)]],
        [[(0, 4)], [(0, 1), (900, 3)], [(0, 1), (1_700, 9)]],
        [[(0, 3)], [(0, 1), (850, 9)]],
        [[(0, 2)], [(10, 2)], [(20, 9)]],
        [[(0, 9)], [(0, 1)], [(2_500, 9)]],
        [[(0, 7)], [(0, 9)]],
        [[(0, 8), (2_100, 9)]],
    ],
)
def test_an_object_read_over_several_calls_has_the_hashes_of_one_read_at_once(
    calls: list[list[tuple[int, int]]],
) -> None:
    state: list[ReadObject] = []
    for starts in calls:
        state = call(starts, state)

    assert hashes(state) == EXPECTED


def test_an_object_of_one_part_has_the_hash_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashed_inputs, "HASHED_PART_BYTES", len(BODY))

    (read,) = call([(0, 1), (2_000, 9)], call([(0, 3)], []))

    assert (read.sha256, read.parts) == (hashlib.sha256(BODY).hexdigest(), [])


def test_going_on_reads_again_only_the_start_of_a_part() -> None:
    inputs = Inputs()

    call([(1_700, 9)], call([(0, 6)], []), inputs)

    assert inputs.read == len(BODY) - 1_000


def test_what_is_hashed_is_not_read_again_for_its_hash() -> None:
    inputs = Inputs()

    call([(1_700, 9)], call([(0, 9)], []), inputs)

    assert inputs.read == len(BODY) - 1_700


def test_an_object_that_is_read_in_part_has_no_hash_in_the_plan() -> None:
    hashed = HashedInputs(Inputs())
    hashed.reads.resume(call([(0, 5)], []))

    (read,) = hashed.reads.of([("rows.csv", FOUND)])

    assert (read.name, read.sha256, read.parts) == ("rows.csv", "", [])
