"""A large object written in parts."""

from __future__ import annotations

import hashlib

import pytest

from row_batches.document.plan import PartProof
from row_batches.files import result_file
from row_batches.files.result_file import FileState, ResultFile
from tests.support.fakes import FakeObjectStore


@pytest.mark.parametrize(("parts", "factor"), [(0, 1), (999, 1), (1_000, 2), (9_999, 10)])
def test_parts_grow_so_that_ten_thousand_of_them_hold_any_output(
    monkeypatch: pytest.MonkeyPatch, parts: int, factor: int
) -> None:
    # S3 takes 10,000 parts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html.
    monkeypatch.setattr(result_file, "PART_BYTES", 10)
    store = FakeObjectStore()
    state = FileState(key="out", upload_id=store.start_upload("out"), etags=["etag"] * parts)
    file = ResultFile(store, state)

    file.append(b"x" * (10 * factor - 1))
    assert not file.upload_full_part()
    file.append(b"x")
    assert file.upload_full_part()


def test_a_small_object_is_one_request_with_its_tags_and_the_hash_of_its_content() -> None:
    store = FakeObjectStore()
    file = ResultFile.start(store, "out", {"target": "echo"})
    file.append(b"a,b\n")

    assert not file.upload_full_part()
    file.upload_last_part()
    version = file.complete()

    assert not store.uploads
    assert store.versions["out", version] == b"a,b\n"
    assert store.tags["out"] == {"target": "echo"}
    assert file.proof.parts == [PartProof(bytes=4, sha256=hashlib.sha256(b"a,b\n").hexdigest())]


def test_an_object_whose_call_was_killed_before_it_was_put_is_put_by_the_next_call() -> None:
    store = FakeObjectStore()
    file = ResultFile.start(store, "out")
    file.append(b"a\n")
    file.upload_last_part()
    saved = file.state
    file.complete()  # and killed before it saved that

    again = ResultFile(store, FileState.model_validate_json(saved.model_dump_json()))
    again.complete()

    assert store.get("out") == b"a\n"
    assert again.proof == file.proof


def test_a_complete_object_is_not_written_again_and_its_content_is_not_kept() -> None:
    store = FakeObjectStore()
    file = ResultFile.start(store, "out")
    file.append(b"a\n")
    file.upload_last_part()
    version = file.complete()

    assert file.state.pending == ""
    assert ResultFile(store, file.state).complete() == version
    assert [key for key, _ in store.versions] == ["out"]


def test_the_upload_of_parts_starts_with_the_first_full_part_and_the_next_call_continues_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(result_file, "PART_BYTES", 4)
    store = FakeObjectStore(smallest_part=1)
    file = ResultFile.start(store, "out", {"target": "echo"})
    file.append(b"abc\n")
    assert file.upload_full_part()
    file.append(b"d\n")

    again = ResultFile(store, file.state)
    again.upload_last_part()
    again.complete()

    assert store.get("out") == b"abc\nd\n"
    assert store.tags["out"] == {"target": "echo"}
    assert [part.bytes for part in again.proof.parts] == [4, 2]
