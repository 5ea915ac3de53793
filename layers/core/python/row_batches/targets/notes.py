"""Oddities of answers that do not fail their row. They are counted with the row, and the summary warns of them."""

from __future__ import annotations

from typing import NamedTuple


class Note(NamedTuple):
    """One kind of oddity. ``warning`` follows a count."""

    name: str
    warning: str


OFF_PROTOCOL = Note(
    "off_protocol",
    "answers do not follow the target's protocol: execution_config.off_protocol says "
    "what becomes of their rows, off_protocol in the summary shows one of them",
)
NOT_A_NUMBER = Note(
    "not_a_number", "numbers in answers are NaN, infinite or too long for JSON: they were read as missing"
)
NOTES = (OFF_PROTOCOL, NOT_A_NUMBER)
