"""Finds where a path that matches nothing ends, and the keys that the answer has there. Keys only, never values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from foundation.json_text import encodable
from foundation.problems import closest

MOST_KEYS = 30
MOST_KEY_CHARACTERS = 60
MOST_PLACES = 5
"""In one answer."""
_ROOT = "$"
_NAME = r"[A-Za-z_]\w*"

AnswerKeys = dict[str, list[str]]
"""By place, a path such as ``$`` or ``$.speeds``: the keys there, or what is there instead of an object, in ``<>``."""


def keys_where_paths_end(paths: Iterable[Sequence[int | str] | None], documents: Sequence[Any]) -> AnswerKeys:
    """For each path, the keys at the place where it stops matching, by that place.

    A path is followed in the document into which it leads deepest, the last one of several. A path that can match many
    places (None) stops at the root. Has up to ``MOST_PLACES`` places with ``MOST_KEYS`` keys each.
    """
    found: AnswerKeys = {}
    for steps in paths:
        depth, value = 0, documents[-1]
        for document in documents if steps else ():
            reached, there = _walk(steps or (), document)
            if reached >= depth:
                depth, value = reached, there
        place = _place((steps or ())[:depth])
        if place not in found:
            found[place] = _keys(value)
            if len(found) == MOST_PLACES:
                break
    return found


def keys_at(steps: Sequence[int | str] | None, places: Mapping[str, Iterable[str]]) -> tuple[str, list[str]]:
    """The deepest of ``places`` on the way of a path, with its keys; the root without any when none is."""
    for depth in range(len(steps or ()), -1, -1):
        place = _place((steps or ())[:depth])
        if place in places:
            return place, list(places[place])
    return _ROOT, []


def closest_path(source: str, steps: Sequence[int | str] | None, place: str, keys: Sequence[str]) -> str:
    """The path ``source`` with one name replaced by the closest of ``keys``, which answers have; "" if none is close.

    The name is the one that the answers lack at ``place``. In a path that can match many places, whose ``steps`` are
    None, it is the first one that is none of the keys.
    """
    known = [key for key in keys if not key.startswith("<")]
    if steps is None:
        name = next((name for name in re.findall(_NAME, source) if name not in known), "")
        nearest = closest(name, known)
        return re.sub(rf"\b{name}\b", lambda _: str(nearest), source, count=1) if nearest else ""
    depth = next(depth for depth in range(len(steps) + 1) if _place(steps[:depth]) == place)
    lacking = steps[depth] if depth < len(steps) else None
    nearest = closest(lacking, known) if isinstance(lacking, str) else None
    return _place([*steps[:depth], nearest, *steps[depth + 1 :]]) if nearest and nearest != lacking else ""


def _walk(steps: Sequence[int | str], document: Any) -> tuple[int, Any]:
    """How many steps lead somewhere, and what is there."""
    value = document
    step: Any
    for depth, step in enumerate(steps):
        if not isinstance(value, dict if isinstance(step, str) else list):
            return depth, value
        try:
            value = value[step]
        except (KeyError, IndexError):
            return depth, value
    return len(steps), value


def _place(steps: Sequence[int | str]) -> str:
    return _ROOT + "".join(_step(step) for step in steps)


def _step(step: int | str) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if re.fullmatch(_NAME, step) else f"[{step!r}]"


def _keys(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return list(_shortened(islice(value, MOST_KEYS)))
    return [f"<{_kind(value)}>"]


def _shortened(keys: Iterable[Any]) -> Iterator[str]:
    for key in keys:
        text = encodable(str(key)) or "<no name>"
        yield text if len(text) <= MOST_KEY_CHARACTERS else text[: MOST_KEY_CHARACTERS - 1] + "…"


def _kind(value: Any) -> str:
    """Describes, without its value, what the answer has in place of an object with the key."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an empty object"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        return "a text"
    return "a boolean" if isinstance(value, bool) else "a number"
