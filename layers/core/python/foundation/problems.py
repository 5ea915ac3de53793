"""Formats the parts of an ``errors.Problem``: values, paths, lists of names, and the closest known name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

_SHOWN_CHARACTERS = 60


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to ``name``, ignoring letter case; None if none is similar."""
    from difflib import get_close_matches  # noqa: PLC0415 (few documents have a mistake)

    by_lower = {item.lower(): item for item in known}
    found = get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The start of a fix, such as "did you mean csv? ", with a space after it; "" if no known name is similar."""
    nearest = closest(name, known)
    return f"did you mean {nearest}? " if nearest else ""


def shown(value: object) -> str:
    """A value as a message shows it: as JSON, shortened; of an object or a list only what it is."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str) and "://" in value:
        value = value.partition("?")[0]  # a presigned URL has its signature after the question mark
    text = _encodable(json.dumps(value, ensure_ascii=False, default=lambda other: type(other).__name__))
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def listed(names: Sequence[str], limit: int = 12) -> str:
    """The first names, and how many more there are."""
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
