"""Why children died, from ResultWriter's files, whatever their form and wherever the chunks are cut."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.run.child_errors import json_records, read_child_errors
from tests.support.fakes import FakeObjectStore

TEXTS = st.text(alphabet=st.sampled_from('ab{}[]",\\:\n é😀'), max_size=12)
RECORDS = st.lists(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS, max_size=3), min_size=1, max_size=3), max_size=5)


@given(records=RECORDS, size=st.integers(1, 40), lines=st.booleans())
def test_records_come_out_of_arrays_and_of_lines_however_they_are_cut(
    records: list[dict[str, Any]], size: int, lines: bool
) -> None:
    text = b"\n".join(map(orjson.dumps, records)) if lines else orjson.dumps(records)
    chunks = [text[at : at + size] for at in range(0, len(text), size)]

    assert list(json_records(chunks)) == records


def store_with(failed: list[dict[str, Any]], name: str = "manifest.json") -> FakeObjectStore:
    store = FakeObjectStore()
    store.put("FAILED_0.json", orjson.dumps(failed))
    store.put(name, orjson.dumps({"ResultFiles": {"FAILED": [{"Key": "FAILED_0.json", "Size": 1}]}}))
    return store


def child(child_input: Any, **fields: Any) -> dict[str, Any]:
    return {"Input": orjson.dumps(child_input).decode(), "Status": "FAILED", **fields}


def test_batches_and_single_rows_are_told_by_their_input() -> None:
    store = store_with(
        [
            child({"Items": [{"r": "1"}, {"r": "2"}]}, Error="States.Timeout", Cause=""),
            child({"Row": {"r": "7"}}, Error="Lambda.Unknown", Cause='{"errorMessage": "killed"}'),
        ]
    )

    assert read_child_errors(store, ["manifest.json"], [(2, 2), (6, 9)]) == {
        2: "the child workflow died: States.Timeout",
        7: "the child workflow died: Lambda.Unknown: killed",
    }


@pytest.mark.parametrize(
    "record",
    [child({"Row": {"r": "1"}}, Error="DeploymentError", Cause="denied"), {"Input": "", "Status": "FAILED"}],
    ids=["fault of the deployment", "input not included"],
)
def test_children_that_say_nothing_about_their_rows_are_passed_over(record: dict[str, Any]) -> None:
    assert read_child_errors(store_with([record]), ["manifest.json"], [(1, 1)]) == {}


def test_a_manifest_that_is_gone_is_passed_over() -> None:
    assert read_child_errors(FakeObjectStore(), ["gone.json"], [(1, 1)]) == {}
