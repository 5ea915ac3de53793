"""Ports of a run that no other part of the product uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class DeadLetters(Protocol):
    """The queue for failed rows."""

    def send(self, letters: Iterable[dict[str, Any]]) -> None:
        """Send each letter to the dead-letter queue as one message, at least once."""
