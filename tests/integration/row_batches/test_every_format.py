"""One table as each format, each compression and five files: the same rows to the target, and the same output."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import pytest

from row_batches.document.input_format import InputFormat
from row_batches.document.plan import Plan
from row_batches.files.compression import COMPRESSIONS
from row_batches.files.opening import FORMATS
from row_batches.files.several import NamedFile, open_files
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batches
from row_batches.run.end_messages import AggregateAction, AggregateRequest
from row_batches.run.messages import BatchReference
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.tool_messages import ToolRowsRequest
from tests.support.batches import KEYS, WorkStore, make_plan, sent_items, stage
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeInvoker,
    FakeMetrics,
    FakeOwnership,
    FakeRedrives,
)
from tests.support.tables import PACKERS, WRITERS, Rows

HEADER = ["id", "full name", "note"]
ROWS = [
    ["1", "Ada", 'a "quoted" one, with\ntwo lines'],
    ["007", "Zoë 😀", "C:\\temp\\new"],
    ["3", " spaces ", "null"],
    ["4", "=1+1", "x" * 3_000],
    ["5", "", "1.10"],
]


def echo(payload: bytes, _: float = 0) -> bytes:
    sent = orjson.loads(payload)
    return orjson.dumps({"type": "tool_result", "tool_use_id": sent["id"], "content": {"input": sent["input"]}})


def outcome(files: Mapping[str, bytes]) -> tuple[list[bytes], bytes]:
    """What the target got for each row, and the output."""
    store, clock, invoker = WorkStore(), FakeClock(), FakeInvoker(echo)
    named = [NamedFile(name, len(body), lambda body=body: [body]) for name, body in files.items()]  # type: ignore[misc]
    staging = open_files(named, InputFormat())
    plan: Plan = make_plan(ROWS, HEADER, store=store, threads=1, output_mapping={"columns": []})
    finished = stage(staging, InputFormat(), store, plan.execution)
    staged = plan.staged.model_copy(update={"version_id": finished.version_id, "size_bytes": finished.size_bytes})
    plan = plan.model_copy(
        update={
            "columns": staging.columns,
            "typed_input": staging.typed,
            "total_rows": finished.total_rows,
            "staged": staged,
        }
    )
    store.put(plan.keys.plan, plan.model_dump_json().encode())
    batches = Batches(store, clock)
    process_tool_rows(
        ToolRowsRequest(BatchInput=BatchReference(plan_key=KEYS.plan), Items=sent_items(plan, store)),
        batches=batches,
        invoker=invoker,
        dead_letters=FakeDeadLetters(),
        ownership=FakeOwnership(clock),
        clock=clock,
        deadline=FakeDeadline(),
    )
    aggregate_results(
        AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=KEYS.plan),
        batches=batches,
        dead_letters=FakeDeadLetters(),
        metrics=FakeMetrics(),
        ownership=FakeOwnership(clock),
        redrives=FakeRedrives(),
        clock=clock,
        deadline=FakeDeadline(),
    )
    return sorted(payload for _, payload, _ in invoker.calls), store.objects[KEYS.output]


PACKINGS = [None, *(one.name for one in COMPRESSIONS)]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", [one.name for one in FORMATS])
def test_every_format_and_five_files_of_it_give_the_same_calls_and_the_same_output(
    form: str, packing: str | None
) -> None:
    def written(rows: Rows) -> bytes:
        data = WRITERS[form]([HEADER, *rows])
        return data if packing is None else PACKERS[packing](data)

    expected = outcome({"a.csv": WRITERS["csv"]([HEADER, *ROWS])})

    assert len(expected[0]) == len(ROWS)
    assert outcome({"a": written(ROWS)}) == expected
    assert outcome({f"{number}": written([row]) for number, row in enumerate(ROWS)}) == expected
