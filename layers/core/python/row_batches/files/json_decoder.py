"""Decodes the JSON of a row: strict (RFC 8259), with each key once in an object, and numbers as they are written."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

MAX_OBJECT_BYTES = 4_000_000
"""The longest object that is read: 20 times the largest row, because spaces and long keys do not count in a row."""
_LONGEST_CONSTANT = len("-Infinity")
"""If a text is cut within a constant, the error is at the constant's begin."""


def is_cut(error: json.JSONDecodeError, text: str, *, at_most: int = _LONGEST_CONSTANT) -> bool:
    """Whether the text can be cut off: it is wrong in its last ``at_most`` characters, or where a string begins."""
    return error.msg.startswith("Unterminated string") or len(text) - error.pos <= at_most


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in an object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """A number with a fraction or an exponent, as it is written."""

    text: str

    def __float__(self) -> float:
        return float(self.text)


def _number(text: str) -> WrittenNumber:
    if math.isinf(float(text)):
        raise ValueError("a number is too large")
    return WrittenNumber(text)


DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_no_constant, object_pairs_hook=_unique)


def reason_of(error: ValueError) -> str:
    """What is wrong, from an error of ``DECODER`` or ``json_array.ArrayText``."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "a number with too many digits" if "digits" in str(error) else str(error)
