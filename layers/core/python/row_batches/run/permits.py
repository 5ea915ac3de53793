"""Permits to call a target whose registry entry has limits, which hold over all runs in progress.

A target with ``max_concurrency`` 5 has five permits: leases ``slot#0`` to ``slot#4`` of the name ``target#<arn>``. A
call starts only under a permit, and the permit outlives the call: its lease does not end before the longest time that
the call can run, even if the holder dies. A holder is a child of a run. A child with a tool's rows has a permit for
each call in flight, a child with a Standard agent's rows has one.

Permits keep the limit, and shares keep it fair: all runs get the same share, and so do all holders of a run, but none
gets more than it wants. A holder claims permits by a lease ``wants#<execution>#<child>#<rows>``. One query reads all
permits and claims, so shares change within seconds when runs come or go. Permits that do not divide evenly go to
different runs in turn.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from threading import Lock

from foundation.errors import RetryableError
from foundation.ports import Clock, Lease, Leases
from row_batches.document.plan import Plan
from row_batches.run.ownership import CLOCK_SECONDS
from row_batches.run.pace import Allowance

LOGGER = logging.getLogger("batch_processor.permits")
SPARE_SECONDS = 60.0
"""The lease of a worker's permit lasts this much longer than the longest call, and is extended when half of that is
over. After a worker is killed, its permits are free again when their leases end."""
WANTS_SECONDS = 30.0
"""A claim ends after this time, unless the holder renews it."""
RATE_SECONDS = 60.0
"""A Standard agent's run that starts no row for this long gives up its share of the target's rate."""
REFRESH_SECONDS = 3.0
"""A worker looks at its share this often."""
TURN_SECONDS = 30.0
"""Permits that do not divide evenly go to other runs after this time."""
GRACE_SECONDS = 5.0
"""A holder without a permit for this long takes a free one, even beyond its share."""
MOST_LOST_RACES = 20
"""A holder stops looking for free permits after it has lost this many to faster holders."""
UNLIMITED = 1_000_000
AGENT_SPARE_SECONDS = 120.0
"""The lease of a child's permit lasts this much longer than its row's time, for the states around the agent's call."""


MANY_PERMITS = 100
"""A child reads the permits of a target with a higher limit from ``LastHeld``."""


def permits_name(arn: str) -> str:
    """The name of the leases of a target's permits. It has the ARN, so two entries of one target share them."""
    return f"target#{arn}"


def slot_part(number: int) -> str:
    return f"slot#{number}"


def holder_of(execution: str, child: str) -> str:
    """The name of a holder, whose parts have no ``#`` or ``/``. A permit's owner is it, or ``<holder>/<call>``."""
    return f"{execution}#{child}"


def fair_shares(total: int, wants: Mapping[str, int], turn: int) -> dict[str, int]:
    """``total`` divided equally, with no share above what is wanted. ``turn`` decides who gets the remainder."""
    shares = dict.fromkeys(wants, 0)
    names = sorted(wants)
    first = turn % len(names) if names else 0
    hungry = [name for name in names[first:] + names[:first] if wants[name] > 0]
    while total > 0 and hungry:
        each = max(1, total // len(hungry))
        for name in hungry[:total]:
            given = min(each, wants[name] - shares[name])
            shares[name] += given
            total -= given
        hungry = [name for name in hungry if shares[name] < wants[name]]
    return shares


class Claims:
    """The holders of a target's permits, and the claims for more, at one moment."""

    def __init__(self, leases: Iterable[Lease]) -> None:
        self.slots: dict[int, str] = {}
        self.until_ms: dict[str, int] = {}
        """When each claim ends, by the part of its lease."""
        self._wants: dict[str, dict[str, int]] = {}
        for lease in leases:
            kind, _, rest = lease.part.partition("#")
            if kind == "slot":
                self.slots[int(rest)] = lease.owner.partition("/")[0]
            else:
                holder, _, rows = rest.rpartition("#")
                self.until_ms[lease.part] = lease.until_ms
                self.add(holder, int(rows))
        for holder, count in Counter(self.slots.values()).items():
            self.add(holder, count)

    def add(self, holder: str, rows: int) -> None:
        """Add a holder that wants ``rows`` permits."""
        wants = self._wants.setdefault(holder.partition("#")[0], {})
        wants[holder] = max(rows, wants.get(holder, 0))

    @property
    def runs(self) -> int:
        """Runs that call the target now."""
        return len(self._wants)

    def workers(self, execution: str) -> int:
        """Holders of a run."""
        return len(self._wants[execution])

    def share(self, holder: str, limit: int, turn: int) -> int:
        """The holder's share of ``limit`` permits."""
        execution = holder.partition("#")[0]
        of_runs = fair_shares(limit, {name: sum(wants.values()) for name, wants in self._wants.items()}, turn)
        return fair_shares(of_runs[execution], self._wants[execution], turn)[holder]

    def free(self, limit: int) -> list[int]:
        """The numbers of the free permits, in random order, so that holders seldom race for the same one."""
        numbers = [number for number in range(limit) if number not in self.slots]
        random.shuffle(numbers)
        return numbers


def turn_at(now_ms: int) -> int:
    return int(now_ms // (TURN_SECONDS * 1000))


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
        return _at_most(allowance, self._rate.rows_per_minute, self._rate.tokens_per_minute, self._of_rate)

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
        part = f"wants#{self._holder}#{wants}"
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
        self._wants_part = f"wants#{self._holder}#1"

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
        return self._leases.acquire(self._name, self._holder, seconds + AGENT_SPARE_SECONDS, permit)

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
        part, now_ms = f"wants#{holder}#0", self._clock.now_ms()
        claims = Claims(self._last_held.of(self._name, self._limit))
        claims.add(holder, 0)
        rows, tokens = self._rate.rows_per_minute, self._rate.tokens_per_minute
        if claims.until_ms.get(part, 0) - now_ms < RATE_SECONDS * 500:
            seconds = max(RATE_SECONDS, 0 if rows is None else 2 * claims.runs * 60 / rows)
            self._leases.acquire(self._name, holder, seconds, part)
        return _at_most(allowance, rows, tokens, 1 / claims.runs)


def _at_most(allowance: Allowance, rows: float | None, tokens: float | None, part: float) -> Allowance:
    """The allowance with no more than ``part`` of the rates."""
    return allowance._replace(
        rows_per_minute=_lower(allowance.rows_per_minute, rows and rows * part),
        tokens_per_minute=_lower(allowance.tokens_per_minute, tokens and tokens * part),
    )


def _lower(one: float | None, other: float | None) -> float | None:
    given = [rate for rate in (one, other) if rate is not None]
    return min(given, default=None)
