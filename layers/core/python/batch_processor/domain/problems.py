"""The words of ``errors.Problem``: how a value, a place, a list of names and the nearest name are written."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence

from batch_processor.domain.json_text import encodable

_SHOWN_CHARACTERS = 60


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like ``name``, letter case aside; None when none is."""
    by_lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str) and "://" in value:
        value = value.partition("?")[0]  # a presigned address carries its signature behind the question mark
    text = encodable(json.dumps(value, ensure_ascii=False, default=lambda other: type(other).__name__))
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def listed(names: Sequence[str], limit: int = 12) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def path_of(*parts: int | str) -> str:
    """``execution_config.retry_policy``, ``columns[2].name``, ``column_mappings["First Name"]``."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"[\w.\[\]-]+", part):
            path += f".{part}" if path else part
        else:
            path += f"[{json.dumps(part, ensure_ascii=False)}]"
    return path
