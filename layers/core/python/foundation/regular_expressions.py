"""Users' regular expressions. They run on RE2, which takes linear time, so no pattern can hang a worker.

Source of the syntax and of its limits: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from foundation.json_text import encodable

LIMITS = (
    "RE2 syntax: no look-ahead or look-behind, no back-references, no possessive or atomic groups, "
    "repetition at most 1000"
)
MAX_PATTERN_LENGTH = 2_000


@cache
def _re2() -> tuple[Any, Any]:
    """RE2 and its options. Imported at the first pattern, because most runs have none."""
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    return re2, options


class Pattern:
    """A compiled pattern. ``groups`` is the number of its capturing groups."""

    __slots__ = ("_regexp", "groups")

    def __init__(self, pattern: str) -> None:
        re2, options = _re2()
        self._regexp = re2.compile(pattern, options)
        self.groups: int = self._regexp.groups

    def search(self, text: str, group: int = 0) -> str | None:
        """The text of ``group`` in the first match; None without a match, or if the group is not part of it."""
        match = self._regexp.search(encodable(text))
        if match is None:
            return None
        found: str | None = match.group(group)
        return found

    def found_in(self, text: str) -> bool:
        return self._regexp.search(encodable(text)) is not None

    def matches(self, text: str) -> bool:
        """True when the whole text matches."""
        return self._regexp.fullmatch(encodable(text)) is not None


@lru_cache(maxsize=128)  # each can hold 8 MiB of RE2's own caches
def compile_pattern(pattern: str) -> Pattern:
    """Compile a pattern. Raises ValueError with RE2's reason and its limits."""
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise ValueError(f"the pattern has {len(pattern):,} characters; at most {MAX_PATTERN_LENGTH:,} are allowed")
    re2, _ = _re2()
    try:
        return Pattern(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        shown = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{shown} ({LIMITS})") from None
    except UnicodeEncodeError:
        raise ValueError("the pattern holds a character that UTF-8 cannot encode") from None
