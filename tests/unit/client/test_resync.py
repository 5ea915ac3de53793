"""`make resync`: every object that waits is replayed, and what fails again is told."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from batch_processor_client.cli.lake import lines_of
from batch_processor_client.errors import ClientError
from batch_processor_client.resync import Resync, merge
from bedrock_batches.sync.failed_items import FAILED_PREFIX

FIRST, SECOND = f"{FAILED_PREFIX}2026-11-20/1-9.jsonl", f"{FAILED_PREFIX}2026-11-21/10-19.jsonl"
DONE = {"updated": 9, "unchanged": 1, "ignored": 0, "failed": 0, "failed_key": ""}

SAME = {**DONE, "updated": 0, "unchanged": 7, "items": 7, "reasons": [], "cursor": ""}
ALL = ["7 items of content compared with the lake: 0 merged, 0 failed", "The lake has all content."]


class FakeAws:
    """S3 with the objects that wait, and the function, which answers as given."""

    def __init__(
        self,
        answers: dict[str, dict[str, Any]],
        reasons: dict[str, list[str]] | None = None,
        pages: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.answers = answers
        self.reasons = reasons or {}
        self.pages = pages or {"": SAME}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **request: str) -> list[dict[str, Any]]:
        assert request == {"Bucket": "data", "Prefix": FAILED_PREFIX}
        return [{"Contents": [{"Key": key}]} for key in self.answers] or [{}]

    def get_object(self, **request: str) -> dict[str, Any]:
        lines = [json.dumps({"reason": reason}) for reason in self.reasons[request["Key"]]]
        return {"Body": io.BytesIO("\n".join(lines).encode())}

    def invoke(self, **request: Any) -> dict[str, Any]:
        assert request["FunctionName"] == "ventureos-bedrock-sync-local"
        event = json.loads(request["Payload"])
        answer = self.pages[event["compare"]] if "compare" in event else self.answers[event["replay"]]
        failed = {"FunctionError": "Unhandled"} if "errorType" in answer else {}
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), **failed}


def run(aws: FakeAws, only: str = "") -> tuple[int, list[str]]:
    """The exit code of the command, and what it says."""
    steps = list(merge(Resync(aws, aws, "data", "ventureos-bedrock-sync-local"), only))
    return int(not all(step.complete for step in steps)), [line for step in steps for line in lines_of(step)]


def test_that_the_lake_has_all_content_is_said_once_all_of_it_is_compared() -> None:
    assert run(FakeAws({})) == (0, ALL)


def test_content_that_the_lake_lacks_is_merged_page_by_page_and_what_cannot_be_is_told() -> None:
    last = {**SAME, "unchanged": 3, "failed": 1, "items": 4, "reasons": ["no such violation"]}
    code, told = run(FakeAws({}, pages={"": {**SAME, "updated": 2, "items": 9, "cursor": "next"}, "next": last}))
    assert code == 1
    assert told == ["13 items of content compared with the lake: 2 merged, 1 failed", "    no such violation"]


def test_items_without_an_outcome_are_told_and_the_lake_is_not_said_to_have_all() -> None:
    code, told = run(FakeAws({}, pages={"": {**SAME, "items": 10}}))
    assert code == 1
    assert told == [
        "10 items of content compared with the lake: 0 merged, 0 failed",
        "3 items have no outcome: run `make resync` again, then see the log of bedrock_sync.",
    ]


def test_a_comparison_that_fails_is_told() -> None:
    code, told = run(FakeAws({}, pages={"": {"errorType": "DeploymentError", "errorMessage": "denied"}}))
    assert code == 1
    assert told[0].endswith("because the function failed: DeploymentError: denied")


def test_every_object_is_replayed_and_counted() -> None:
    code, told = run(FakeAws({FIRST: DONE, SECOND: DONE}))
    assert code == 0
    assert told == [*(f"{key}: 9 merged, 1 were there, 0 failed" for key in (FIRST, SECOND)), *ALL]


@pytest.mark.parametrize("only", [SECOND, "10-19.jsonl"])
def test_one_object_can_be_named(only: str) -> None:
    assert run(FakeAws({FIRST: DONE, SECOND: DONE}), only) == (0, [f"{SECOND}: 9 merged, 1 were there, 0 failed"])


def test_a_name_that_nothing_has_is_not_taken_for_an_empty_queue() -> None:
    with pytest.raises(ClientError, match=r"ends in 2\.jsonl"):
        run(FakeAws({FIRST: DONE}), "2.jsonl")


def test_what_fails_again_is_told_with_its_reasons_and_the_rest_goes_on() -> None:
    aws = FakeAws({FIRST: {**DONE, "failed": 2}, SECOND: DONE}, {FIRST: ["no such violation", "no such violation"]})
    code, told = run(aws)
    assert code == 1
    assert told[:2] == [f"{FIRST}: 9 merged, 1 were there, 2 failed", "    no such violation"]
    assert told[3:] == ALL


def test_a_function_that_fails_is_told() -> None:
    code, told = run(FakeAws({FIRST: {"errorType": "DeploymentError", "errorMessage": "denied"}, SECOND: DONE}))
    assert code == 1
    assert told[0] == f"{FIRST}: the function failed: DeploymentError: denied"
