"""The system's clock, behind ``foundation.ports.Clock``."""

from __future__ import annotations

import time


class SystemClock:
    """The time of the machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
