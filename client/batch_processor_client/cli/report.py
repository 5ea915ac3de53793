"""Prints the progress and the results of executions."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from batch_processor_client.cli.tables import Column, FittedTable
from batch_processor_client.executions import Ending
from batch_processor_client.files import Transfer
from batch_processor_client.guesses import FileHeader, Guess
from batch_processor_client.progress import Progress, clock, held_up, money
from batch_processor_client.remap import Remap
from batch_processor_client.retry import Retry
from batch_processor_client.rows import RowPage
from batch_processor_client.stop import Stage, Stop
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS, METADATA_COLUMNS
from row_batches.mapping.models import RESULT_COLUMN
from row_batches.rows.records import RowStatus
from row_batches.run.blanks import Unmatched
from row_batches.run.runs import Approval, Run
from row_batches.run.trial_forecast import Forecast
from row_batches.run.trial_report import TrialReport, WholeRun

PLAIN_SECONDS = 10.0
STARTING = "checking the input"
FINISHING = "writing the output"
CELL_CHARACTERS = 60
COLUMNS_SHOWN = 6
LEAST_WIDTH = 10
WHOLE = ("_row_id", "_status")
"""Columns that are never cut."""
COPIES = {"COPIED": "copied to", "TRIED": "will copy to"}
"""The text for a copy, by its status. A copy that failed is a warning."""
COUNTS = {"succeeded": RowStatus.SUCCESS, "failed": RowStatus.FAILED, "timed out": RowStatus.TIMEOUT}


def show_progress(console: Console, following: Iterable[Progress]) -> Ending:
    """Follow an execution to its end, whatever it asks on the way."""
    ending = show_progress_to_question(console, following, None)
    assert isinstance(ending, Ending)
    return ending


def show_progress_to_question(
    console: Console, following: Iterable[Progress], answered: Container[str] | None
) -> Ending | Approval:
    """Follow an execution to its end, or to the question of a run that waits for an approval and is not ``answered``.

    Shows a progress bar on a terminal, otherwise a line from time to time. ``answered`` are the tokens of such
    questions; None: all. Afterwards, ``following`` can be shown further.
    """
    for progress in (_bar if console.is_terminal else _lines)(console, following):
        if progress.ending is not None:
            return progress.ending
        approval = progress.approval
        if approval is not None and answered is not None and approval.token not in answered:
            return approval
    raise AssertionError("follow() ends with an ending")


class _Bar(Bar):
    """A bar with its details in the lines below, so that they have room on any terminal."""

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield self.make_tasks_table([task])
            yield Text(task.fields["details"], no_wrap=False, overflow="fold")


def _bar(console: Console, following: Iterable[Progress]) -> Iterator[Progress]:
    """Show each progress in a bar, then yield it."""
    columns = (BarColumn(bar_width=30), TextColumn("{task.fields[rows]}"), TimeElapsedColumn())
    warned: set[str] = set()
    with _Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("rows", total=None, rows=STARTING, details="")
        for progress in following:
            _warn(console, progress.empty, warned)
            if progress.total is not None:
                details = " · ".join(details_of(progress))
                bar.update(
                    task, total=progress.total, completed=progress.done, rows=rows_done(progress), details=details
                )
            yield progress


@contextmanager
def uploading(console: Console, size_bytes: int) -> Iterator[Transfer | None]:
    """Show how far an upload of so many bytes is, in a bar; nothing where there is no terminal."""
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("uploading"), BarColumn(bar_width=30), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=size_bytes)
        yield Transfer(lambda sent: bar.advance(task, sent))


def _lines(console: Console, following: Iterable[Progress]) -> Iterator[Progress]:
    """Print a line from time to time, and yield each progress."""
    shown_at, shown = time.monotonic(), ""
    warned: set[str] = set()
    for progress in following:
        yield progress
        _warn(console, progress.empty, warned)
        text = line(progress)
        if time.monotonic() - shown_at >= PLAIN_SECONDS and text != shown:
            shown_at, shown = time.monotonic(), text
            console.print(text, markup=False, highlight=False)


def rows_done(progress: Progress) -> str:
    """How many of the rows are done."""
    return f"{progress.done:,} of {progress.total:,} rows done"


def details_of(progress: Progress) -> list[str]:
    """The progress beside the number of rows that are done."""
    details = [f"{progress.failed:,} failed"]
    is_done = progress.total is not None and progress.done == progress.total
    if not is_done:
        if progress.in_flight is not None:
            details.append(f"{progress.in_flight:,} in flight")
        details.append(f"{progress.rows_per_second:,.1f} rows/s")
    if progress.cost_usd is not None:
        details.append(f"about {money(progress.cost_usd)} so far")
    if progress.tokens:
        details.append(f"{progress.tokens:,} tokens")
    if is_done:
        details.append(FINISHING)
    elif progress.seconds_left is not None:
        details.append(f"{clock(progress.seconds_left)} left")
    return details + progress.notes


def line(progress: Progress) -> str:
    """The progress as one plain line, for an output that is not a terminal."""
    if progress.total is None:
        return STARTING
    return ", ".join([rows_done(progress), *details_of(progress)])


def _warn(console: Console, empty: Iterable[Unmatched], warned: set[str]) -> None:
    """Print once for each column that it is mostly empty so far. The warnings of the result have the final counts."""
    for column in empty:
        if column.column not in warned:
            warned.add(column.column)
            console.print(f"warning so far: {column.warning}", markup=False, highlight=False)


def total_cost(document: dict[str, Any]) -> str:
    """The cost in an output document as text; for a dry run, the estimate from best to worst."""
    cost = document["cost"] if "cost" in document else document["estimate"]
    without_target = "" if cost["target_included"] else " without the target's own cost"
    if "total_usd" in cost:
        return money(cost["total_usd"]) + without_target
    return f"{money(cost['total']['best'])} to {money(cost['total']['worst'])}{without_target}"


def summary(
    ending: Ending, warnings: Iterable[str] = (), extracted: Iterable[str] = (), saved: Iterable[str] = ()
) -> str:
    """The result of an execution, one name and value a line. Addresses are not wrapped, so that they can be copied."""
    document = ending.document or {}
    lines = [("status", str(document.get("status", ending.status)))]
    if ending.error:
        lines.append(("error", ending.error))
    counts = ("total_rows", "succeeded", "resumed", "failed", "timed_out")
    lines += [(count.replace("_", " "), f"{document[count]:,}") for count in counts if count in document]
    for count, label in (("not_attempted", "not started"), ("skipped", "skipped")):
        if document.get(count):
            lines.append((label, f"{document[count]:,}"))
    if "duration_seconds" in document:
        lines.append(("duration", clock(float(document["duration_seconds"]))))
    lines += [(name, total_cost(document)) for name in ("cost", "estimate") if name in document]
    lines += [("saved", text) for text in saved]
    if "estimate" in document:
        lines += [("assumed", text) for text in document["estimate"]["assumptions"]]
    if "storage" in document:
        lines.append(("storage", f"{document['storage']['mode']} ({document['storage']['reason']})"))
    if document.get("trial"):
        lines.append(("trial", document["trial"]["trial_report_s3_uri"]))
    objects = ("output", "failed_rows", "summary")
    lines += [(name.replace("_", " "), document[f"{name}_s3_uri"]) for name in objects if f"{name}_s3_uri" in document]
    lines += [(name, address) for name, address in document.get("outputs", {}).items() if name != "csv"]
    delivery = document.get("delivery")
    if delivery and delivery["status"] in COPIES:
        lines.append((COPIES[delivery["status"]], delivery["s3_uri"]))
    if document.get("traces"):
        lines.append(("traces", document["traces"]["console_url"]))
    lines += [("extracted", text) for text in extracted]
    lines += [("warning", warning) for warning in warnings]
    width = max(12, *(len(name) for name, _ in lines))
    return "\n".join(f"{name:<{width}} {value}" for name, value in lines)


def saved_lines(savings: dict[str, Any]) -> list[str]:
    """For each setting that saves calls of the target, their number and price, from a run's summary."""
    return [
        f"{saved['calls']:,} calls by {name}" + ("" if saved["usd"] is None else f", {money(saved['usd'])}")
        for name, saved in savings.items()
    ]


def extraction_lines(extraction: dict[str, Any]) -> list[str]:
    """For each extracted field, the number of rows that have it from each method, from a run's summary."""
    missing = extraction.get("missing", {})
    methods = extraction.get("methods", {})
    lines = []
    for field in dict.fromkeys([*methods, *missing]):
        counts = [f"{count:,} by {method}" for method, count in methods.get(field, {}).items()]
        counts += [f"missing in {missing[field]:,}"] if field in missing else []
        lines.append(f"{field}: {', '.join(counts)}")
    return lines


def stop_lines(stop: Stop, grace_seconds: float) -> list[str]:
    """A stage of a stop as text."""
    match stop.stage:
        case Stage.ENDED_BEFORE if stop.ending:
            return [f"It has ended already: {stop.ending.status}.", *_stopped(stop.ending)]
        case Stage.ENDED if stop.ending:
            return _stopped(stop.ending)
        case Stage.BRAKED:
            seconds = f"{grace_seconds:.0f} s"
            return [f"No new row is started. Waiting up to {seconds} for the rows in flight and the output."]
        case Stage.OVERDUE:
            return [f"It still runs after {grace_seconds:.0f} s: stopping it now."]
        case Stage.STOPPED:
            return ["Stopped. Waiting for the output of the rows that were finished."]
        case Stage.WRITTEN:
            return [f"Output: {stop.output_s3_uri}"]
    return [f"No output yet. It is written when the rows in flight have ended: {stop.output_s3_uri}"]


def _stopped(ending: Ending) -> list[str]:
    """The result of an execution that ended by itself."""
    document = ending.document or {}
    if not document.get("output_s3_uri"):
        return [ending.cause or "It left no output."]
    labels = {"succeeded": "succeeded", "failed": "failed", "timed_out": "timed out", "not_attempted": "not started"}
    counts = [f"{document.get(name, 0):,} {label}" for name, label in labels.items()]
    if document.get("skipped"):
        counts.append(f"{document['skipped']:,} skipped")
    return [
        f"{ending.status}: {', '.join(counts)} of {document.get('total_rows', 0):,} rows.",
        f"Output: {document['output_s3_uri']}",
    ]


def remapped(console: Console, done: Remap) -> None:
    """Print the first rows, the counts and the addresses of a new output."""
    new = done.remapped
    if new.first_rows:
        console.print(rows_table(new.first_rows, ["_row_id", *new.columns[:COLUMNS_SHOWN], "_status"]))
    lines = [("total rows", f"{new.total_rows:,}")]
    lines += [(name, f"{new.counts[status]:,}") for name, status in COUNTS.items()]
    if new.unfinished:
        lines.append(("unfinished", f"{new.unfinished:,} of the failed: no worker finished them"))
    for column, casts in new.cast_failures.items():
        text = f"{casts.count:,} cells of {column}, which have their default; the first is {casts.sample}"
        lines.append(("cast failed", text))
    lines += [("warning", warning) for warning in new.warnings]
    lines.append(("output", done.output_s3_uri))
    lines += [(name, address) for name, address in new.outputs.addresses.items() if name != "csv"]
    if new.delivered is not None and not new.delivered.failure:
        lines.append(("copied to", new.delivered.theirs))
    for name, value in lines:
        console.print(f"{name:<12} {value}", markup=False, highlight=False)


def show_causes(console: Console, found: Iterable[dict[str, Any]]) -> None:
    """Print ``failures_by_cause`` of a summary: why rows failed, and what to do."""
    show_lines(console, ["Why rows failed:"])
    for cause in found:
        lines = cause_lines(cause["count"], cause["error"], cause["message"], cause["rows"], [cause["cure"]])
        show_lines(console, lines)


def show_lines(console: Console, lines: Iterable[str]) -> None:
    """Print lines of prose. On a terminal, a long one goes on below its own beginning."""
    for text in lines:
        shown = text
        if console.is_terminal:
            indent = text[: len(text) - len(text.lstrip(" "))]
            shown = textwrap.fill(text, console.width, subsequent_indent=indent, break_on_hyphens=False)
        console.print(shown, markup=False, highlight=False)


def cause_lines(count: int, error: str, message: str, rows: Sequence[int], advice: Iterable[str]) -> list[str]:
    """A cause as text: how many rows, why, the first of them, and what to do."""
    said = f"{error}: {message}".strip(": ")
    more = ", …" if count > len(rows) else ""
    first = [f"      rows {', '.join(map(str, rows))}{more}"] if rows else []
    return [f"{count:>5,} × {said}", *first, *(f"      {text}" for text in advice)]


def run_again_lines(done: Retry, environment: str, changes: Mapping[str, Any] | None = None) -> list[str]:
    """What a retry, or a heal with these changed settings, runs or would run again, and what follows from it."""
    changed = f" with {json.dumps(changes)}" if changes else ""
    rows = f"{done.rows:,} of {done.total_rows:,} rows of {done.retried}"
    if done.dry_run:
        price = f"{money(done.estimate['best_usd'])} to {money(done.estimate['worst_usd'])}"
        said = f"{rows} would run again as {done.execution}{changed}, for {price}. Nothing was started."
        return [said, *done.warnings]
    follow = f"Follow it: make run ENV={environment} FOLLOW={done.execution}"
    return [f"{rows} run again as {done.execution}{changed}.", *done.warnings, follow]


def trial(console: Console, report: TrialReport) -> None:
    """Print the report of a trial: answers, failures, times and cost of its rows, and the forecast for all rows."""
    mapped = report.columns[:COLUMNS_SHOWN]
    columns = [Column("row"), Column("status"), *_cut(mapped)]
    failed = any(error for *_, error in report.answers)
    if failed:
        columns.append(Column("error", least=LEAST_WIDTH))
    console.print(
        FittedTable(
            columns,
            (
                [row, status, *map(shortened, cells[: len(mapped)]), *([shortened(error)] if failed else [])]
                for row, status, *cells, error in report.answers
            ),
        )
    )
    lines = [("trial", f"{report.finished:,} of {report.total_rows:,} rows, {report.succeeded:,} successful")]
    if report.row_seconds is not None:
        times = report.row_seconds
        lines.append(("time a row", f"median {times.median:,.1f} s, 90 % within {times.p90:,.1f} s"))
    if report.row_tokens is not None:
        tokens = report.row_tokens
        mean = f"{tokens['input_tokens']:,.0f} in, {tokens['output_tokens']:,.0f} out"
        lines.append(("tokens a row", f"{mean} (mean)"))
    if report.row_cost_usd is not None:
        lines.append(("cost a row", f"{money(report.row_cost_usd)} (mean)"))
    if report.whole is not None:
        lines += _whole(report.whole)
    for name, value in lines:
        console.print(f"{name:<12} {value}", markup=False, highlight=False)
    if report.failures_by_cause:
        show_causes(console, report.failures_by_cause)


def _whole(whole: WholeRun) -> list[tuple[str, str]]:
    """The lines about the whole run, and where they come from."""

    def shown(forecast: Forecast, text: Callable[[float], str]) -> str:
        return f"{text(forecast.expected)} ({text(forecast.low)} to {text(forecast.high)})"

    without = "" if whole.target_included else ", without the target's own cost"
    lines = [
        (f"all {whole.rows:,}", f"time {shown(whole.seconds, clock)}"),
        ("", f"cost {shown(whole.cost_usd, money)}{without}"),
        ("", f"failed rows {shown(whole.failed_rows, lambda rows: f'{rows:,.0f}')}"),
    ]
    return [*lines, *(("basis" if not number else "", text) for number, text in enumerate(whole.basis))]


def failures(rows: list[dict[str, str]]) -> FittedTable:
    """Failed rows: their first cell and the error message."""
    first = next(iter(rows[0]))
    return FittedTable(
        [Column(first, least=LEAST_WIDTH), Column("_error_message", least=LEAST_WIDTH, folds=True)],
        ([shortened(row.get(first) or ""), row.get("_error_message") or ""] for row in rows),
    )


def rows_table(rows: list[dict[str, str]], columns: list[str]) -> FittedTable:
    """Rows of an output as a table that fits the console: number and status are whole, other long cells are cut."""
    fitted = [Column(one.title) if one.title in WHOLE else one for one in _cut(columns)]
    return FittedTable(fitted, (list(cells(row, columns)) for row in rows))


def _cut(columns: Sequence[str]) -> list[Column]:
    """Columns whose cells can be cut; the last of them go first."""
    return [Column(column, least=LEAST_WIDTH, rank=rank) for rank, column in enumerate(columns)]


def page_table(page: RowPage) -> FittedTable:
    """Rows as a table: their number, first column, last columns (the new ones come last) and status."""
    names = [name for name in (page.rows[0].values if page.rows else ()) if name not in METADATA_COLUMNS]
    shown = names if len(names) <= COLUMNS_SHOWN else [names[0], *names[1 - COLUMNS_SHOWN :]]
    rows = [{**row.values, "_row_id": str(row.row), "_status": row.status.value} for row in page.rows]
    return rows_table(rows, ["_row_id", *shown, "_status"])


def finished_table(page: RowPage) -> FittedTable:
    """Finished rows with their values as JSON, or the error for which they failed."""
    rows = []
    for row in page.rows:
        values = {name: value for name, value in row.values.items() if not name.startswith("_")}
        rows.append([f"{row.row:,}", row.status.value, row.error or json.dumps(values, ensure_ascii=False)])
    columns = [Column("row", right=True), Column("status"), Column("values or error", least=LEAST_WIDTH, folds=True)]
    return FittedTable(columns, rows)


def guess_lines(guess: Guess, header: FileHeader) -> list[str]:
    """What a guessed document sends and writes, and the document, to keep and change."""
    lines = [f"{'target':<12} {guess.document['target']['name']}"]
    lines += [f"{'field':<12} {field} from column {column}" for field, column in guess.fields.items()]
    own = [column for column in header.columns if column not in DEFAULT_METADATA_COLUMNS]
    replaced = [column for column in header.columns if column in DEFAULT_METADATA_COLUMNS]
    if not guess.fields:
        lines.append(f"{'fields':<12} {', '.join(own)}: each column under its own name")
        if replaced:
            lines.append(f"{'not sent':<12} {', '.join(replaced)}: as in an earlier output, which the new one replaces")
    if guess.unused:
        lines.append(f"{'not sent':<12} {', '.join(guess.unused)}")
    if guess.missing:
        lines.append(f"{'no column':<12} {', '.join(guess.missing)}: optional")
    lines += [f"{'column':<12} {name} from {path} of the answer" for name, path in guess.columns.items()]
    if not guess.columns and guess.output_schema:
        lines.append(f"{'columns':<12} those of the schema {guess.output_schema}")
    elif not guess.columns:
        lines.append(f"{'column':<12} {RESULT_COLUMN}: the whole answer as JSON, because the target declares no output")
    lines.append(f"{'document':<12} {json.dumps(guess.document, ensure_ascii=False)}")
    if not header.has_rows:
        lines.append(f"{'warning':<12} The file has a header and no rows.")
    return lines


def cells(row: dict[str, str], columns: list[str]) -> Iterator[str]:
    """The cells of one row in the order of the columns, each on one line."""
    return (shortened(row.get(column) or "") for column in columns)


def shortened(text: str) -> str:
    """One line of at most CELL_CHARACTERS."""
    flat = " ".join(text.split())
    return flat if len(flat) <= CELL_CHARACTERS else flat[: CELL_CHARACTERS - 1] + "…"


RUN_COLUMNS = (
    Column("run", least=16, folds=True),
    Column("state"),
    Column("rows", right=True),
    Column("failed", right=True),
    Column("started", rank=1),
    Column("cost", right=True, rank=2),
    Column("target", rank=3),
    Column("duration", rank=4),
)


def run_table(runs: Iterable[Run]) -> FittedTable:
    """Runs, one a line. A narrow terminal has no duration, then no target and no cost."""
    return FittedTable(RUN_COLUMNS, map(_run_cells, runs))


def _run_cells(run: Run) -> list[str]:
    unsuccessful = run.counts.failed + run.counts.timed_out
    ended = run.ended_at or datetime.now(UTC)
    return [
        run.execution,
        run.shown_state,
        f"{run.counts.succeeded + unsuccessful:,} of {run.total_rows:,}",
        f"{unsuccessful:,}",
        f"{run.started_at.astimezone():%Y-%m-%d %H:%M}",
        "" if run.cost_usd is None else money(run.cost_usd),
        run.target,
        clock((ended - run.started_at).total_seconds()),
    ]


def status_lines(run: Run) -> list[str]:
    """The state of a run, one name and value a line."""
    counts = run.counts
    lines = [
        ("run", run.execution),
        ("status", run.shown_state),
        *([("error", run.error)] if run.error else []),
        ("target", f"{run.target} version {run.target_version}"),
        ("total rows", f"{run.total_rows:,}"),
        ("succeeded", f"{counts.succeeded:,}"),
        ("failed", f"{counts.failed:,}"),
        ("timed out", f"{counts.timed_out:,}"),
        *([("not started", f"{counts.not_attempted:,}")] if counts.not_attempted else []),
        ("started", f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}"),
        *([("ended", f"{run.ended_at.astimezone():%Y-%m-%d %H:%M:%S}")] if run.ended_at else []),
        *([("cost", money(run.cost_usd))] if run.cost_usd is not None else []),
        ("estimate", money(run.estimate_usd)),
        *(("note", note) for note in held_up(run, datetime.now(UTC))),
        *(("warning", warning) for warning in run.warnings),
    ]
    return [f"{name:<12} {value}" for name, value in lines]
