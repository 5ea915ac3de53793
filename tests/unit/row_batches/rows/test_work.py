"""Brake, markers and the count of failures."""

from __future__ import annotations

import logging

import orjson
import pytest

from row_batches.rows.work import Brake, Work, execution_of
from row_batches.run.batch import Batches
from tests.support.batches import KEYS, make_plan
from tests.support.fakes import FakeClock, FakeObjectStore

BRAKE = Brake("too many failed", "RowFailedError", "")


def make_work() -> tuple[Work, FakeObjectStore, FakeClock]:
    store, clock = FakeObjectStore(), FakeClock()
    return Work(store, KEYS, clock), store, clock


def test_the_brake_is_read_at_most_once_a_second() -> None:
    work, store, clock = make_work()
    for _ in range(5):
        assert work.brake() is None
    clock.move(1.5)
    work.brake()

    assert store.reads == [KEYS.brake] * 2


def test_the_first_reason_of_a_brake_stands() -> None:
    work, store, _ = make_work()
    work.pull_brake(Brake("first", "StoppedError", ""))
    other = Work(store, KEYS, FakeClock())
    other.pull_brake(BRAKE)

    assert other.brake() == Brake("first", "StoppedError", "")
    assert orjson.loads(store.objects[KEYS.brake])["reason"] == "first"


def test_the_limit_of_failures_is_reached_by_the_sum_of_all_workers() -> None:
    work, store, _ = make_work()
    work.count_failures([1, 2], 5, BRAKE)
    Work(store, KEYS, FakeClock()).count_failures([10, 11], 5, BRAKE)
    assert KEYS.brake not in store.objects

    work.count_failures([3], 5, BRAKE)

    assert work.brake() == BRAKE


def test_without_a_limit_failures_are_only_marked() -> None:
    work, store, _ = make_work()
    work.count_failures([4, 5], None, None)

    assert list(store.objects) == [KEYS.failures_marker(4, 2)]


@pytest.mark.parametrize("limit", [50, 1000, 5000])
def test_a_large_limit_is_noticed_soon_after_it_is_reached_with_few_listings(limit: int) -> None:
    work, store, _ = make_work()
    listings = 0
    original = store.list_objects

    def counted(prefix: str, start_after: str = "") -> object:
        nonlocal listings
        listings += 1
        return original(prefix, start_after)

    store.list_objects = counted  # type: ignore[method-assign,assignment]
    row = 0
    while KEYS.brake not in store.objects:
        row += 1
        work.count_failures([row], limit, BRAKE)

    assert limit <= row <= limit * 1.1 + 1
    assert listings <= 200


def test_an_executions_own_log_level_counts_once_its_plan_is_open() -> None:
    store = FakeObjectStore()
    make_plan([], store=store, execution_config={"debug": True})
    logger = logging.getLogger("batch_processor")
    before = logger.level
    try:
        Batches(store, FakeClock()).open(KEYS.plan)
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


def test_the_execution_is_told_by_the_key_of_its_plan() -> None:
    assert execution_of(KEYS.plan) == "run-1"
