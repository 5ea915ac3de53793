"""Formats the parts of an ``errors.Problem``: values, paths, lists of names, and the closest known name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

_SHOWN_CHARACTERS = 60
PROBLEMS_OF_TYPE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "string_type": ("not a text", "write a text in quotes"),
        "int_type": ("not a whole number", "write a whole number, without quotes"),
        "int_from_float": ("not a whole number", "write a whole number, without quotes"),
        "float_type": ("not a number", "write a number, without quotes"),
        "finite_number": ("not a finite number", "write a finite number"),
        "bool_type": ("not a boolean", "write true or false, without quotes"),
        "dict_type": ("not an object", "write {...}"),
        "list_type": ("not a list", "write [...]"),
        "model_type": ("not an object", "write {...}"),
        "model_attributes_type": ("not an object", "write {...}"),
    }
)
"""By the kind of pydantic's error: what is wrong, and what to write."""
PROBLEMS_OF_BOUND: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "greater_than_equal": ("ge", "at least"),
        "less_than_equal": ("le", "at most"),
        "greater_than": ("gt", "more than"),
        "less_than": ("lt", "less than"),
    }
)
"""By the kind of pydantic's error: the bound's key in its context, and the words for it."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to ``name``, ignoring letter case; None if none is similar."""
    by_lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str) and "://" in value:
        value = value.partition("?")[0]  # a presigned URL has its signature after the question mark
    text = _encodable(json.dumps(value, ensure_ascii=False, default=lambda other: type(other).__name__))
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def listed(names: Sequence[str], limit: int = 12) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def path_of(*parts: int | str) -> str:
    """A path as text: ``execution_config.retry_policy``, ``columns[2].name``, ``column_mappings["First Name"]``."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"[\w.\[\]-]+", part):
            path += f".{part}" if path else part
        else:
            path += f"[{_encodable(json.dumps(part, ensure_ascii=False))}]"
    return path


def _encodable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot encode, written as JSON escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
