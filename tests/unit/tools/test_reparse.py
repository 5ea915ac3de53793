"""`make reparse`: what would be read is said first, and nothing is stored without a yes."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tools.errors import CommandError
from tools.reparse import reader_of, reparse

FOUND = {"answers": 74, "read": 61, "repaired": 3, "costUSD": 0.0, "complete": True}


class FakeFunction:
    """Answers as given, one after the other."""

    def __init__(self, *answers: dict[str, Any], failed: bool = False) -> None:
        self.answers = list(answers)
        self.failed = failed
        self.events: list[dict[str, Any]] = []

    def invoke(self, **request: Any) -> dict[str, Any]:
        assert request["FunctionName"] == "ventureos-bedrock-batch-result-local"
        self.events.append(json.loads(request["Payload"]))
        failed = {"FunctionError": "Unhandled"} if self.failed else {}
        return {"Payload": io.BytesIO(json.dumps(self.answers.pop(0)).encode()), **failed}


def run(function: FakeFunction, yes: bool) -> tuple[int, list[str], list[bool]]:
    told: list[str] = []
    code = reparse(reader_of(function, "ventureos-bedrock-batch-result-local", "batch-1-a"), told.append, lambda: yes)
    assert all(event["reparse"]["jobId"] == "batch-1-a" for event in function.events)
    return code, told, [event["reparse"]["dryRun"] for event in function.events]


def test_what_would_be_read_is_said_and_nothing_is_stored_without_a_yes() -> None:
    code, told, dry_runs = run(FakeFunction(FOUND), yes=False)
    assert (code, dry_runs) == (0, [True])
    assert told == ["61 of 74 would now be read, 0.00 USD.", "Nothing was stored. To store the content: YES=1."]


def test_with_a_yes_it_is_stored_in_as_many_calls_as_it_takes() -> None:
    answers: list[dict[str, Any]] = [
        {**FOUND, "read": 40, "complete": False, "last": "part-1"},
        {**FOUND, "read": 21},
    ]
    function = FakeFunction(FOUND, *answers)
    _, told, dry_runs = run(function, yes=True)
    assert dry_runs == [True, False, False]
    assert [event["reparse"]["after"] for event in function.events] == ["", "", "part-1"]
    assert told[-1] == "61 records have content now. Their content reaches the lake as any other."


def test_a_function_without_time_for_one_object_is_told() -> None:
    with pytest.raises(CommandError, match="no time for a single object"):
        run(FakeFunction({**FOUND, "complete": False, "last": ""}), yes=True)


def test_when_nothing_can_be_read_nothing_is_asked() -> None:
    _, told, dry_runs = run(FakeFunction({**FOUND, "read": 0}), yes=True)
    assert (told, dry_runs) == (["0 of 74 would now be read, 0.00 USD."], [True])


def test_a_failing_function_is_told_with_its_reason() -> None:
    function = FakeFunction({"errorType": "InvalidInputError", "errorMessage": "no such job"}, failed=True)
    with pytest.raises(CommandError, match="InvalidInputError: no such job"):
        run(function, yes=True)
