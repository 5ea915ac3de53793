"""The version of a target that gave an answer: the registered one, and that of the code behind its ARN."""

from __future__ import annotations

from typing import NamedTuple, Self

UNKNOWN = "unknown"
CODE_CHARACTERS = 12
"""How many characters of AWS's code identifier are kept: enough to tell versions apart, few enough for each row."""


class TargetVersion(NamedTuple):
    """The version of a target that answered a row.

    ``registered`` is the version in the registry, ``code`` the start of the identifier that AWS gives the code. ""
    means that it is not known. The version's text is ``1@qNqEZb0e8kLm``. Answers of an earlier release have ``1``, or
    nothing: their code is unknown.
    """

    registered: str = ""
    code: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        registered, _, code = text.rpartition("@") if "@" in text else (text, "", "")
        return cls(*("" if part == UNKNOWN else part for part in (registered, code)))

    def __str__(self) -> str:
        return f"{self.registered or UNKNOWN}@{self.code or UNKNOWN}"

    def has_other_code(self, other: Self) -> bool:
        """Whether it is known that the two are not the same code."""
        return bool(self.code and other.code) and self.code != other.code
