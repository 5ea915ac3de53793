"""Runs of a tool with fakes around them: their rows are called and put together as by the functions of a deployment."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from row_batches.document.plan import Plan
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batches
from row_batches.run.end_messages import AggregateAction, AggregateRequest, AggregateResponse, EndedRun
from row_batches.run.messages import BatchReference
from row_batches.run.process_tool_rows import process_tool_rows
from row_batches.run.tool_messages import ToolRowsRequest
from row_batches.targets.protocol import Outcome, thrown_error
from tests.support.batches import WorkStore, sent_items
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeDeadline,
    FakeInvoker,
    FakeMetrics,
    FakeOwnership,
    FakeRedrives,
)

SAID: dict[str, Any] = {
    "columns": [{"name": "said", "source": "$.said"}],
    "add_metadata": ["_row_id", "_status", "_error_message"],
}
"""The output mapping for the answers of ``ToolRuns``."""


@dataclass
class ToolRuns:
    """Runs of a tool that says its text in capitals. A text of ``failing`` fails. ``called`` are those of ``work``."""

    store: WorkStore = field(default_factory=lambda: WorkStore(smallest_part=0))
    clock: FakeClock = field(default_factory=FakeClock)
    failing: set[str] = field(default_factory=set)
    called: list[str] = field(default_factory=list)
    letters: FakeDeadLetters = field(default_factory=FakeDeadLetters)

    def answer(self, payload: bytes, _: float) -> bytes | Outcome:
        sent = orjson.loads(payload)
        text = sent["input"]["text"]
        self.called.append(text)
        if text in self.failing:
            return thrown_error("Boom", f"broke at {text}")
        content = {"said": text.upper()}
        return orjson.dumps({"type": "tool_result", "tool_use_id": sent["id"], "content": content})

    def work(self, plan: Plan, *, but: Sequence[str] = (), items: list[dict[str, str]] | None = None) -> None:
        """Run what the map reads, or only ``items``; the children of the texts in ``but`` die."""
        self.called.clear()
        items = [item for item in items or sent_items(plan, self.store) if item["c2"] not in but]
        if not items:
            return
        process_tool_rows(
            ToolRowsRequest(BatchInput=BatchReference(plan_key=plan.keys.plan), Items=items),
            batches=Batches(self.store, self.clock),
            invoker=FakeInvoker(self.answer),
            dead_letters=self.letters,
            ownership=FakeOwnership(self.clock),
            clock=self.clock,
            deadline=FakeDeadline(),
        )

    def ask(
        self,
        plan: Plan,
        action: AggregateAction = AggregateAction.AGGREGATE,
        deadline: FakeDeadline | None = None,
        ended: EndedRun | None = None,
    ) -> AggregateResponse:
        return aggregate_results(
            AggregateRequest(action=action, plan_key=plan.keys.plan, ended=ended),
            batches=Batches(self.store, self.clock),
            dead_letters=self.letters,
            metrics=FakeMetrics(),
            ownership=FakeOwnership(self.clock),
            redrives=FakeRedrives(),
            clock=self.clock,
            deadline=deadline or FakeDeadline(),
        )

    def output(self, plan: Plan, key: str = "") -> list[dict[str, str]]:
        """The rows of the run's output, or of another of its files."""
        body = self.store.objects[key or plan.keys.output].decode()
        return list(csv.DictReader(io.StringIO(body, newline="")))

    def summary(self, plan: Plan) -> dict[str, Any]:
        return dict(orjson.loads(self.store.objects[plan.keys.summary]))
