"""What a run needs from outside beside the shared ports, as Protocols."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class DeadLetters(Protocol):
    def send(self, letters: Iterable[dict[str, Any]]) -> None:
        """Put one message a letter into the dead-letter queue; at least once."""
