from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.rows.records import RowFailure, RowStatus
from row_batches.run import causes as module
from row_batches.run.causes import (
    MOST_CAUSES,
    MOST_MESSAGE_CHARACTERS,
    MOST_ROWS,
    MOST_SHOWN,
    Cause,
    Causes,
    cause_id,
    normalised,
    shown_causes,
    without_texts,
)
from row_batches.run.cures import CURES, cure_of


def failure(row: int, error: str = "Boom: it broke", error_name: str = "Boom") -> RowFailure:
    return {
        "row": row,
        "status": RowStatus.FAILED,
        "error": error,
        "error_name": error_name,
        "csv": "",
        "letter_sent": True,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no customer 4711 in 12 tables", "no customer <number> in <number> tables"),
        ("it took 1,247.50 of 300 s", "it took <number> of <number> s"),
        ("no answer within 250ms", "no answer within <number>ms"),
        ("KeyError: 'name'", "KeyError: <text>"),
        ("field \"the name\" of `orders` isn't there, can't go on", "field <text> of <text> isn't there, can't go on"),
        ('{"error": "no \'x\'", "code": 5}', "{<text>: <text>, <text>: <number>}"),
        ("at 2026-11-27T10:00:01.123Z and 2026-11-28 it broke", "at <time> and <time> it broke"),
        ("request 123e4567-e89b-12d3-a456-426614174000 failed", "request <id> failed"),
        ("request req-8f3a12b9-77 failed", "request req-<id> failed"),
        ("GET https://api.example.com/v1/orders?id=7 gave 404", "GET <url> gave <number>"),
        ("s3://bucket/key.csv is gone", "<url> is gone"),
        ("arn:aws:lambda:us-east-1:123456789012:function:x is denied s3:GetObject", "<arn> is denied s3:GetObject"),
        ("not UTF-8, no utf8", "not UTF-<number>, no utf8"),
        ("two\n  lines", "two lines"),
        ('a quote " without its partner', 'a quote " without its partner'),
        ("", ""),
    ],
)
def test_what_differs_from_row_to_row_becomes_a_placeholder(text: str, expected: str) -> None:
    assert normalised(text) == expected


@given(st.text(max_size=3_000))
def test_any_text_becomes_a_short_line(text: str) -> None:
    line = normalised(text)
    assert len(line) <= MOST_MESSAGE_CHARACTERS
    assert "\n" not in line


@pytest.mark.parametrize(
    "piece",
    ['"', "'", " '", "'a'b ", "“", "«", "`", "1-", "a1", "http://", "0000-00-", "arn:aws", "<id>-", "1,", "0a-"],
)
def test_no_text_is_read_more_than_once(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A text this long would take hours if a part of it was read again and again.
    monkeypatch.setattr(module, "MOST_TEXT_READ", 1_000_000)
    assert len(normalised(piece * 300_000)) <= MOST_MESSAGE_CHARACTERS


def test_rows_that_failed_for_one_reason_have_one_cause() -> None:
    causes = Causes()
    causes.add([failure(row, f"Boom: no customer {row}") for row in range(3, 10)])
    causes.add([failure(11), failure(12, "Boom: no customer 99")])

    assert causes.most_frequent == [
        Cause(error="Boom", message="no customer <number>", count=8, rows=[3, 4, 5, 6, 7]),
        Cause(error="Boom", message="it broke", count=1, rows=[11]),
    ]


def test_a_row_of_the_release_before_has_the_name_in_its_message() -> None:
    old = failure(1)
    del old["error_name"]
    causes = Causes()
    causes.add([old, failure(2), {**old, "row": 3, "status": RowStatus.TIMEOUT, "error": "no answer"}])

    assert [(cause.error, cause.count) for cause in causes.most_frequent] == [("Boom", 2), ("RowTimeoutError", 1)]


def test_a_frequent_cause_that_comes_after_many_rare_ones_is_counted_and_the_rest_is_other() -> None:
    causes = Causes()
    names = ["Rare" + "".join("abcdefghij"[int(digit)] for digit in f"{number:03d}") for number in range(500)]
    causes.add([failure(row, f"{name}: it broke", name) for row, name in enumerate(names, 1)])
    causes.add([failure(row) for row in range(501, 701)])

    shown = shown_causes(causes, 700)

    assert len(causes.found) <= MOST_CAUSES
    assert (shown[0]["error"], shown[0]["count"], len(shown[0]["rows"])) == ("Boom", 200, MOST_ROWS)
    assert len(shown) == MOST_SHOWN + 1
    assert shown[-1] | {"cure": ""} == {
        "id": "other",
        "error": "other",
        "message": "",
        "count": 700 - sum(cause["count"] for cause in shown[:-1]),
        "rows": [],
        "cure": "",
    }


def test_the_ids_of_causes_do_not_change_because_later_runs_name_them() -> None:
    assert cause_id("RowTimeoutError", "no answer within the <number> s that were left for the row") == (
        "RowTimeoutError-1f186793"
    )
    assert Cause.of("", "no name 5", RowStatus.FAILED).id == cause_id("", "no name <number>")


def test_a_cause_is_chosen_by_its_id_or_its_error() -> None:
    cause = Cause.of("Boom", "Boom: it broke", RowStatus.FAILED)

    assert cause.is_one_of([cause.id])
    assert cause.is_one_of(["Other", "Boom"])
    assert not cause.is_one_of(["Boom-00000000"])


def test_without_texts_no_word_of_a_target_is_left() -> None:
    causes = Causes()
    causes.add([failure(1, "Boom: unknown customer Jane Doe"), failure(2, "Boom: unknown customer John Doe")])

    (only,) = without_texts(shown_causes(causes, 2))

    assert only == {"error": "Boom", "count": 2, "cure": CURES[-1].advice}


@pytest.mark.parametrize(
    ("error", "message", "cure"),
    [
        ("RowTimeoutError", "no answer within the <number> s", "longer time-out"),
        ("States.Timeout", "the agent reached a time-out of its own", "target's time-out"),
        ("Sandbox.Timedout", "the function reached its own time-out", "target's time-out"),
        ("ThrottledError", "the target was throttled", "lower rate"),
        ("ClientError", "An error occurred (ThrottlingException) when calling InvokeModel", "lower rate"),
        ("ClientError", "An error occurred (AccessDeniedException) when calling InvokeModel", "permission"),
        ("ServiceUnavailableError", "the call failed", "try again"),
        ("ChildDiedError", "the child workflow died", "worker died"),
        ("AnswerTooLargeError", "the answer is too large", "smaller answer"),
        ("MappingError", "column <text> is not JSON", "mapping"),
        ("OffProtocolError", "the answer does not follow the target's protocol", "accept the answer"),
        ("ToolResultError", "the tool reported an error", "target's answer"),
        ("AgentResultError", "the agent returned result Failed", "target's answer"),
        ("ToolUseIdMismatchError", "the answer is not for call run:1:1", "target's id"),
        ("Runtime.ExitError", "RequestId: <id> Error: Runtime exited", "more memory"),
        ("KeyError", "<text>", "more attempts"),
        ("", "", "more attempts"),
    ],
)
def test_every_cause_has_a_cure(error: str, message: str, cure: str) -> None:
    assert cure_of(error, message).name == cure


def test_the_names_of_cures_are_told_apart() -> None:
    assert len({cure.name for cure in CURES}) == len(CURES)
