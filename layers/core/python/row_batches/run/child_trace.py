"""Collects and writes the traces of workers, without ever failing a row; see ``traces``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from foundation.errors import BatchProcessorError
from row_batches.rows.records import FinishedRow
from row_batches.run.batch import Batch
from row_batches.run.runs import BestEffort
from row_batches.run.traces import (
    CallTrace,
    Part,
    SegmentSink,
    TracedRow,
    Traces,
    documents_of,
    is_traced,
    row_document,
    trace_id,
)

MOST_REFUSAL_CHARACTERS = 500


class ChildTrace:
    """Collects the rows of one call of a worker and writes their trace; does nothing unless the batch asks for it.

    Best effort: a trace that cannot be written is noted in the table of runs, and the rows stay as they are.
    ``mapped`` can be called in several threads. Memory: some 500 bytes a row.
    """

    def __init__(self, batch: Batch, notes: BestEffort, child: str) -> None:
        self._sink = batch.segments if batch.plan.config.execution_config.enable_xray else None
        self._plan = batch.plan
        self._clock = batch.work.clock
        self._notes = notes
        self._began_ms = self._clock.now_ms()
        self._trace = trace_id(batch.plan, child, self._began_ms)
        self._mapped: dict[int, Part] = {}
        self._rows: list[TracedRow] = []
        self._rows_follow = False

    def mapped(self, row: int, started_ms: int) -> None:
        """Note that the row is mapped now. Mapping it began at ``started_ms``."""
        if self._sink is not None:
            self._mapped[row] = Part("map", started_ms, self._clock.now_ms())

    def stored(self, finished: Iterable[FinishedRow], started_ms: int) -> None:
        """Note that the rows are written now. Writing them began at ``started_ms``."""
        if self._sink is None:
            return
        stored = Part("store", started_ms, self._clock.now_ms())
        for row in finished:
            if is_traced(row):
                self._rows.append(TracedRow.of(row, self._mapped.pop(row.row, None), stored))

    def of_call(self, row: int) -> CallTrace | None:
        """For the call of an agent, whose row ends in another function, which adds it to this trace."""
        mapped = self._mapped.get(row)
        if mapped is None:
            return None
        self._rows_follow = True
        return CallTrace(id=self._trace, mapped_from_ms=mapped.start_ms, mapped_until_ms=mapped.end_ms)

    def send(self) -> None:
        """Write the trace. There is none without rows."""
        if self._sink is not None and (self._rows or self._rows_follow):
            now_ms = self._clock.now_ms()
            documents = documents_of(self._plan, self._trace, self._began_ms, now_ms, self._rows)
            refused = _put(self._sink, documents)
            self._notes.count_traces(self._plan.execution.name, refused or Traces(sent=1))


def send_row(batch: Batch, notes: BestEffort, trace: CallTrace | None, finished: FinishedRow, started_ms: int) -> None:
    """Write a finished row of an agent into the trace of its child; storing the row began at ``started_ms``."""
    if trace is not None and batch.segments is not None:
        mapped = Part("map", trace.mapped_from_ms, trace.mapped_until_ms)
        traced = TracedRow.of(finished, mapped, Part("store", started_ms, batch.work.clock.now_ms()))
        if refused := _put(batch.segments, [row_document(trace.id, traced)]):
            notes.count_traces(batch.plan.execution.name, refused)


def _put(sink: SegmentSink, documents: Sequence[str]) -> Traces | None:
    """None when all documents are taken."""
    try:
        sink.put(documents)
    except BatchProcessorError as error:
        return Traces(refused=1, refusal=str(error)[:MOST_REFUSAL_CHARACTERS])
    return None
