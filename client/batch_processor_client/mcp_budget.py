"""The budget of an agent: what it may spend while its server runs. Only the person who starts the server sets it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from botocore.exceptions import ClientError as RefusedByAwsError

from batch_processor_client.errors import ClientError
from foundation.errors import BatchProcessorError

NOTHING_STARTED = (ClientError, BatchProcessorError, RefusedByAwsError)
"""Errors after which no run goes on that the failed call could have started."""


@dataclass(eq=False)
class Reservation:
    """US dollars that work of the agent can cost. ``execution`` is its run, "" for a job.

    ``is_settled`` says that ``usd`` is what it did cost.
    """

    usd: float
    execution: str = ""
    is_settled: bool = False


class OverBudgetError(Exception):
    """Raised when work would cost more than is left, or an unknown amount. Nothing was reserved."""


class Budget:
    """What is left of ``total_usd``. Work that starts reserves its worst case, until its actual cost is known."""

    def __init__(self, total_usd: float, cost_of: Callable[[str], float | None]) -> None:
        """``cost_of`` gives the actual cost of a run by its name; None while it is not known."""
        self.total_usd = total_usd
        self._cost_of = cost_of
        self._reservations: list[Reservation] = []
        self._lock = Lock()

    @property
    def committed_usd(self) -> float:
        """What was spent, and what work that still runs can cost."""
        with self._lock:
            return self._committed()

    @contextmanager
    def reserved(self, worst_usd: float | None, execution: str = "", replaces: str = "") -> Iterator[float]:
        """Reserve an amount before the work in the block starts; None: nobody knows the amount. Gives what was left.

        It takes the place of what the run ``replaces`` had reserved. If the block says that no run was started, all is
        as before. After any other error, work can go on, so its amount stays reserved. Raises OverBudgetError.
        """
        with self._lock:
            kept = [one for one in self._reservations if not replaces or one.execution != replaces]
            left = self.total_usd - self._committed(kept)
            if worst_usd is None or not math.isfinite(worst_usd) or worst_usd < 0:
                raise OverBudgetError("Its cost is not known, so it can exceed any budget.")
            if worst_usd > left or self.total_usd <= 0:
                raise OverBudgetError(f"It can cost {worst_usd:.4f} USD, and {max(0, left):.4f} USD are left.")
            added = Reservation(worst_usd, execution)
            replaced = [one for one in self._reservations if one not in kept]
            self._reservations = [*kept, added]
        try:
            yield left
        except NOTHING_STARTED:
            if not execution:
                raise  # A job can be created although its creation has no answer yet.
            with self._lock:
                self._reservations = [*(one for one in self._reservations if one is not added), *replaced]
            raise

    def _committed(self, reservations: list[Reservation] | None = None) -> float:
        counted = self._reservations if reservations is None else reservations
        for one in counted:
            if one.execution and not one.is_settled:
                cost = self._cost_of(one.execution)
                if cost is not None:
                    one.usd, one.is_settled = cost, True
        return sum(one.usd for one in counted)
