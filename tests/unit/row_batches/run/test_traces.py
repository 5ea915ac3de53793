"""Traces: the rows that are in them, their documents, and that no row depends on them."""

from __future__ import annotations

import itertools
import re
from typing import Any

import orjson
import pytest

from foundation.errors import DeploymentError, ServiceUnavailableError
from row_batches.rows.records import RowStatus
from row_batches.run.agent_messages import MapOutputRequest, MapRowsRequest
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batches
from row_batches.run.cost import estimate
from row_batches.run.end_messages import AggregateAction, AggregateRequest
from row_batches.run.map_input import map_rows
from row_batches.run.map_output import map_output
from row_batches.run.messages import BatchReference, CaughtError
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.runs import BestEffort, Run
from row_batches.run.tool_messages import ToolRowsRequest
from row_batches.run.traces import (
    MOST_ANNOTATED_ROWS,
    MOST_TRACE_BYTES,
    Part,
    TracedRow,
    chosen,
    documents_of,
    trace_id,
)
from row_batches.run.xray import AWAY_SECONDS, XraySegments
from row_batches.targets.protocol import Outcome, thrown_error
from tests.support.batches import KEYS, make_plan, staged_items
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeInvoker,
    FakeMetrics,
    FakeObjectStore,
    FakeOwnership,
    FakeRedrives,
    FakeRuns,
    FakeSegments,
    fake_starts,
)

ROWS = [[str(number), f"secret {number}"] for number in range(1, 31)]
FAILING = 25
TRACED: dict[str, Any] = {"enable_xray": True, "retry_policy": {"max_attempts": 1}}
T0 = 1_790_000_000_000


def traced(row: int, ms: int = 10, status: RowStatus = RowStatus.SUCCESS) -> TracedRow:
    parts = (Part("map", T0, T0 + 1), Part("invoke", T0 + 1, T0 + ms), Part("store", T0 + ms, T0 + ms + 5))
    return TracedRow(row, status, 1, 0, parts)


# --- which rows, and their documents


def test_a_trace_holds_the_first_rows_the_slowest_and_all_that_failed_the_failed_ones_first() -> None:
    rows = [traced(row, ms=500 if row == 90 else 10) for row in range(1, 101) if row not in (5, 60)]
    rows += [traced(row, status=RowStatus.FAILED) for row in (60, 5)]

    found = [row.row for row in chosen(rows)]

    assert found[0] == 5
    assert {*range(1, 21), 60, 90} <= set(found)
    assert len(found) == len(set(found)) <= 20 + 10 + 1


def test_documents_stay_within_what_x_ray_guarantees_and_indexes() -> None:
    plan = make_plan(ROWS, store=FakeObjectStore(), execution_config=TRACED)
    trace = trace_id(plan, "1", T0)
    rows = [traced(row, status=RowStatus.FAILED) for row in range(1, 2001)]

    root, *documents = documents_of(plan, trace, T0, T0 + 99, rows)

    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{24}", trace)
    assert int(trace.split("-")[1], 16) == T0 // 1000
    assert 48 < len(documents) < 2000
    assert sum(map(len, documents)) <= MOST_TRACE_BYTES
    parsed = [orjson.loads(document) for document in documents]
    assert sum("annotations" in document for document in parsed) == MOST_ANNOTATED_ROWS
    assert orjson.loads(root)["annotations"] == {"execution": plan.execution.name, "target": "echo"}
    assert orjson.loads(root)["metadata"]["default"] == {"rows": 2000, "failed": 2000, "rows_shown": len(documents)}
    ids = [part["id"] for document in parsed for part in (document, *document["subsegments"])]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[0-9a-f]{16}", name) for name in ids)
    assert {document["parent_id"] for document in parsed} == {orjson.loads(root)["id"]}


# --- a tool


def answer(payload: bytes, _: float = 0) -> bytes | Outcome:
    sent = orjson.loads(payload)
    if sent["input"]["id"] == str(FAILING):
        return thrown_error("Boom", "it broke on secret 25")
    return orjson.dumps({"type": "tool_result", "tool_use_id": sent["id"], "content": sent["input"]})


class World:
    """A batch with fakes around it, X-Ray among them."""

    def __init__(self, invocation: str = "lambda", **config: Any) -> None:
        self.store, self.clock, self.runs = FakeObjectStore(), FakeClock(), FakeRuns()
        self.segments = FakeSegments()
        self.plan = make_plan(ROWS, store=self.store, invocation=invocation, execution_config={**TRACED, **config})
        self.runs.start(Run.of_plan(self.plan))
        self.batches = Batches(self.store, self.clock, segments=self.segments)
        self.notes = BestEffort(self.runs)

    def run_tool(self) -> Any:
        return process_tool_rows(
            ToolRowsRequest(BatchInput=BatchReference(plan_key=KEYS.plan), Items=staged_items(ROWS)),
            batches=self.batches,
            invoker=FakeInvoker(answer),
            dead_letters=FakeDeadLetters(),
            ownership=FakeOwnership(self.clock, runs=self.runs),
            clock=self.clock,
            deadline=FakeDeadline(),
        )

    def summary(self) -> dict[str, Any]:
        aggregate_results(
            AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=KEYS.plan),
            batches=self.batches,
            dead_letters=FakeDeadLetters(),
            metrics=FakeMetrics(),
            ownership=FakeOwnership(self.clock, runs=self.runs),
            redrives=FakeRedrives(),
            clock=self.clock,
            deadline=FakeDeadline(),
        )
        return dict(orjson.loads(self.store.objects[KEYS.summary]))


def test_a_tools_child_writes_one_trace_with_the_failed_row_and_no_cell() -> None:
    world = World()

    world.run_tool()

    root, *rows = world.segments.written
    assert {row["trace_id"] for row in rows} == {root["trace_id"]}
    assert root["fault"] is True
    failed = next(row for row in rows if row["annotations"]["row"] == FAILING)
    assert failed["fault"] is True
    assert [(part["name"], part.get("fault", False)) for part in failed["subsegments"]] == [
        ("map", False),
        ("invoke", True),
        ("store", False),
    ]
    assert set(range(1, 21)) <= {row["annotations"]["row"] for row in rows}
    assert b"secret" not in orjson.dumps(world.segments.written)


def test_the_summary_has_the_count_the_filter_the_link_and_the_price_of_traces() -> None:
    world = World()
    world.run_tool()

    summary = world.summary()

    assert summary["traces"]["count"] == 1
    assert summary["traces"]["filter_expression"] == 'annotation.execution = "run-1"'
    url = summary["traces"]["console_url"]
    assert url.startswith("https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#xray:traces/query")
    assert "(expression~'annotation.execution*20*3d*20*22run-1*22)" in url
    assert summary["cost"]["parts"]["xray"] == 0.000005


def test_a_batch_without_traces_writes_none_and_says_nothing_of_them() -> None:
    world = World(enable_xray=False)
    world.run_tool()

    summary = world.summary()

    assert world.segments.written == []
    assert summary["traces"] is None
    assert "xray" not in summary["cost"]["parts"]


@pytest.mark.parametrize("broken", [DeploymentError("xray:PutTraceSegments was denied"), ServiceUnavailableError("no")])
def test_no_row_fails_for_a_trace_that_is_not_taken_and_the_summary_warns_with_the_reason(broken: Exception) -> None:
    world = World()
    world.segments.broken = broken

    response = world.run_tool()
    summary = world.summary()

    assert (response.succeeded, response.failed) == (29, 1)
    assert summary["traces"]["count"] == 0
    assert any("X-Ray did not take 1 " in warning and str(broken) in warning for warning in summary["warnings"])


def test_nor_for_a_table_of_runs_that_is_away() -> None:
    world = World()
    world.runs.broken = ServiceUnavailableError("no table")
    world.run_tool()
    assert world.summary()["traces"]["count"] is None


def test_the_estimate_has_a_trace_for_each_child() -> None:
    plan = World().plan
    priced = estimate(plan.config, plan.target, plan.concurrency, plan.storage, total_rows=250, staged_bytes=10_000)
    assert priced.parts["xray"].best == pytest.approx(3 * 0.000005)


# --- a Standard agent


def test_the_rows_of_an_agents_child_are_in_the_trace_of_the_round_that_mapped_them() -> None:
    world = World("standard", timeout_seconds=60)
    items = staged_items(ROWS)[:2]
    reference = BatchReference(plan_key=KEYS.plan)

    mapped = map_rows(
        MapRowsRequest(BatchInput=reference, Items=items, Child="child-1"),
        batches=world.batches,
        dead_letters=FakeDeadLetters(),
        notes=world.notes,
        starts=fake_starts(world.clock, runs=world.runs),
        clock=world.clock,
    )
    for row, item in zip(mapped.rows, items, strict=True):
        began = world.clock.now_ms()
        world.clock.move(2)
        failed = row.call.row == 2
        end: dict[str, Any] = {"ErrorOutput": CaughtError(Error="Boom", Cause="{}")} if failed else {}
        map_output(
            MapOutputRequest(
                BatchInput=reference,
                Row=item,
                Call=row.call,
                Began=began / 1000,
                Ended=world.clock.now_ms() / 1000,
                Result=None if failed else {"result": "Success", "data": {"a": 1}, "metadata": {}},
                **end,
            ),
            batches=world.batches,
            dead_letters=FakeDeadLetters(),
            notes=world.notes,
            starts=fake_starts(world.clock, runs=world.runs),
        )

    root, first, second = world.segments.written
    assert (first["annotations"], second["annotations"]) == ({"row": 1}, {"row": 2})
    assert {first["parent_id"], second["parent_id"]} == {root["id"]}
    invoke = first["subsegments"][1]
    assert (invoke["name"], invoke["end_time"] - invoke["start_time"]) == ("invoke", 2)
    assert ("fault" in first, second["fault"]) == (False, True)
    run = world.runs.get(world.plan.execution.name)
    assert run is not None
    assert run.traces.sent == 1


# --- the adapter


class Client:
    """``put_trace_segments`` of boto3."""

    def __init__(self, *answers: Any) -> None:
        self.calls: list[list[str]] = []
        self.answers = itertools.chain(answers, itertools.repeat({}))

    def put_trace_segments(self, TraceSegmentDocuments: list[str]) -> Any:  # noqa: N803
        self.calls.append(TraceSegmentDocuments)
        return next(self.answers)


def test_the_adapter_writes_fifty_documents_a_call() -> None:
    client = Client()
    XraySegments(lambda: client, FakeClock()).put([str(number) for number in range(120)])
    assert [len(call) for call in client.calls] == [50, 50, 20]


def test_after_a_failure_the_adapter_leaves_x_ray_alone_for_a_minute() -> None:
    refusal = {"Id": "a", "ErrorCode": "ThrottledException", "Message": "slower"}
    client, clock = Client({"UnprocessedTraceSegments": [refusal]}), FakeClock()
    sink = XraySegments(lambda: client, clock)
    for _ in range(3):
        with pytest.raises(ServiceUnavailableError, match="ThrottledException: slower"):
            sink.put(["{}"])
    assert len(client.calls) == 1
    clock.move(AWAY_SECONDS)
    sink.put(["{}"])
    assert len(client.calls) == 2
