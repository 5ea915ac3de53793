"""The permit of a child of a Standard agent's run, which calls a target with limits (``claims``)."""

from __future__ import annotations

import logging

from foundation.errors import RetryableError
from foundation.ports import Clock, Lease, Leases
from row_batches.document.plan import Plan
from row_batches.run.claims import (
    MOST_LOST_RACES,
    REFRESH_SECONDS,
    WANTS_SECONDS,
    Claims,
    holder_of,
    permits_name,
    slot_part,
    turn_at,
    wants_part,
)
from row_batches.run.pace import Allowance

LOGGER = logging.getLogger("batch_processor.permits")
SPARE_SECONDS = 120.0
"""The lease of the permit lasts this much longer than its row's time, for the states around the agent's call."""
RATE_SECONDS = 60.0
"""A run that starts no row for this long gives up its share of the target's rate."""
MANY_PERMITS = 100
"""A child reads the permits of a target with a higher limit from ``LastHeld``."""


class LastHeld:
    """The leases of targets' permits, as this process last read them.

    A target with 1,000 permits has 1,000 leases, and each child needs one permit. So the children that one process
    serves share a read for ``REFRESH_SECONDS``. A permit is only taken by its lease, so an old read costs a lost race
    at most.
    """

    def __init__(self, leases: Leases, clock: Clock) -> None:
        self._leases = leases
        self._clock = clock
        self._held: dict[str, tuple[int, list[Lease]]] = {}

    def of(self, name: str, limit: int | None) -> list[Lease]:
        if limit is None or limit <= MANY_PERMITS:
            return self._leases.held(name)
        now_ms = self._clock.now_ms()
        read_ms, held = self._held.get(name, (0, []))
        if now_ms - read_ms >= REFRESH_SECONDS * 1000:
            held = self._leases.held(name)
            self._held[name] = (now_ms, held)
        return held

    def taken(self, name: str, lease: Lease) -> None:
        """Note that a permit was taken after the last read."""
        if name in self._held:
            self._held[name][1].append(lease)


class ChildPermit:
    """The permit of a child of a Standard agent's run, which has one row in flight.

    The functions that the child calls take it, extend it row by row and give it back. None of them waits for it. If the
    child dies, the lease ends by itself.
    """

    def __init__(self, leases: Leases, last_held: LastHeld, plan: Plan, child: str, clock: Clock) -> None:
        self._leases = leases
        self._last_held = last_held
        self._clock = clock
        self._name = permits_name(plan.target.arn)
        self._execution = plan.execution.name
        self._holder = holder_of(plan.execution.name, child)
        self._limit = plan.target.max_concurrency
        self._rate = plan.target.rate
        self._wants_part = wants_part(self._holder, 1)

    @property
    def is_needed(self) -> bool:
        return self._limit is not None

    def take(self, seconds: float, waited: int, next_look_seconds: float) -> str:
        """The permit for a call of up to ``seconds``, or "" if none is free; the child then keeps a claim.

        A child that has ``waited`` takes a free permit even beyond its run's share.
        """
        if self._limit is None:
            return ""
        claims = Claims(self._last_held.of(self._name, self._limit))
        claims.add(self._holder, 1)
        numbers = [number for number, holder in claims.slots.items() if holder == self._holder]
        if not numbers and (waited or claims.share(self._holder, self._limit, turn_at(self._clock.now_ms()))):
            numbers = claims.free(self._limit)[:MOST_LOST_RACES]
        for number in numbers:
            if self.extend(slot_part(number), seconds):
                self._last_held.taken(self._name, Lease(slot_part(number), self._holder, self._clock.now_ms()))
                if waited:
                    self._leases.release(self._name, self._holder, self._wants_part)
                return slot_part(number)
        self._leases.acquire(self._name, self._holder, next_look_seconds + WANTS_SECONDS, self._wants_part)
        return ""

    def extend(self, permit: str, seconds: float) -> bool:
        """Keep the permit for a call of up to ``seconds``. False: its lease ended, and another child took it."""
        return self._leases.acquire(self._name, self._holder, seconds + SPARE_SECONDS, permit)

    def give_back(self, permit: str) -> None:
        """Return the permit after the child's last call. If that fails, its lease ends by itself."""
        try:
            self._leases.release(self._name, self._holder, permit)
        except RetryableError as error:
            LOGGER.warning("permit not given back", extra={"reason": str(error)})

    def within(self, allowance: Allowance) -> Allowance:
        """The allowance with no more than the run's share of the target's rate. The run claims its share."""
        if self._rate is None:
            return allowance
        holder = holder_of(self._execution, "run")
        part, now_ms = wants_part(holder, 0), self._clock.now_ms()
        claims = Claims(self._last_held.of(self._name, self._limit))
        claims.add(holder, 0)
        rows = self._rate.rows_per_minute
        if claims.until_ms.get(part, 0) - now_ms < RATE_SECONDS * 500:
            seconds = max(RATE_SECONDS, 0 if rows is None else 2 * claims.runs * 60 / rows)
            self._leases.acquire(self._name, holder, seconds, part)
        return allowance.at_most(self._rate, 1 / claims.runs)
