"""Reads and writes JSON: strict (RFC 8259), with exact integers, and without crashing on hostile documents.

Reading uses the standard library's ``json``, because it keeps integers of any size exact (orjson turns those beyond 64
bits into floats). Its extensions (NaN, Infinity, ``1e999`` as infinity) are turned off.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant).decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_sorted = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError; its message has the position and reason, never the content."""
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    except ValueError as error:
        message = "a number with too many digits" if "digits" in str(error) else str(error)
        raise ValueError(f"not JSON: {message}") from None


def render_json(value: Any, *, sort_keys: bool = False) -> str:
    """Compact JSON text with only the necessary escapes. Raises ValueError for NaN, Infinity and non-JSON types."""
    try:
        return encodable((_encode_sorted if sort_keys else _encode)(value))
    except RecursionError:
        raise ValueError("nested too deep to write as JSON") from None
    except TypeError as error:
        raise ValueError(str(error)) from None


def encodable(text: str) -> str:
    """The text with each lone surrogate replaced by U+FFFD: JSON escapes can hold one, UTF-8 cannot."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
