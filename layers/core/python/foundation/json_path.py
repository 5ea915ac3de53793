"""JSONPath (RFC 9535). A path of names and indexes only, the most common kind, is walked directly, without importing
the engine (about 100 ms). ``json_path_engine`` handles all other paths.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

MAX_PATH_LENGTH = 2_000


class _NoMatch:
    __slots__ = ()

    def __repr__(self) -> str:
        return "NO_MATCH"


NO_MATCH: Final = _NoMatch()

_DIRECT = re.compile(r"\$(?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:0|[1-9][0-9]{0,14})\]|\['[^'\\\x00-\x1f]*'\])*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEP = re.compile(r"\.(?P<name>\w+)|\[(?P<index>[0-9]+)\]|\['(?P<quoted>[^']*)'\]")


class CompiledPath:
    """A path ready for use. ``many``: it can match more than one value, so its result is the list of them."""

    __slots__ = ("first", "many", "steps", "text")

    def __init__(
        self, text: str, many: bool, first: Callable[[Any], Any], steps: Sequence[int | str] | None = None
    ) -> None:
        self.text = text
        self.many = many
        self.steps = steps
        """Its names and indexes; None when it can match many."""
        self.first = first
        """``first(document)``: the match, or the non-empty list of matches when ``many``, or NO_MATCH.

        Raises ValueError when the document is nested deeper than the path can follow, or has too many matches.
        """


@lru_cache(maxsize=4_096)
def compile_path(text: str) -> CompiledPath:
    """Compile a path. Raises ValueError with the mistake in the path and its position."""
    if len(text) > MAX_PATH_LENGTH:
        raise ValueError(f"the path has {len(text):,} characters; at most {MAX_PATH_LENGTH:,} are allowed")
    if _DIRECT.fullmatch(text):
        steps = _direct_steps(text)
        return CompiledPath(text, many=False, first=_walker(steps), steps=steps)
    return _compile_with_engine(text)


def path_of_name(name: str) -> str:
    """The path of an object's member."""
    return f"$.{name}" if _NAME.fullmatch(name) else f"$[{json.dumps(name, ensure_ascii=False)}]"


def _direct_steps(text: str) -> list[str | int]:
    return [
        int(step["index"]) if step["index"] is not None else step["name"] or step["quoted"]
        for step in _STEP.finditer(text, 1)
    ]


def _walker(steps: list[str | int]) -> Callable[[Any], Any]:
    pairs: list[tuple[Any, Any]] = [(step, dict if isinstance(step, str) else list) for step in steps]

    def first(document: Any) -> Any:
        value = document
        try:
            for step, container in pairs:
                if not isinstance(value, container):
                    return NO_MATCH
                value = value[step]
        except (KeyError, IndexError):
            return NO_MATCH
        return value

    return first


def _compile_with_engine(text: str) -> CompiledPath:
    # Imported here because the import is slow and rarely needed.
    from foundation import json_path_engine  # noqa: PLC0415

    query = json_path_engine.compile_query(text)
    if query.steps is not None:
        return CompiledPath(text, many=False, first=_walker(query.steps), steps=query.steps)

    def first(document: Any) -> Any:
        return query.find(document) or NO_MATCH

    return CompiledPath(text, many=True, first=first)
