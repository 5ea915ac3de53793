"""What a command shows of an execution."""

from __future__ import annotations

import io
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console, RenderableType

from batch_processor_client.cli import report
from batch_processor_client.executions import Ending
from batch_processor_client.progress import Progress, money
from batch_processor_client.remap import Remap
from batch_processor_client.rows import Row, RowPage
from row_batches.rows.records import RowStatus
from row_batches.run.delivery import Delivered
from row_batches.run.formats import Written
from row_batches.run.remap import Remapped
from row_batches.run.runs import Counts, Run, RunState
from row_batches.run.totals import CastFailures

DOCUMENT: dict[str, Any] = {
    "status": "SUCCEEDED_WITH_FAILURES",
    "output_s3_uri": "s3://results/results/x/output.csv",
    "failed_rows_s3_uri": "s3://results/results/x/failed_rows.csv",
    "summary_s3_uri": "s3://results/results/x/summary.json",
    "total_rows": 2000,
    "succeeded": 1990,
    "failed": 9,
    "timed_out": 1,
    "duration_seconds": 75.2,
    "cost": {"total_usd": 0.0123, "target_included": False},
}


def shown(renderable: RenderableType, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_result_has_status_counts_duration_and_addresses() -> None:
    assert report.summary(Ending(status="SUCCEEDED", document=DOCUMENT)).splitlines() == [
        "status       SUCCEEDED_WITH_FAILURES",
        "total rows   2,000",
        "succeeded    1,990",
        "failed       9",
        "timed out    1",
        "duration     1 min 15 s",
        "cost         0.0123 USD without the target's own cost",
        "output       s3://results/results/x/output.csv",
        "failed rows  s3://results/results/x/failed_rows.csv",
        "summary      s3://results/results/x/summary.json",
    ]


def test_the_result_of_a_run_that_went_on_with_another_has_the_rows_taken_over() -> None:
    lines = report.summary(Ending(status="SUCCEEDED", document={**DOCUMENT, "resumed": 1500})).splitlines()
    assert lines[2:4] == ["succeeded    1,990", "resumed      1,500"]


def test_the_result_of_a_traced_run_has_the_link_to_its_traces() -> None:
    traces = {"count": 2, "filter_expression": 'annotation.execution = "x"', "console_url": "https://console/x"}
    lines = report.summary(Ending(status="SUCCEEDED", document={**DOCUMENT, "traces": traces})).splitlines()
    assert lines[-1] == "traces       https://console/x"


def test_the_result_has_the_calls_that_were_saved_and_their_price() -> None:
    lines = report.saved_lines({"deduplicate": {"calls": 4_569, "usd": 4.569}, "cache_days": {"calls": 0, "usd": None}})
    assert lines == ["4,569 calls by deduplicate, 4.57 USD", "0 calls by cache_days"]
    said = report.summary(Ending(status="SUCCEEDED", document=DOCUMENT), saved=lines).splitlines()
    assert [line for line in said if line.startswith("saved ")] == [f"saved        {line}" for line in lines]
    assert report.saved_lines({}) == []


def test_the_result_has_the_methods_by_which_fields_were_extracted() -> None:
    extraction = {
        "methods": {"speed": {"structured_output": 1_980, "tool_result": 10}},
        "missing": {"speed": 2, "town": 9},
    }
    lines = report.extraction_lines(extraction)
    assert lines == ["speed: 1,980 by structured_output, 10 by tool_result, missing in 2", "town: missing in 9"]
    ending = Ending(status="SUCCEEDED", document=DOCUMENT)
    assert report.summary(ending, extracted=lines).splitlines()[-1] == "extracted    town: missing in 9"
    assert report.extraction_lines({}) == []


def test_the_result_of_a_stopped_run_has_the_rows_that_were_not_started() -> None:
    lines = report.summary(
        Ending(status="FAILED", error="StoppedError", document={**DOCUMENT, "not_attempted": 1200})
    ).splitlines()
    assert lines[:2] == ["status       SUCCEEDED_WITH_FAILURES", "error        StoppedError"]
    assert "not started  1,200" in lines


def test_the_result_of_a_dry_run_has_the_estimate_and_the_warnings() -> None:
    estimate = {"total": {"best": 0.5, "worst": 1.5}, "target_included": True, "assumptions": ["best: at 0.2 s a call"]}
    storage = {"mode": "inline", "reason": "auto: 2 rows fit into the payload of the state machine"}
    document = {"status": "DRY_RUN", "total_rows": 2, "estimate": estimate, "storage": storage}
    assert report.summary(
        Ending(status="SUCCEEDED", document=document), ["1 row is in flight at most."]
    ).splitlines() == [
        "status       DRY_RUN",
        "total rows   2",
        "estimate     0.5 USD to 1.50 USD",
        "assumed      best: at 0.2 s a call",
        "storage      inline (auto: 2 rows fit into the payload of the state machine)",
        "warning      1 row is in flight at most.",
    ]


def test_an_execution_without_a_document_shows_its_error() -> None:
    summary = report.summary(Ending(status="FAILED", error="InvalidInputError", cause="1 problem"))
    assert summary.splitlines() == ["status       FAILED", "error        InvalidInputError"]


def test_rows_fit_into_100_columns() -> None:
    rows = [{"a": "word " * 50, "b": "two\nlines", "c": "x" * 300}]
    lines = shown(report.rows_table(rows, ["a", "b", "c"])).splitlines()
    assert max(map(len, lines)) <= 100
    assert any("two lines" in line for line in lines)


def test_causes_are_shown_with_what_to_do() -> None:
    cause = {"id": "Boom-1", "error": "Boom", "message": "no [x]", "count": 1200, "rows": [3, 7], "cure": "Fix it."}
    other = {"id": "other", "error": "other", "message": "", "count": 2, "rows": [], "cure": "See."}
    console = Console(file=io.StringIO(), width=30)
    report.show_causes(console, [cause, other])
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "Why rows failed:",
        "1,200 × Boom: no [x]",
        "      rows 3, 7, …",
        "      Fix it.",
        "    2 × other",
        "      See.",
    ]


def test_failed_rows_are_shown_with_their_messages() -> None:
    text = shown(report.failures([{"id": "7", "_error_message": "ValueError: no number"}]))
    assert "id" in text
    assert "ValueError: no number" in text


def test_brackets_in_names_and_cells_are_no_markup() -> None:
    assert "[red] [/x]" in shown(report.rows_table([{"[b]": "[red] [/x]"}], ["[b]"]))
    assert "[/error] in [1]" in shown(report.failures([{"[id]": "[7]", "_error_message": "[/error] in [1]"}]))


@pytest.mark.parametrize(
    ("amount", "text"), [(12.5, "12.50 USD"), (1234.5, "1,234.50 USD"), (0.000123, "0.000123 USD"), (0, "0 USD")]
)
def test_small_amounts_keep_the_digits_that_say_something(amount: float, text: str) -> None:
    assert money(amount) == text


def test_the_first_rows_counts_and_address_of_a_new_output_are_shown() -> None:
    first_rows = [{"_row_id": "1", "_status": "SUCCESS", "colour": "red [bold]"}]
    counts = Counter({RowStatus.SUCCESS: 1990, RowStatus.FAILED: 9, RowStatus.TIMEOUT: 1})
    casts = {"colour": CastFailures(count=3, sample='"red"')}
    text = remapped(Remapped("results/x/remapped/y/output.csv", ["colour"], counts, 2, casts, first_rows=first_rows))

    assert "red [bold]" in text
    assert text.splitlines()[-7:] == [
        "total rows   2,000",
        "succeeded    1,990",
        "failed       9",
        "timed out    1",
        "unfinished   2 of the failed: no worker finished them",
        'cast failed  3 cells of colour, which have their default; the first is "red"',
        "output       s3://results/results/x/remapped/y/output.csv",
    ]


def test_of_many_new_columns_the_first_are_shown() -> None:
    names = [f"c{number}" for number in range(10)]
    row = {"_row_id": "1", "_status": "SUCCESS", **{name: f"<{name}>" for name in names}}
    text = remapped(Remapped("key", names, Counter({RowStatus.SUCCESS: 1}), first_rows=[row]))

    assert "<c5>" in text
    assert "<c6>" not in text
    assert "unfinished" not in text


def remapped(new: Remapped) -> str:
    console = Console(file=io.StringIO(), width=120, soft_wrap=True)
    report.remapped(console, Remap(output_s3_uri=f"s3://results/{new.key}", remapped=new))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_line_has_everything_for_an_output_that_is_no_terminal() -> None:
    progress = Progress(
        execution="x",
        total=2_000,
        succeeded=997,
        failed=3,
        in_flight=5,
        rows_per_second=100,
        seconds_left=10,
        cost_usd=0.012,
        notes=["throttled since 12:00:00"],
    )
    assert report.line(progress) == (
        "1,000 of 2,000 rows done, 3 failed, 5 in flight, 100.0 rows/s, about 0.012 USD so far, 10 s left, "
        "throttled since 12:00:00"
    )
    assert report.line(Progress(execution="x")) == "checking the input"


def test_the_bar_ends_with_the_ending() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    ending = Ending(status="SUCCEEDED")
    looks = [Progress(execution="x"), Progress(execution="x", total=2, succeeded=2, ending=ending)]
    assert report.show_progress(console, looks) == ending
    assert isinstance(console.file, io.StringIO)
    assert "2 of 2 rows done" in console.file.getvalue()


LOOK = Progress(
    execution="x", total=20_000, succeeded=12_345, failed=67, in_flight=1_000, cost_usd=123.45, seconds_left=4_000
)


@pytest.mark.parametrize(
    ("changes", "rows", "details"),
    [
        (
            {"notes": ["throttled since 12:00:00"]},
            "12,412 of 20,000 rows done",
            "67 failed · 1,000 in flight · 0.0 rows/s · about 123.45 USD so far · 1 h 06 min left",
        ),
        (
            {"succeeded": 19_933},
            "20,000 of 20,000 rows done",
            "67 failed · about 123.45 USD so far · writing the output",
        ),
    ],
    ids=["running", "done"],
)
def test_the_bar_shows_all_on_80_columns(changes: dict[str, Any], rows: str, details: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, soft_wrap=True, width=80, height=24)
    report.show_progress(console, [LOOK.model_copy(update={**changes, "ending": Ending(status="SUCCEEDED")})])
    assert isinstance(console.file, io.StringIO)
    text = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue()).split())
    assert rows in text
    assert details in text


def run_of(name: str, state: RunState = RunState.SUCCEEDED_WITH_FAILURES) -> Run:
    counts = Counts(succeeded=19_000, failed=1_000)
    moment = datetime(2026, 11, 28, 10, 11, tzinfo=UTC)
    return Run(
        execution=name,
        arn="",
        batch_name="",
        plan_key="",
        state=state,
        target="product_descriptions",
        target_version="1",
        total_rows=20_000,
        counts=counts,
        estimate_usd=1,
        cost_usd=12.5,
        started_at=moment,
        ended_at=moment,
    )


@pytest.mark.parametrize("width", [75, 80, 200])
def test_a_list_of_runs_keeps_names_states_and_counts_whole_on_any_terminal(width: int) -> None:
    text = shown(report.run_table([run_of("nightly"), run_of("long-name-" * 5)]), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("SUCCEEDED_WITH_FAILURES") == 2
    assert text.count("20,000 of 20,000") == 2
    assert "nightly" in text
    assert ("duration" in text, "product_descriptions" in text) == (width == 200, width == 200)


def test_a_list_of_runs_that_is_no_terminal_has_all_of_each() -> None:
    console = Console(file=io.StringIO(), width=80, soft_wrap=True)
    console.print(report.run_table([run_of("long-name-" * 8)]))
    assert isinstance(console.file, io.StringIO)
    (line,) = [line for line in console.file.getvalue().splitlines() if "long-name" in line]
    assert line.split("   ")[0].strip() == "long-name-" * 8
    assert "product_descriptions" in line


def test_row_numbers_and_statuses_are_whole_and_the_last_columns_go_where_there_is_no_room() -> None:
    rows = [{"_row_id": "12345", **{f"column{n}": "word " * 9 for n in range(6)}, "_status": "SUCCESS"}]
    text = shown(report.rows_table(rows, list(rows[0])), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert [name in text for name in ("12345", "SUCCESS", "column0", "column5")] == [True, True, True, False]


def test_the_first_rows_of_an_output_have_their_first_and_their_last_columns() -> None:
    values = {f"c{number}": f"<{number}>" for number in range(10)} | {"_row_id": "1", "_status": "SUCCESS"}
    page = RowPage(execution="x", rows=[Row(row=1, status=RowStatus.SUCCESS, error="", values=values)], next_row=None)
    text = shown(report.page_table(page), width=120)
    assert [f"<{number}>" in text for number in range(10)] == [True, *[False] * 4, *[True] * 5]
    assert "SUCCESS" in text


def test_the_result_names_the_files_of_other_formats() -> None:
    outputs = {"csv": "s3://results/results/x/output.csv", "xlsx": "s3://results/results/x/output.xlsx"}

    text = report.summary(Ending(status="SUCCEEDED", document={**DOCUMENT, "outputs": outputs}))

    assert "xlsx         s3://results/results/x/output.xlsx" in text
    assert text.count("output.csv") == 1


def test_the_result_names_the_folder_that_it_was_copied_to() -> None:
    copied = {"s3_uri": "s3://theirs/out/x/", "status": "COPIED", "reason": ""}
    failed = {**copied, "status": "FAILED", "reason": "s3:PutObject is denied"}

    tried = {**copied, "status": "TRIED"}
    succeeded, not_copied, dry_run = (
        report.summary(Ending(status="SUCCEEDED", document={"delivery": delivery}))
        for delivery in (copied, failed, tried)
    )

    assert "copied to    s3://theirs/out/x/" in succeeded
    assert "copied to" not in not_copied
    assert "will copy to s3://theirs/out/x/" in dry_run


def test_a_new_output_has_the_address_of_each_of_its_formats_and_of_the_copy() -> None:
    outputs = Written({"csv": "s3://results/key", "xlsx": "s3://results/key.xlsx"})
    delivered = Delivered("s3://results/x/", "s3://theirs/x/", "")

    text = remapped(Remapped("key", ["c"], Counter({RowStatus.SUCCESS: 1}), outputs=outputs, delivered=delivered))

    assert text.splitlines()[-3:] == [
        "output       s3://results/key",
        "xlsx         s3://results/key.xlsx",
        "copied to    s3://theirs/x/",
    ]
