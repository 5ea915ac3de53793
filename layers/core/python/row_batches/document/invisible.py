"""Finds invisible characters in names, such as a no-break space or a byte order mark."""

from __future__ import annotations

import unicodedata

_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Zs", "Zl", "Zp")


def visible(name: str) -> str:
    """The name as a reader sees it: one space for each run of blanks, none at its ends, nothing invisible."""
    letters = (" " if _is_blank(letter) else letter for letter in name if unicodedata.category(letter) != "Cf")
    return " ".join("".join(letters).split())


def invisible_characters(name: str) -> str:
    """The invisible characters of a name by code point and name, such as "U+00A0 NO-BREAK SPACE"; "" without one."""
    found = dict.fromkeys(
        letter for letter in name if letter != " " and unicodedata.category(letter) in _INVISIBLE_CATEGORIES
    )
    named = [f"U+{ord(letter):04X} {unicodedata.name(letter, 'CONTROL CHARACTER')}" for letter in found]
    if name != name.strip(" "):
        named.append("U+0020 SPACE at an end")
    return ", ".join(named)


def _is_blank(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zs", "Zl", "Zp")
