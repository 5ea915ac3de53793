"""What can be odd about an answer whose row goes on all the same: counted with the row, summed up as warnings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """One kind of oddity. ``warning`` follows a count."""

    name: str
    warning: str


BARE_PAYLOAD = Note(
    "bare_payload",
    "answers are outside the target's protocol and were taken as they are: their rows are SUCCESS whatever they say",
)
NOT_A_NUMBER = Note(
    "not_a_number", "numbers in answers are NaN, infinite or too long for JSON: they were read as missing"
)
NOTES = (BARE_PAYLOAD, NOT_A_NUMBER)
