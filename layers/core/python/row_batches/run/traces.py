"""Traces of a run in X-Ray: which rows a trace holds, and the segment documents that make it.

A worker that calls a target writes one trace for each call of its own, a child of a Standard agent one for each of its
rounds. The trace's root segment is the child. Each row is a subsegment with the parts ``map``, ``invoke`` and
``store``. The trace id is the worker's own, not that of Lambda, so that no sampling rule decides about it. No document
holds a cell, an answer or an error message.

Segment documents: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from heapq import nlargest, nsmallest
from typing import Any, NamedTuple, Protocol, Self

import orjson
from pydantic import ConfigDict

from foundation.lazy_model import LazyModel
from row_batches.document.plan import Execution, Plan
from row_batches.rows.records import FinishedRow, RowStatus

SERVICE = "batch-processor"
"""The name of every root segment, and so of the node in the trace map."""
FIRST_ROWS = 20
SLOWEST_ROWS = 10
MOST_TRACE_BYTES = 95_000
"""X-Ray guarantees 100 KB a trace; up to 500 KB fit when they arrive together
(https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html,
https://repost.aws/knowledge-center/x-ray-trace-quota-error)."""
MOST_ANNOTATED_ROWS = 48
"""X-Ray indexes 50 annotations a trace: those of rows, and ``execution`` and ``target`` of the root
(https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-annotations)."""
MARGIN_MS = 60_000
"""Added to the link's time range before and after the run."""
CONSOLES = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}
CONSOLE = "console.aws.amazon.com"


class SegmentSink(Protocol):
    """The service that traces are written to."""

    def put(self, documents: Sequence[str]) -> None:
        """Write segment documents, once. Raises an error of ``foundation.errors`` when some are not taken."""


class Traces(LazyModel):
    """The counts of a run's traces: those ``sent``, the writes ``refused``, and the reason of the first refusal."""

    model_config = ConfigDict(frozen=True)

    sent: int = 0
    refused: int = 0
    refusal: str = ""


class CallTrace(LazyModel):
    """The trace that an agent's row belongs to, and when the row was mapped, in milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    mapped_from_ms: int
    mapped_until_ms: int


class Part(NamedTuple):
    """A part of a row's way, from start to end in milliseconds since the epoch."""

    name: str
    start_ms: int
    end_ms: int


class TracedRow(NamedTuple):
    """A finished row with the parts of its way, in their order."""

    row: int
    status: RowStatus
    attempts: int
    throttles: int
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, finished: FinishedRow, mapped: Part | None, stored: Part) -> Self:
        """``mapped`` is None for a row that could not be mapped: all of its time is mapping."""
        record = finished.record
        ended_ms = record["started_ms"] + record["duration_ms"]
        parts = [mapped or Part("map", record["started_ms"], ended_ms)]
        if mapped is not None:
            parts.append(Part("invoke", mapped.end_ms, max(mapped.end_ms, ended_ms)))
        return cls(finished.row, record["status"], record["attempts"], record["throttles"], (*parts, stored))

    @property
    def has_failed(self) -> bool:
        return self.status is not RowStatus.SUCCESS

    @property
    def called_ms(self) -> int:
        """How long the row was mapped and invoked."""
        return self.parts[-2].end_ms - self.parts[0].start_ms


def is_traced(finished: FinishedRow) -> bool:
    """Whether the row was run: not one whose answer was taken over, is cached, or is that of an equal row."""
    record = finished.record
    return "origin" not in record and (finished.has_failed or record["attempts"] > 0)


def chosen(rows: Iterable[TracedRow]) -> list[TracedRow]:
    """The rows that a trace holds, the most telling first: the first twenty and the slowest ten, those that failed
    before the others, then the other failed rows."""
    rows = sorted(rows, key=lambda traced: traced.row)
    kept = {traced.row: traced for traced in nsmallest(FIRST_ROWS, rows, key=lambda traced: traced.row)}
    kept |= {traced.row: traced for traced in nlargest(SLOWEST_ROWS, rows, key=lambda traced: traced.called_ms)}
    more = [traced for traced in rows if traced.has_failed and traced.row not in kept]
    return [*sorted(kept.values(), key=lambda traced: (not traced.has_failed, traced.row)), *more]


# --- documents


def trace_id(plan: Plan, child: str, started_ms: int) -> str:
    """``1-<time in 8 hexadecimal digits>-<24 hexadecimal digits>``, the same for the same call of a child."""
    digits = _digits(f"{plan.execution.arn} {child} {started_ms}", 24)
    return f"1-{started_ms // 1000:08x}-{digits}"


def root_document(plan: Plan, trace: str, start_ms: int, end_ms: int, counts: Mapping[str, int]) -> str:
    """The segment of a child. ``counts`` are shown with it."""
    return _document(
        {
            "name": SERVICE,
            "id": _root_id(trace),
            "trace_id": trace,
            **_times(start_ms, end_ms),
            **({"fault": True} if counts.get("failed") else {}),
            "annotations": {"execution": plan.execution.name, "target": plan.target.name},
            "metadata": {"default": dict(counts)},
        }
    )


def row_document(trace: str, traced: TracedRow, *, annotated: bool = True) -> str:
    """The subsegment of a row, below the root of its trace."""
    return _document(
        {
            "name": f"row {traced.row}",
            "id": _digits(f"{trace} {traced.row}", 16),
            "trace_id": trace,
            "parent_id": _root_id(trace),
            "type": "subsegment",
            **_times(traced.parts[0].start_ms, traced.parts[-1].end_ms),
            **({"fault": True} if traced.has_failed else {}),
            **({"annotations": {"row": traced.row}} if annotated else {}),
            "metadata": {"default": {"status": traced.status.value, "attempts": traced.attempts}},
            "subsegments": [_part(trace, traced, part) for part in traced.parts],
        }
    )


def _part(trace: str, traced: TracedRow, part: Part) -> dict[str, Any]:
    failed_here = traced.has_failed and part is traced.parts[-2]  # a row that could not be stored is not finished
    return {
        "name": part.name,
        "id": _digits(f"{trace} {traced.row} {part.name}", 16),
        **_times(part.start_ms, part.end_ms),
        **({"fault": True} if failed_here else {}),
        **({"throttle": True} if part.name == "invoke" and traced.throttles else {}),
    }


def documents_of(plan: Plan, trace: str, start_ms: int, end_ms: int, rows: Sequence[TracedRow]) -> list[str]:
    """The documents of a child's trace: root first, then as many of the ``chosen`` rows as fit into a trace."""
    texts: list[str] = []
    size = 0
    for number, traced in enumerate(chosen(rows)):
        text = row_document(trace, traced, annotated=number < MOST_ANNOTATED_ROWS)
        size += len(text)
        if size > MOST_TRACE_BYTES:
            break
        texts.append(text)
    counts = {"rows": len(rows), "failed": sum(traced.has_failed for traced in rows), "rows_shown": len(texts)}
    return [root_document(plan, trace, start_ms, end_ms, counts), *texts]


def _document(fields: dict[str, Any]) -> str:
    return orjson.dumps(fields).decode()


def _times(start_ms: int, end_ms: int) -> dict[str, float]:
    return {"start_time": start_ms / 1000, "end_time": max(start_ms, end_ms) / 1000}


def _root_id(trace: str) -> str:
    return _digits(trace, 16)


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]


# --- for the summary


def filter_expression(execution: Execution) -> str:
    """Finds the traces of a run (https://docs.aws.amazon.com/xray/latest/devguide/xray-console-filters.html)."""
    return f'annotation.execution = "{execution.name}"'


def console_url(execution: Execution, ended_ms: int) -> str:
    """The traces of a run in the CloudWatch console.

    AWS does not document this form of the address, in which ``*`` and a hexadecimal code represent a character. If it
    stops working, ``filter_expression`` does the same by hand.
    """
    partition, _, region = execution.arn.split(":")[1:4]
    started_ms = int(execution.started_at.timestamp() * 1000)
    start, end = (_iso(moment) for moment in (started_ms - MARGIN_MS, ended_ms + MARGIN_MS))
    query = f"~(query~(expression~'{_escaped(filter_expression(execution))})"
    range_ = f"~context~(timeRange~(end~'{_escaped(end)}~start~'{_escaped(start)})))"
    host = f"{region}.{CONSOLES.get(partition, CONSOLE)}"
    return f"https://{host}/cloudwatch/home?region={region}#xray:traces/query?{query}{range_}"


def _iso(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    codes = [units[place] << 8 | units[place + 1] for place in range(0, len(units), 2)]
    return "".join(_escaped_unit(code) for code in codes)


def _escaped_unit(code: int) -> str:
    if code < 128 and (chr(code).isalnum() or chr(code) in "-_."):
        return chr(code)
    return f"*{code:02x}" if code < 256 else f"**{code:04x}"


def traces_of_run(plan: Plan, traces: Traces | None, ended_ms: int) -> dict[str, object]:
    """Where the traces of a run are, for its output document, and how many; None: not known."""
    return {
        "count": None if traces is None else traces.sent,
        "filter_expression": filter_expression(plan.execution),
        "console_url": console_url(plan.execution, ended_ms),
    }


def trace_warnings(traces: Traces | None) -> list[str]:
    """The warning about traces that were not taken, if there are any."""
    if traces is None or not traces.refused:
        return []
    return [
        f"X-Ray did not take {traces.refused:,} writes of traces. Every row is processed all the same; only its trace "
        f"is missing. The first refusal: {traces.refusal}"
    ]
