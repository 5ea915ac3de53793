"""The permits of a worker that calls a target with limits: one for each call in flight (``claims``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock

from foundation.errors import RetryableError
from foundation.ports import Clock, Leases
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
from row_batches.run.ownership import CLOCK_SECONDS
from row_batches.run.pace import Allowance

LOGGER = logging.getLogger("batch_processor.permits")
SPARE_SECONDS = 60.0
"""The lease of a permit lasts this much longer than the longest call, and is extended when half of that is over. After
a worker is killed, its permits are free again when their leases end."""
GRACE_SECONDS = 5.0
"""A worker without a permit for this long takes a free one, even beyond its share."""
UNLIMITED = 1_000_000


class Permits:
    """The permits of one call of a worker, for the rows of the child ``child``; ``call`` names the call.

    For a target without limits in the registry, everything is allowed and no lease is touched.
    """

    def __init__(self, leases: Leases, plan: Plan, child: str, call: str, clock: Clock) -> None:
        self._leases = leases
        self._clock = clock
        self._name = permits_name(plan.target.arn)
        self._execution = plan.execution.name
        self._holder = holder_of(plan.execution.name, child)
        self._owner = f"{self._holder}/{call}"
        """The owner of the permits. An earlier call for the same rows, which was killed, is another owner."""
        self._limit = plan.target.max_concurrency
        self._rate = plan.target.rate
        self._longest_ms = int((plan.call_seconds + CLOCK_SECONDS) * 1000)
        self._lock, self._refreshing = Lock(), Lock()
        self._until_ms: dict[int, int] = {}
        self._share = 0
        self._wants_part = ""
        self._wants_until_ms = 0
        self._children = plan.concurrency.children
        self._of_rate = 1 / self._children
        self._shares_with_planned_until_ms = clock.now_ms() + int(REFRESH_SECONDS * 1000)
        self._refreshed_ms: int | None = None
        self._none_since_ms = clock.now_ms()
        self.is_short = False
        """Whether rows wait because the holder has fewer permits than it wants."""

    @property
    def are_counted(self) -> bool:
        """Whether the registry limits the calls in flight."""
        return self._limit is not None

    def allowed(self) -> int:
        """Calls that may be in flight now."""
        if self._limit is None:
            return UNLIMITED
        needed_ms = self._clock.now_ms() + self._longest_ms
        with self._lock:
            return min(self._share, sum(until_ms >= needed_ms for until_ms in self._until_ms.values()))

    def seconds_without(self) -> float:
        """How long the holder has had no permit."""
        with self._lock:
            return 0.0 if self._until_ms else (self._clock.now_ms() - self._none_since_ms) / 1000

    def within(self, allowance: Allowance) -> Allowance:
        """The allowance with no more than this worker's share of the target's rate."""
        if self._rate is None:
            return allowance
        return allowance.at_most(self._rate, self._of_rate)

    def refresh(self, wants: int, in_flight: Callable[[], int]) -> bool:
        """Take permits up to the share for ``wants`` calls, and give back those above it that are not in use.

        Returns whether it looked, which it does every ``REFRESH_SECONDS``. Raises ``DeploymentError``. If DynamoDB is
        not available, the holder continues with the permits that it has until they end.
        """
        if (self._limit is None and self._rate is None) or not self._refreshing.acquire(blocking=False):
            return False
        try:
            return self._is_due() and self._refresh(wants, in_flight)
        finally:
            self._refreshing.release()

    def abandon(self) -> None:
        """Keep a permit until its lease ends: a call gave no answer, and the target may still be working on it."""
        with self._lock:
            if self._until_ms:
                # The one that ends last: when the call started, it was valid for the longest time of a call.
                del self._until_ms[max(self._until_ms, key=lambda number: self._until_ms[number])]
                self._note_none()

    def give_back(self, comes_again_in_seconds: float = 0) -> None:
        """Return all permits after the last call. A worker that comes again keeps its claim."""
        if self._refreshed_ms is None:
            return
        with self._lock:
            numbers = list(self._until_ms)
            self._until_ms.clear()
        try:
            for number in numbers:
                self._leases.release(self._name, self._owner, slot_part(number))
            if comes_again_in_seconds:
                self._say(1, comes_again_in_seconds + WANTS_SECONDS)
            elif self._wants_part:
                self._leases.release(self._name, self._holder, self._wants_part)
        except RetryableError as error:
            LOGGER.warning("permits not given back", extra={"reason": str(error)})

    def _is_due(self) -> bool:
        now_ms = self._clock.now_ms()
        pause_ms = (REFRESH_SECONDS if self.allowed() else 1.0) * 1000
        if self._refreshed_ms is not None and now_ms - self._refreshed_ms < pause_ms:
            return False
        self._refreshed_ms = now_ms
        return True

    def _refresh(self, wants: int, in_flight: Callable[[], int]) -> bool:
        try:
            self._say(wants, WANTS_SECONDS)
            claims = Claims(self._leases.held(self._name))
            claims.add(self._holder, wants)
            self._of_rate = 1 / claims.runs / self._workers(claims)
            if self._limit is not None:
                self._adjust(claims, self._limit, wants, in_flight)
        except RetryableError as error:
            LOGGER.warning("permits not refreshed", extra={"reason": str(error)})
        return True

    def _workers(self, claims: Claims) -> int:
        """The workers that share the run's part of a rate.

        Workers that begin at the same time do not see each other yet, so a new one reckons with all planned ones.
        """
        seen = claims.workers(self._execution)
        is_new = self._clock.now_ms() < self._shares_with_planned_until_ms
        return max(seen, self._children) if is_new else seen

    def _say(self, wants: int, seconds: float) -> None:
        part = wants_part(self._holder, wants)
        until_ms = self._clock.now_ms() + int(seconds * 1000)
        if part == self._wants_part and until_ms - self._wants_until_ms < WANTS_SECONDS * 500:
            return
        if part != self._wants_part and self._wants_part:
            self._leases.release(self._name, self._holder, self._wants_part)
        self._leases.acquire(self._name, self._holder, seconds, part)
        self._wants_part, self._wants_until_ms = part, until_ms

    def _adjust(self, claims: Claims, limit: int, wants: int, in_flight: Callable[[], int]) -> None:
        share = claims.share(self._holder, limit, turn_at(self._clock.now_ms()))
        if share == 0 and self.seconds_without() >= GRACE_SECONDS:
            share = min(1, wants)
        held = sum(holder == self._holder for holder in claims.slots.values())  # those abandoned among them
        with self._lock:
            self._share = share
        # From here on, no call starts above the share, so the calls in flight can only fall to it.
        self._return(len(self._until_ms) - max(share, in_flight()))
        self._extend()
        lost = 0
        for number in claims.free(limit):
            if held >= share or lost > MOST_LOST_RACES:
                break
            if self._acquire(number):
                held += 1
            else:
                lost += 1
        self.is_short = len(self._until_ms) < wants

    def _return(self, count: int) -> None:
        for _ in range(count):
            with self._lock:
                number = min(self._until_ms, key=lambda number: self._until_ms[number])
                del self._until_ms[number]
                self._note_none()
            self._leases.release(self._name, self._owner, slot_part(number))

    def _extend(self) -> None:
        needed_ms = self._clock.now_ms() + self._longest_ms + SPARE_SECONDS * 500
        with self._lock:
            numbers = [number for number, until_ms in self._until_ms.items() if until_ms < needed_ms]
        for number in numbers:
            if not self._acquire(number):
                with self._lock:
                    self._until_ms.pop(number, None)
                    self._note_none()

    def _acquire(self, number: int) -> bool:
        now_ms = self._clock.now_ms()
        seconds = self._longest_ms / 1000 + SPARE_SECONDS
        if not self._leases.acquire(self._name, self._owner, seconds, slot_part(number)):
            return False
        with self._lock:
            self._until_ms[number] = now_ms + int(seconds * 1000)
        return True

    def _note_none(self) -> None:
        if not self._until_ms:
            self._none_since_ms = self._clock.now_ms()
