"""Answers as they come: JSON, almost JSON, text; and what they say they used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from row_batches.targets.answer import Answer, add_usage, parse_answer, usage_of


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000])
def test_what_is_no_json_number_is_missing_and_the_rest_of_the_answer_is_read(number: str) -> None:
    payload = f'{{"is_error": true, "content": {{"score": {number}, "count": 2}}}}'.encode()

    assert parse_answer(payload) == Answer({"is_error": True, "content": {"score": None, "count": 2}}, 1)


def test_every_missing_number_is_counted_and_exact_integers_stay_exact() -> None:
    payload = json.dumps({"scores": [float("nan"), 1.5, float("inf")], "id": 10**30}).encode()

    assert parse_answer(payload) == Answer({"scores": [None, 1.5, None], "id": 10**30}, 2)


@pytest.mark.parametrize("payload", [b"plain words", b"{", b"NaN-1", b"[" * 100_000, b"\xff"])
def test_what_is_not_json_is_its_text(payload: bytes) -> None:
    assert parse_answer(payload) == Answer(payload.decode("utf-8", "replace"))


def used(**said: Any) -> Any:
    return {"metadata": {"usage": said}}


def test_usage_is_read_by_model() -> None:
    said = used(input_tokens=12, output_tokens=3, cost_usd=0.5, model="nova")

    assert usage_of(said) == {"nova": {"input_tokens": 12, "output_tokens": 3, "cost_usd": 0.5}}
    assert usage_of(used(input_tokens=12)) == {"": {"input_tokens": 12, "output_tokens": 0, "cost_usd": 0}}


@pytest.mark.parametrize(
    "answer",
    [
        *(None, "text", {}, {"metadata": "text"}, {"metadata": {"usage": 5}}, used(), used(model="nova")),
        *(used(input_tokens=True), used(input_tokens=-1), used(input_tokens="12"), used(input_tokens=1.5)),
        *(used(cost_usd=float("nan")), used(cost_usd=1e300), used(output_tokens=10**20)),
    ],
)
def test_usage_that_is_no_sensible_number_is_left_out(answer: Any) -> None:
    assert usage_of(answer) == {}


def test_usage_adds_up_model_by_model() -> None:
    total = usage_of(used(input_tokens=1, model="a"))
    add_usage(total, usage_of(used(input_tokens=2, cost_usd=0.25, model="a")))
    add_usage(total, usage_of(used(output_tokens=4, model="b")))

    assert total == {
        "a": {"input_tokens": 3, "output_tokens": 0, "cost_usd": 0.25},
        "b": {"input_tokens": 0, "output_tokens": 4, "cost_usd": 0},
    }
