"""The brake, and the plan that is opened."""

from __future__ import annotations

import logging

import orjson

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
