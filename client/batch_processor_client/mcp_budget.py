"""The budget of an agent: what it may spend while its server runs. Only the person who starts the server sets it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from batch_processor_client.errors import EXPECTED
from foundation.aws.errors import AWS_ERRORS, translate
from foundation.errors import ServiceUnavailableError

DECIMALS = 8
"""Estimates are rounded to these digits (``row_batches.run.cost``), so smaller differences are ignored."""


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
    """Keeps work within ``total_usd``. Work that starts reserves the most that it can cost, until its cost is known."""

    def __init__(self, total_usd: float, cost_of: Callable[[str], float | None]) -> None:
        """``cost_of`` gives the actual cost of a run by its name; None while it is not known."""
        self.total_usd = total_usd
        self._cost_of = cost_of
        self._reservations: list[Reservation] = []
        self._lock = Lock()

    @property
    def committed_usd(self) -> float:
        """The amount that was spent, plus the most that work in progress can cost."""
        with self._lock:
            return self._committed()

    @contextmanager
    def reserved(
        self, least_usd: float | None, execution: str = "", *, most_usd: float = 0, replaces: str = ""
    ) -> Iterator[float]:
        """Reserve an amount before the work in the block starts, and give that amount: ``most_usd`` or what is left,
        whichever is lower. The work needs ``least_usd``; None: nobody knows how much.

        It takes the place of what the run ``replaces`` had reserved. If the block only starts a run, and an error says
        that it did not start, all is as before. After any other error, work can go on, so its amount stays reserved.
        Raises OverBudgetError.
        """
        with self._lock:
            kept = [one for one in self._reservations if not replaces or one.execution != replaces]
            left = self.total_usd - self._committed(kept)
            if least_usd is None or not math.isfinite(least_usd) or least_usd < 0:
                raise OverBudgetError("Its cost is not known, so it can exceed any budget.")
            if round(least_usd - left, DECIMALS) > 0 or self.total_usd <= 0:
                raise OverBudgetError(f"It can cost {least_usd:.4f} USD, and {max(0, left):.4f} USD are left.")
            added = Reservation(max(least_usd, min(most_usd, left)), execution)
            replaced = [one for one in self._reservations if one not in kept]
            self._reservations = [*kept, added]
        try:
            yield added.usd
        except EXPECTED as error:
            # A job can be created although its creation has no answer yet.
            if not execution or not _started_nothing(error):
                raise
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


def _started_nothing(error: Exception) -> bool:
    """Whether an error of starting a run means that it did not start.

    If the service fails or its answer is lost, this is not known. Errors of reads before the start are translated.
    """
    if not isinstance(error, AWS_ERRORS):
        return True
    return not isinstance(translate(error, "states:StartExecution", ""), ServiceUnavailableError)
