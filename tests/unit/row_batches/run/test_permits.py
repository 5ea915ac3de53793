"""Permits of a target: its limit is never passed, whatever holders do, and each run gets its share."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import ServiceUnavailableError
from foundation.ports import Lease
from row_batches.document.batch_config import Rate
from row_batches.document.plan import Plan
from row_batches.run.claims import REFRESH_SECONDS, TURN_SECONDS, fair_shares
from row_batches.run.pace import Allowance
from row_batches.run.permits import GRACE_SECONDS, SPARE_SECONDS, Permits
from tests.support.batches import make_plan
from tests.support.fakes import FakeClock, FakeLeases, FakeObjectStore

CALL_SECONDS = 30


@cache
def plan_of(execution: str, limit: int | None, rate: Rate | None = None) -> Plan:
    plan = make_plan([["1", "x"]], store=FakeObjectStore(), execution=execution)
    target = plan.target.model_copy(update={"max_concurrency": limit, "rate": rate})
    return plan.model_copy(update={"target": target, "call_seconds": CALL_SECONDS})


@dataclass
class Holder:
    """A worker with its calls: each ends by itself ``CALL_SECONDS`` after its start at most."""

    permits: Permits
    clock: FakeClock
    wants: int
    is_killed: bool = False
    calls: list[int] = field(default_factory=list)
    lingering: list[int] = field(default_factory=list)
    """Calls that gave no answer, or whose holder was killed: when they end."""

    def refresh(self) -> None:
        if not self.is_killed:
            self.permits.refresh(self.wants, lambda: len(self.calls))

    def start(self) -> None:
        while not self.is_killed and len(self.calls) < min(self.wants, self.permits.allowed()):
            self.calls.append(self.clock.now_ms() + CALL_SECONDS * 1000)

    def end_one(self) -> None:
        if self.calls and not self.is_killed:
            self.calls.pop(0)

    def lose_one(self) -> None:
        if self.calls and not self.is_killed:
            self.lingering.append(self.calls.pop(0))
            self.permits.abandon()

    def kill(self) -> None:
        self.is_killed = True
        self.lingering += self.calls
        self.calls = []

    def pass_time(self) -> None:
        now_ms = self.clock.now_ms()
        self.calls = [end_ms for end_ms in self.calls if end_ms > now_ms]
        self.lingering = [end_ms for end_ms in self.lingering if end_ms > now_ms]


class World:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.clock = FakeClock()
        self.leases = FakeLeases(self.clock)
        self.holders: list[Holder] = []
        self.gone: list[Holder] = []

    def add(self, wants: int = 10, execution: str = "") -> Holder:
        number = len(self.holders) + len(self.gone)
        plan = plan_of(execution or f"run-{number}", self.limit)
        permits = Permits(self.leases, plan, str(number), f"call-{number}", self.clock)
        self.holders.append(Holder(permits, self.clock, wants))
        return self.holders[-1]

    def step(self, seconds: float = REFRESH_SECONDS) -> None:
        """Time passes, everyone looks for its share and calls."""
        self.clock.move(seconds)
        for holder in self.holders:
            holder.pass_time()
            holder.refresh()
            holder.start()

    @property
    def in_flight(self) -> int:
        return sum(len(holder.calls) + len(holder.lingering) for holder in (*self.holders, *self.gone))


@pytest.mark.parametrize("seed", range(60))
def test_the_limit_is_never_passed_whatever_holders_do(seed: int) -> None:
    chosen = random.Random(seed)
    world = World(chosen.randint(1, 6))
    for _ in range(400):
        alive = [holder for holder in world.holders if not holder.is_killed]
        if len(alive) < 2 or (len(alive) < 5 and chosen.random() < 0.02):
            alive.append(world.add(chosen.randint(1, 8)))
        holder = chosen.choice(alive)
        match chosen.choices(["refresh", "start", "end", "lose", "kill", "close", "move"], [8, 8, 2, 2, 0.2, 0.2, 6])[
            0
        ]:
            case "refresh":
                holder.refresh()
            case "start":
                holder.start()
            case "end":
                holder.end_one()
            case "lose":
                holder.lose_one()
            case "kill":
                holder.kill()
            case "close":
                holder.calls = []
                holder.permits.give_back()
                world.holders.remove(holder)
                world.gone.append(holder)
            case "move":
                world.clock.move(chosen.choice([0.5, 1, 3, 3, 5, 20, 40]))
                for other in (*world.holders, *world.gone):
                    other.pass_time()
        assert world.in_flight <= world.limit


def test_runs_share_equally_as_they_come_and_go() -> None:
    world = World(limit=6)
    first = world.add()
    world.step()
    assert len(first.calls) == 6

    second, third = world.add(), world.add()
    for _ in range(15):
        world.step()
    assert [len(holder.calls) for holder in world.holders] == [2, 2, 2]

    second.calls = []
    second.permits.give_back()
    world.holders.remove(second)
    for _ in range(3):
        world.step()
    assert [len(holder.calls) for holder in (first, third)] == [3, 3]


def test_a_run_that_wants_less_than_its_share_leaves_the_rest_to_others() -> None:
    world = World(limit=6)
    modest, other = world.add(wants=1), world.add()

    for _ in range(20):
        world.step()

    assert (len(modest.calls), len(other.calls)) == (1, 5)


def test_a_share_is_that_of_the_run_however_many_workers_it_has() -> None:
    world = World(limit=6)
    alone = world.add(execution="a")
    others = [world.add(execution="b") for _ in range(3)]

    for _ in range(20):
        world.step()

    assert len(alone.calls) == 3
    assert [len(holder.calls) for holder in others] == [1, 1, 1]


def test_more_runs_than_permits_get_their_turn_one_after_the_other() -> None:
    world = World(limit=2)
    calls = [0] * 5
    for _ in range(5):
        world.add(wants=1)

    for _ in range(int(5 * TURN_SECONDS / REFRESH_SECONDS)):
        world.step()
        for number, holder in enumerate(world.holders):
            calls[number] += len(holder.calls)
            holder.end_one()

    assert min(calls) > 0
    assert max(calls) < 3 * min(calls)


def test_permits_of_a_killed_holder_come_back_when_its_calls_have_surely_ended() -> None:
    world = World(limit=4)
    killed, other = world.add(), world.add()
    for _ in range(15):
        world.step()
    killed.kill()

    world.step(CALL_SECONDS - 1)
    assert len(other.calls) <= 2
    for _ in range(int(SPARE_SECONDS / REFRESH_SECONDS) + 2):
        world.step()

    assert len(other.calls) == 4


def test_a_holder_that_is_without_a_permit_takes_a_free_one_beyond_its_share() -> None:
    world = World(limit=1)
    first = world.add()
    second = world.add()
    world.leases.acquire("target#" + plan_of("x", 1).target.arn, "run-0#0", 10_000, "wants#run-0#0#10")
    for holder in (first, second):  # of the two, the one that the turn does not favour
        holder.refresh()
    waiting = next(holder for holder in (first, second) if holder.permits.allowed() == 0)
    favoured = first if waiting is second else second
    favoured.permits.give_back()

    world.clock.move(GRACE_SECONDS)
    waiting.refresh()

    assert waiting.permits.allowed() == 1


def test_without_the_table_calls_go_on_until_their_permits_end() -> None:
    world = World(limit=2)
    holder = world.add()
    holder.refresh()
    held = world.leases.held

    def away(name: str) -> list[Lease]:
        raise ServiceUnavailableError(f"dynamodb:Query on {name} got no answer")

    world.leases.held = away  # type: ignore[method-assign]
    world.clock.move(REFRESH_SECONDS)
    holder.refresh()
    assert holder.permits.allowed() == 2

    world.clock.move(SPARE_SECONDS)
    holder.refresh()
    assert holder.permits.allowed() == 0

    world.leases.held = held  # type: ignore[method-assign]
    world.clock.move(REFRESH_SECONDS)
    holder.refresh()
    assert holder.permits.allowed() == 2


def test_a_target_without_limits_needs_no_lease() -> None:
    world = World(limit=1)
    permits = Permits(world.leases, plan_of("run-1", None), "1", "call", world.clock)

    assert not permits.refresh(30, lambda: 0)

    assert permits.allowed() > 10_000
    assert permits.within(Allowance(30, 60)) == Allowance(30, 60)
    permits.give_back()
    assert world.leases.leases == {}


@pytest.mark.parametrize(
    ("own", "expected"), [({}, Allowance(30, 15, 1_500)), ({"rows_per_minute": 6}, Allowance(30, 6, 1_500))]
)
def test_a_rate_of_the_target_is_shared_by_runs_and_by_their_workers(own: Any, expected: Allowance) -> None:
    clock = FakeClock()
    leases = FakeLeases(clock)
    rate = Rate(rows_per_minute=60, tokens_per_minute=6_000)
    others = [Permits(leases, plan_of("run-1", None, rate), "1", "call", clock)]
    workers = [Permits(leases, plan_of("run-2", None, rate), str(number), "call", clock) for number in range(2)]

    for permits in (*others, *workers):
        permits.refresh(4, lambda: 0)
    clock.move(REFRESH_SECONDS)
    workers[0].refresh(4, lambda: 0)

    assert workers[0].within(Allowance(30, **own)) == expected


def test_workers_that_begin_together_do_not_use_the_rate_of_a_target_several_times() -> None:
    clock = FakeClock()
    leases, plan = FakeLeases(clock), plan_of("run-1", None, Rate(rows_per_minute=60))
    plan = plan.model_copy(update={"concurrency": plan.concurrency.model_copy(update={"children": 4})})
    workers = [Permits(leases, plan, str(number), "call", clock) for number in range(4)]

    def rates() -> list[float]:
        return [permits.within(Allowance(30)).rows_per_minute or 0 for permits in workers]

    assert rates() == [15] * 4, "also before the first look"
    for permits in workers:
        permits.refresh(4, lambda: 0)
        assert rates() == [15] * 4, "the first one has not seen the others"
    for permits in workers[2:]:
        permits.give_back()
    clock.move(REFRESH_SECONDS)
    for permits in workers[:2]:
        permits.refresh(4, lambda: 0)
    assert rates()[:2] == [30, 30]


@given(st.integers(0, 50), st.dictionaries(st.text(max_size=3), st.integers(0, 20), max_size=8), st.integers(0, 10**9))
def test_shares_are_equal_and_waste_nothing(total: int, wants: dict[str, int], turn: int) -> None:
    shares = fair_shares(total, wants, turn)

    assert shares.keys() == wants.keys()
    assert sum(shares.values()) == min(total, sum(wants.values()))
    assert all(shares[name] <= wants[name] for name in wants)
    unsatisfied = [shares[name] for name in wants if shares[name] < wants[name]]
    assert all(share >= max(shares.values()) - 1 for share in unsatisfied)
