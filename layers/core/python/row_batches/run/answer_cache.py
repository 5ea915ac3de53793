"""Where answers are kept for later batches, as a port."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Protocol


class CachedAnswer(NamedTuple):
    """An answer as JSON text. ``target`` and ``version`` are for people who look at it."""

    id: str
    target: str
    version: str
    answer: bytes


class AnswerCache(Protocol):
    """Answers by their ids. Safe in several threads. Raises errors of ``foundation.errors``."""

    def get(self, ids: Collection[str], since_ms: int) -> Iterator[tuple[str, bytes]]:
        """The answers of those ids that were kept since then, each once, in any order."""

    def keep(self, answers: Sequence[CachedAnswer], now_ms: int, days: int) -> None:
        """Keep answers for so many days, in place of those of the same ids. What is too large is left out."""
