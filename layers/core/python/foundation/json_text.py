"""JSON as this system reads and writes it: strict (RFC 8259), exact integers, never a crash on hostile documents.

The standard library's ``json`` is kept for reading because it keeps integers of any size exact (orjson turns those
beyond 64 bits into floats), with its extensions (NaN, Infinity, ``1e999`` as infinity) closed.
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
    """The value of a JSON text. Raises ValueError, whose message says where and why, never what the text holds."""
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
    """Compact JSON text, not escaped beyond need. Raises ValueError for NaN, Infinity and what JSON lacks."""
    try:
        return encodable((_encode_sorted if sort_keys else _encode)(value))
    except RecursionError:
        raise ValueError("nested too deep to write as JSON") from None
    except TypeError as error:
        raise ValueError(str(error)) from None


def encodable(text: str) -> str:
    """The text with lone surrogates, which JSON escapes can smuggle in and UTF-8 cannot hold, as U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
