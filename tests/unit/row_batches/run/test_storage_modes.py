"""The same rows in each storage mode: the same output, its own cost; and the end of rows that ran inline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from row_batches.document.plan import Storage, StorageMode
from row_batches.rows.partitions import batch_ids_of
from row_batches.rows.records import RowStatus
from row_batches.rows.stores import RowStores
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batch, Batches
from row_batches.run.end_messages import AggregateAction, AggregateRequest, AggregateResponse
from row_batches.run.remap import remap
from row_batches.targets.protocol import Outcome
from tests.support.batches import EXECUTION, KEYS, STARTED_AT, json_of, make_plan
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeMetrics,
    FakeObjectStore,
    FakeOwnership,
    FakeRedrives,
)
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_results_table

ROWS = [[f"{row:04}", f"text, {row}"] for row in range(1, 251)]
FAILED = (7, 120, 250)
MODES = {
    "s3": Storage(),
    "inline": Storage(mode=StorageMode.INLINE),
    "dynamodb": Storage(mode=StorageMode.DYNAMODB, batch_ids=batch_ids_of("echo", EXECUTION, 2)),
    "compressed": Storage(mode=StorageMode.DYNAMODB, batch_ids=batch_ids_of("echo", EXECUTION, 1), compress=True),
}


@pytest.fixture(autouse=True)
def aws() -> Iterator[None]:
    with moto_aws("us-east-1"):
        yield


class World:
    """A run in a mode, with its rows written up to ``last``."""

    def __init__(self, storage: Storage, last: int = len(ROWS)) -> None:
        self.objects, self.clock = FakeObjectStore(smallest_part=0), FakeClock()
        self.letters = FakeDeadLetters()
        client = boto3.client("dynamodb")
        table = make_results_table(client)
        self.stores = RowStores(self.objects, self.clock, lambda: (client, table))
        plan = make_plan(ROWS, store=self.objects).model_copy(update={"storage": storage})
        self.objects.put(KEYS.plan, plan.model_dump_json().encode())
        self.batch = Batch(plan, self.objects, self.clock, self.stores)
        for first in range(1, last + 1, 50):
            self.batch.rows.write([self.finish(row) for row in range(first, min(first + 50, last + 1))])

    def finish(self, row: int) -> Any:
        outcome = Outcome(RowStatus.SUCCESS, {"a": row}, {"a": row})
        if row in FAILED:
            outcome = Outcome(RowStatus.FAILED, error_name="Boom", error_message="Boom: it broke")
        started_ms = int(STARTED_AT.timestamp() * 1000) + row
        return self.batch.finish(
            row, ROWS[row - 1], outcome, row_hash="h", attempts=1, started_ms=started_ms, ended_ms=started_ms + 20
        )

    def aggregate(self, action: AggregateAction = AggregateAction.AGGREGATE) -> AggregateResponse:
        return aggregate_results(
            AggregateRequest(action=action, plan_key=KEYS.plan),
            batches=Batches(self.objects, self.clock, self.stores),
            dead_letters=self.letters,
            metrics=FakeMetrics(),
            ownership=FakeOwnership(self.clock),
            redrives=FakeRedrives(),
            clock=self.clock,
            deadline=FakeDeadline(),
        )

    @property
    def summary(self) -> Any:
        return json_of(self.objects.objects[KEYS.summary])


def test_the_output_has_the_same_bytes_in_every_mode() -> None:
    worlds = {name: World(storage) for name, storage in MODES.items()}

    for world in worlds.values():
        assert world.aggregate().done

    for key in (KEYS.output, KEYS.failed_rows):
        assert len({world.objects.objects[key] for world in worlds.values()}) == 1
    assert [letter["row"] for letter in worlds["dynamodb"].letters.letters] == list(FAILED)
    assert {world.summary["storage"]["mode"] for world in worlds.values()} == {"s3", "inline", "dynamodb"}
    # Another output from the answers that are kept, the same one too.
    document = {"output_mapping": {"columns": [{"name": "n", "source": "$.a"}]}}
    again = {
        name: remap(EXECUTION, document, objects=world.objects, clock=world.clock, stores=world.stores)
        for name, world in worlds.items()
    }
    assert len({worlds[name].objects.objects[remapped.key] for name, remapped in again.items()}) == 1


def test_the_summary_has_what_the_writes_of_the_mode_cost() -> None:
    s3, table = World(MODES["s3"]), World(MODES["dynamodb"])
    for world in (s3, table):
        world.aggregate()

    parts = {name: world.summary["cost"]["parts"] for name, world in (("s3", s3), ("table", table))}
    # 250 items of one unit, three of them in the index as well, and an item for each of the 5 writes.
    units = sum(rows.write_units for rows in table.batch.rows.read())
    assert units == 250 + len(FAILED) + 5
    assert parts["table"]["dynamodb"] - parts["s3"]["dynamodb"] == pytest.approx(
        units * (0.625e-6 + 0.125e-6 / 4), abs=2e-8
    )
    assert parts["s3"]["s3"] - parts["table"]["s3"] == pytest.approx(5 * 5.4e-6, abs=2e-8)


def test_rows_that_ran_inline_are_put_together_when_none_is_missing() -> None:
    world = World(MODES["inline"])

    response = world.aggregate(AggregateAction.FINISH)

    assert (response.done, response.missing) == (True, 0)
    assert response.document is not None
    assert response.document["succeeded"] == len(ROWS) - len(FAILED)


def test_rows_that_are_missing_inline_are_staged_for_their_second_pass_first() -> None:
    world = World(MODES["inline"], last=200)

    response = world.aggregate(AggregateAction.FINISH)

    assert (response.missing, response.document) == (50, None)
    assert response.missing_input is not None
    assert KEYS.output not in world.objects.objects
