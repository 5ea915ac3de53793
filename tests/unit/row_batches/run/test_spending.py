"""Cost and tokens of rows, and the brake at ``stop_after.cost_usd``."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson
import pytest

from foundation.errors import ServiceUnavailableError
from row_batches.document.plan import Concurrency, TargetPrices
from row_batches.rows.records import FinishedRow
from row_batches.rows.work import cost_brake
from row_batches.run.batch import Batches
from row_batches.run.find_missing import find_missing
from row_batches.run.messages import BatchReference
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.runs import Run
from row_batches.run.spending import WorkerSpending
from row_batches.run.tool_messages import ToolRowsRequest
from tests.support.batches import EXECUTION, KEYS, make_plan, records_of, staged_items
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeInvoker,
    FakeLeases,
    FakeObjectStore,
    FakeOwnership,
    FakeRuns,
)

ROWS = [[str(row), f"text {row}"] for row in range(1, 41)]
OUTPUT = {
    "columns": [{"name": "ok", "source": "$.ok"}],
    "include_original": False,
    "add_metadata": ["_row_id", "_attempts", "_input_tokens", "_output_tokens", "_cost_usd"],
}


def answering(usage: dict[str, Any]) -> Any:
    def answer(payload: bytes, _: float = 0) -> bytes:
        sent = orjson.loads(payload)
        answered = {"type": "tool_result", "tool_use_id": sent["id"], "content": {"ok": True}}
        return orjson.dumps({**answered, "metadata": {"usage": usage}})

    return answer


class Workers:
    """Workers of one run. Each call is a process of its own, with the rows of one child."""

    def __init__(self, usage: dict[str, Any], *, children: int = 1, **document: Any) -> None:
        self.store, self.clock, self.runs = FakeObjectStore(), FakeClock(), FakeRuns()
        plan = make_plan(ROWS, store=self.store, threads=1, batch_size=10, **document)
        self.plan = plan.model_copy(update={"concurrency": Concurrency(children=children, threads=1, batch_size=10)})
        self.store.put(KEYS.plan, self.plan.model_dump_json().encode())
        self.runs.start(Run.of_plan(self.plan))
        self.leases = FakeLeases(self.clock)
        self.invoker = FakeInvoker(answering(usage))

    @property
    def ownership(self) -> FakeOwnership:
        return FakeOwnership(self.clock, self.leases, self.runs)

    def run(self, first: int, last: int, ownership: FakeOwnership | None = None) -> None:
        process_tool_rows(
            ToolRowsRequest(BatchInput=BatchReference(plan_key=KEYS.plan), Items=staged_items(ROWS)[first - 1 : last]),
            batches=Batches(self.store, self.clock),
            invoker=self.invoker,
            dead_letters=FakeDeadLetters(),
            ownership=ownership or self.ownership,
            clock=self.clock,
            deadline=FakeDeadline(),
        )

    @property
    def records(self) -> list[dict[str, Any]]:
        keys = [stored.key for stored in self.store.list_objects(KEYS.rows)]
        return [record for key in keys for record in records_of(self.store.objects[key])]

    @property
    def is_stopped(self) -> bool:
        return KEYS.brake in self.store.objects


def test_tokens_and_cost_of_a_row_are_columns_on_request() -> None:
    workers = Workers(
        {"input_tokens": 1200, "output_tokens": 80, "model": "amazon.nova-lite-v1:0"},
        cost_per_call_usd=0.001,
        output_mapping=OUTPUT,
    )

    workers.run(1, 2)

    assert [next(csv.reader(io.StringIO(record["csv"]))) for record in workers.records] == [
        ["true", "1", "1", "1200", "80", "0.0010912"],
        ["true", "2", "1", "1200", "80", "0.0010912"],
    ]


def test_what_is_not_known_is_empty() -> None:
    workers = Workers({}, output_mapping=OUTPUT)

    workers.run(1, 1)

    assert next(csv.reader(io.StringIO(workers.records[0]["csv"]))) == ["true", "1", "1", "", "", ""]


def test_live_counts_have_tokens_and_the_known_cost_of_the_models() -> None:
    workers = Workers({"input_tokens": 10, "output_tokens": 2, "cost_usd": 0.004})

    workers.run(1, 10)
    workers.run(11, 15)

    run = workers.runs.get(EXECUTION)
    assert run is not None
    assert (run.counts.input_tokens, run.counts.output_tokens) == (150, 30)
    assert run.counts.model_usd == pytest.approx(0.06)


@pytest.mark.parametrize(
    ("usage", "registry"),
    [
        ({"cost_usd": 0.01}, {"cost_per_call_usd": 0.0}),
        ({}, {"cost_per_call_usd": 0.01}),
        ({"cost_usd": 0.006}, {"cost_per_call_usd": 0.004}),
        (
            {"input_tokens": 1000, "output_tokens": 1000},
            {"prices": TargetPrices(input_usd_per_million_tokens=2, output_usd_per_million_tokens=8)},
        ),
    ],
    ids=["reported", "calls", "both", "tokens at the registry's prices"],
)
def test_the_brake_is_pulled_when_all_workers_together_have_cost_the_limit(
    usage: dict[str, Any], registry: dict[str, Any]
) -> None:
    workers = Workers(usage, execution_config={"stop_after": {"cost_usd": 0.25}}, **registry)

    for first in (1, 11, 21, 31):
        workers.run(first, first + 9)

    assert workers.is_stopped
    assert len(workers.invoker.calls) == 25  # 25 x 0.01 USD, one row in flight
    assert workers.store.get(KEYS.brake) == orjson.dumps(
        {"reason": "stop_after was reached: echo has cost 0.25 USD", "error": "CostLimitError", "message": ""}
    )


def test_a_worker_among_many_counts_its_rows_at_its_share_of_a_hundredth_of_the_limit() -> None:
    workers = Workers({}, children=4, cost_per_call_usd=0.001, execution_config={"stop_after": {"cost_usd": 2}})
    batch = Batches(workers.store, workers.clock).open(KEYS.plan)
    spending = WorkerSpending(batch, workers.ownership.notes)
    record = {"attempts": 1}

    for _ in range(4):
        spending.add(record)  # type: ignore[arg-type]  # the part that counts
        assert not spending.is_to_be_counted
    spending.add(record)  # type: ignore[arg-type]

    assert spending.is_to_be_counted  # 0.005 = 2 / 100 / 4


def test_a_row_that_ends_while_another_is_counted_is_not_forgotten_or_counted_twice() -> None:
    workers = Workers({}, cost_per_call_usd=0.15, execution_config={"stop_after": {"cost_usd": 0.4}})
    batch = Batches(workers.store, workers.clock).open(KEYS.plan)
    spending = WorkerSpending(batch, workers.ownership.notes)
    row = {"status": "SUCCESS", "attempts": 1, "throttles": 0, "worker_ms": 0, "worker_calls": 0}

    class CountedMeanwhile(dict[str, Any]):
        """A row during whose addition another thread counts the row before it."""

        def __getitem__(self, name: str) -> Any:
            spending.count([FinishedRow([], row, b"")])  # type: ignore[arg-type]  # the part that counts
            return super().__getitem__(name)

    spending.add(row)  # type: ignore[arg-type]
    spending.add(CountedMeanwhile(row))  # type: ignore[arg-type]

    assert not spending.is_over  # 0.30 of 0.40


def test_without_a_limit_no_worker_asks_for_the_cost_of_its_rows() -> None:
    workers = Workers({"cost_usd": 100})

    workers.run(1, 10)

    assert not workers.is_stopped
    assert len([key for key in workers.store.objects if key.startswith(KEYS.rows)]) == 1


def test_rows_that_could_not_be_counted_count_with_the_next_ones() -> None:
    workers = Workers({"cost_usd": 0.01}, cost_per_call_usd=0.0, execution_config={"stop_after": {"cost_usd": 0.15}})
    process = workers.ownership
    workers.runs.broken = ServiceUnavailableError("away")
    workers.run(1, 10, process)

    workers.runs.broken = None
    workers.run(11, 20, process)

    assert workers.is_stopped
    run = workers.runs.get(EXECUTION)
    assert run is not None
    assert run.counts.model_usd == pytest.approx(0.2)


def test_missing_rows_are_not_run_when_the_finished_rows_themselves_have_cost_the_limit() -> None:
    workers = Workers({"cost_usd": 0.01}, cost_per_call_usd=0.0, execution_config={"stop_after": {"cost_usd": 0.05}})
    workers.runs.broken = ServiceUnavailableError("away")
    workers.run(1, 10)
    workers.runs.broken = None
    assert not workers.is_stopped

    found = find_missing(Batches(workers.store, workers.clock).open(KEYS.plan), workers.ownership)

    assert found.missing == 0
    assert workers.store.get(KEYS.brake) == orjson.dumps(
        {"reason": cost_brake(workers.plan).reason, "error": "CostLimitError", "message": ""}
    )
