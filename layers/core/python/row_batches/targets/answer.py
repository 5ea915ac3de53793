"""Reads a target's answer: its JSON, and the usage that it reports."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from foundation.json_text import parse_json
from row_batches.rows.records import Usage

MOST_USED: dict[str, int | float] = {"input_tokens": 10**12, "output_tokens": 10**12, "cost_usd": 1e9}
"""The fields of an answer's usage, each with its largest valid number. A larger number is a mistake and is ignored."""
TOKENS = ("input_tokens", "output_tokens")
MOST_MODEL_CHARACTERS = 200


class Answer(NamedTuple):
    """The value of an answer. ``missing_numbers`` of its numbers were not valid JSON and are None."""

    value: Any
    missing_numbers: int = 0


def parse_answer(payload: bytes) -> Answer:
    """The target's answer as a value. An answer that is not JSON is its text.

    A Lambda function's answer can hold NaN and Infinity, because Python's ``json`` writes them. They are read as
    missing, so the rest of the answer still counts, including ``is_error``.
    """
    text = payload.decode("utf-8", "replace")
    try:
        return Answer(parse_json(text))
    except ValueError:
        return _parse_extended(text)


def _parse_extended(text: str) -> Answer:
    missing = 0

    def no_number(_: str) -> None:
        nonlocal missing
        missing += 1

    def finite(digits: str) -> float | None:
        number = float(digits)
        if math.isfinite(number):
            return number
        no_number(digits)
        return None

    def whole(digits: str) -> int | None:
        try:
            return int(digits)
        except ValueError:  # above Python's limit of digits
            no_number(digits)
            return None

    try:
        value = json.JSONDecoder(parse_float=finite, parse_int=whole, parse_constant=no_number).decode(text)
    except (ValueError, RecursionError):
        return Answer(text)
    return Answer(value, missing)


def metadata_of(answer: Any) -> dict[str, Any]:
    """The answer's ``metadata``, when it is an object."""
    metadata = answer.get("metadata") if isinstance(answer, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def usage_of(answer: Any) -> Usage:
    """The answer's ``metadata.usage``: ``{"input_tokens", "output_tokens", "cost_usd", "model"}``, each optional.

    Values that are not sensible numbers are left out.
    """
    said = metadata_of(answer).get("usage")
    if not isinstance(said, dict):
        return {}
    used = {name: _number(said.get(name), most) for name, most in MOST_USED.items()}
    if not any(used.values()):
        return {}
    model = said.get("model")
    return {model[:MOST_MODEL_CHARACTERS] if isinstance(model, str) else "": used}


def tokens_of(usage: Usage) -> int:
    """Input and output tokens of all models."""
    return sum(int(used.get(name, 0)) for used in usage.values() for name in TOKENS)


def add_usage(total: Usage, more: Usage) -> None:
    """Add ``more`` to ``total``, model by model."""
    for model, used in more.items():
        sums = total.setdefault(model, dict.fromkeys(MOST_USED, 0))
        for name, number in used.items():
            sums[name] += number


def _number(value: Any, most: float) -> int | float:
    kinds = int if isinstance(most, int) else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    return value if is_number and 0 < value <= most else 0
