"""The port to the store that keeps answers for later batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Protocol


class CachedAnswer(NamedTuple):
    """An answer as JSON text. ``target`` and ``version`` are only for people who look at it."""

    id: str
    target: str
    version: str
    answer: bytes


class AnswerCache(Protocol):
    """Answers by their ids. Safe in several threads. Raises errors of ``foundation.errors``."""

    def get(self, ids: Collection[str], since_ms: int) -> Iterator[tuple[str, bytes]]:
        """The answers with these ids that were kept at ``since_ms`` or later, each once, in any order."""

    def keep(self, answers: Sequence[CachedAnswer], now_ms: int, days: int) -> None:
        """Keep answers for ``days`` days. They replace answers with the same ids. Too large ones are skipped."""
