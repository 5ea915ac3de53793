"""A large object written in parts."""

from __future__ import annotations

import pytest

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
