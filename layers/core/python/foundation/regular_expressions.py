"""Users' regular expressions. They run on RE2 in linear time, and with bounded work, so no pattern can hang a worker.

Linear means a constant amount of work for each character, but the constant grows with the pattern:
``((a?){1000})b`` takes a minute for 1 MB of ``a``. So a search is refused when the pattern's size times the text's
length is above a bound. It counts work, not seconds, so that the same text gives the same result on every machine.

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
MAX_WORK = 200_000_000
"""The instructions of a pattern times the characters of a text. A search takes up to about 3 seconds, and usually a few
milliseconds."""


@cache
def _re2() -> tuple[Any, Any]:
    """RE2 and its options. Imported at the first pattern, because most runs have none."""
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    return re2, options


@cache
def _options_of_bytes() -> Any:
    re2, _ = _re2()
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return options


def _size(pattern: str, compiled: Any) -> int:
    """The instructions of the pattern's program.

    RE2 spells out a class such as ``\\p{L}`` as hundreds of byte ranges, of which one character uses a few. So the
    size is that of the pattern on single bytes, unless it has an escape that only Unicode has.
    """
    re2, _ = _re2()
    try:
        size: int = re2.compile(pattern.encode(), _options_of_bytes()).programsize
    except re2.error:
        size = compiled.programsize
    return size


class Pattern:
    """A compiled pattern. ``groups`` is the number of its capturing groups.

    Its methods raise ValueError for a text that is too long for the pattern (``MAX_WORK``).
    """

    __slots__ = ("_longest", "_regexp", "groups")

    def __init__(self, pattern: str) -> None:
        re2, options = _re2()
        self._regexp = re2.compile(pattern, options)
        self._longest = MAX_WORK // _size(pattern, self._regexp)
        self.groups: int = self._regexp.groups

    def search(self, text: str, group: int = 0) -> str | None:
        """The text of ``group`` in the first match; None without a match, or if the group is not part of it."""
        match = self._regexp.search(self._checked(text))
        if match is None:
            return None
        found: str | None = match.group(group)
        return found

    def found_in(self, text: str) -> bool:
        return self._regexp.search(self._checked(text)) is not None

    def matches(self, text: str) -> bool:
        """True when the whole text matches."""
        return self._regexp.fullmatch(self._checked(text)) is not None

    def _checked(self, text: str) -> str:
        if len(text) > self._longest:
            raise ValueError(
                f"the text has {len(text):,} characters, and the pattern takes at most {self._longest:,}: "
                "write a smaller pattern, with lower repetitions, or search a shorter text"
            )
        return encodable(text)


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
