"""What a command shows of an execution: progress and result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from tools.executions import Ending, Follower
from tools.progress import clock, line

PLAIN_SECONDS = 10.0
CELL_CHARACTERS = 60


def show_progress(console: Console, follower: Follower) -> Ending:
    """Follow an execution to its end: a bar on a terminal, else a line now and then."""
    return _bar(console, follower) if console.is_terminal else _lines(console, follower)


def _bar(console: Console, follower: Follower) -> Ending:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("rows", total=None, details="starting")
        for ending in follower.follow():
            progress = follower.progress
            left = "" if progress.seconds_left is None else f" · {clock(progress.seconds_left)} left"
            details = f"{progress.failed:,} failed · {progress.rate:,.1f} rows/s{left}"
            bar.update(task, total=progress.total, completed=progress.done, details=details)
            if ending is not None:
                return ending
    raise AssertionError("follow() ends with an ending")


def _lines(console: Console, follower: Follower) -> Ending:
    shown_at, shown = time.monotonic(), ""
    for ending in follower.follow():
        if ending is not None:
            return ending
        text = line(follower.progress)
        if time.monotonic() - shown_at >= PLAIN_SECONDS and text != shown:
            shown_at, shown = time.monotonic(), text
            console.print(text, highlight=False)
    raise AssertionError("follow() ends with an ending")


def money(amount: Any) -> str:
    """US dollars; small amounts with the digits that say something."""
    value = float(amount)
    return f"{value:,.2f} USD" if value >= 1 else f"{value:.6f}".rstrip("0").rstrip(".") + " USD"


def total_cost(document: dict[str, Any]) -> str:
    """The cost in an output document, in words; of a dry run the estimate, from best to worst."""
    cost = document["cost"]
    without_target = "" if cost["target_included"] else " without the target's own cost"
    if "total_usd" in cost:
        return money(cost["total_usd"]) + without_target
    return f"{money(cost['total']['best'])} to {money(cost['total']['worst'])}{without_target}"


def summary(ending: Ending) -> Table:
    """The result of an execution as a table of names and values."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    document = ending.document or {}
    table.add_row("status", str(document.get("status", ending.status)))
    if ending.error:
        table.add_row("error", ending.error)
    for count in ("total_rows", "succeeded", "failed", "timed_out"):
        if count in document:
            table.add_row(count.replace("_", " "), f"{document[count]:,}")
    if "duration_seconds" in document:
        table.add_row("duration", clock(float(document["duration_seconds"])))
    if "cost" in document:
        table.add_row("cost", total_cost(document))
    for name, label in (
        ("output_s3_uri", "output"),
        ("failed_rows_s3_uri", "failed rows"),
        ("summary_s3_uri", "summary"),
    ):
        if document.get(name):
            table.add_row(label, str(document[name]))
    return table


def failures(rows: list[dict[str, str]]) -> Table:
    """Failed rows: their first cell and what went wrong."""
    table = Table(title="First failed rows", title_justify="left", title_style="bold")
    first = next(iter(rows[0]))
    table.add_column(first)
    table.add_column("_error_message", overflow="fold")
    for row in rows:
        table.add_row(shortened(row.get(first) or ""), row.get("_error_message") or "")
    return table


def rows_table(rows: list[dict[str, str]], columns: list[str]) -> Table:
    """Rows of an output as a table, as wide as the console; cells are cut to fit."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="ellipsis", no_wrap=True, max_width=40)
    for row in rows:
        table.add_row(*cells(row, columns))
    return table


def cells(row: dict[str, str], columns: list[str]) -> Iterator[str]:
    """The cells of one row in the order of the columns, each on one line."""
    return (shortened(row.get(column) or "") for column in columns)


def shortened(text: str) -> str:
    """One line of at most CELL_CHARACTERS."""
    flat = " ".join(text.split())
    return flat if len(flat) <= CELL_CHARACTERS else flat[: CELL_CHARACTERS - 1] + "…"
