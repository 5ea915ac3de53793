"""The commands about runs of row batches."""

from __future__ import annotations

import getpass
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.markup import escape

from batch_processor_client import executions, following, inputs, results, runs, trials
from batch_processor_client import remap as remaps
from batch_processor_client import retry as retries
from batch_processor_client import stop as stops
from batch_processor_client.cli import report
from batch_processor_client.cli.options import (
    AsJson,
    Execution,
    console_of,
    deployment_of,
    err,
    has_terminal,
    input_file,
    out,
    output_file,
    show,
    show_json,
)
from batch_processor_client.deployment import Deployment
from batch_processor_client.documents import execution_name, read_document, subject_of
from batch_processor_client.errors import ClientError
from batch_processor_client.files import download
from batch_processor_client.guesses import guess_document, parse_columns, read_header
from batch_processor_client.rows import list_rows
from batch_processor_client.targets import find_target
from row_batches.document.input_document import with_one_name
from row_batches.rows.records import RowStatus
from row_batches.run.runs import RunState
from row_batches.run.trial_report import TrialReport

app = typer.Typer()

FAILURES_SHOWN = 5
ROWS_SHOWN = 5
INTERRUPTED = 130
OUTPUT_HELP = "A file to write the output to; .xlsx and .jsonl are written in that format."


@app.command()
def run(
    context: typer.Context,
    document: Annotated[Path | None, input_file("The input document.", "--input")] = None,
    csv: Annotated[
        str,
        typer.Option(
            "--csv",
            metavar="FILE|FOLDER|PATTERN|S3 URI",
            help="Rows to upload, CSV, Excel workbook or JSON: a file, a folder, 'rows/*.csv'. Or their address in S3.",
        ),
    ] = "",
    target: Annotated[str, typer.Option(help="Registered target of a run without a document.")] = "",
    columns: Annotated[str, typer.Option(help="Columns and the fields they become: body=text,id.")] = "",
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Rows in flight of a run without a document.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the execution; the same name starts only once.")] = None,
    trial: Annotated[
        int | None, typer.Option(min=1, max=500, help="Try this many rows first, then ask whether to run the rest.")
    ] = None,
    output: Annotated[Path | None, output_file(OUTPUT_HELP, "--output")] = None,
    as_json: AsJson = False,
) -> None:
    """Start an execution and follow it to its output.

    With --input, the document is checked before anything starts, with the same errors as on AWS. In csv_s3_uri,
    INPUT_BUCKET stands for the deployment's input bucket. With --csv and --target, no document is needed: the mapping
    is guessed from the fields that the target declares and the file's header, and shown. Ctrl-C leaves the execution
    running. With --json, progress goes to standard error, and nothing is asked.
    """
    console = console_of(as_json=as_json)
    path = Path(csv) if csv and not csv.startswith("s3://") else None
    if path is not None:
        inputs.local_files(path)  # a file that is missing is said before anything else
    if document is not None:
        if target or columns or concurrency:
            raise ClientError("INPUT names the document: TARGET, COLUMNS and CONCURRENCY are for a run without one.")
        read = read_document(document)
        deployment = deployment_of(context)
        if csv and "csv_s3_uri" in read:
            show(f"{csv} is used in place of csv_s3_uri in {document}: {read['csv_s3_uri']}", console)
    elif not csv or not target:
        raise ClientError(
            "Name the document: make run INPUT=batch.json. Or a file and a target: CSV=rows.csv TARGET=sentiment. "
            "Or a run to follow: FOLLOW=<execution>."
        )
    else:
        given = parse_columns(columns)
        header = read_header(inputs.named_files(path)) if path is not None else None
        deployment = deployment_of(context)
        header = header or read_header(inputs.named_objects(deployment, csv))
        guess = guess_document(find_target(deployment, target), header.columns, given, concurrency)
        guess = guess.model_copy(update={"document": results.with_format_of(guess.document, output)})
        for line in report.guess_lines(guess, header):
            show(line, console)
        read = guess.document
    read = results.with_format_of(read, output)
    if csv and path is None:
        read = {**with_one_name(read), "csv_s3_uri": csv}
    if trial is not None:
        read = trials.with_trial(read, trial)
    subject = subject_of(document) if document is not None else target
    started = name or execution_name(subject, datetime.now(UTC))
    if path is None:
        arn = runs.start(deployment, read, started)
    else:
        with report.uploading(console, inputs.size_bytes(path)) as transfer:
            arn = runs.start(deployment, read, started, path, transfer)
    _follow(deployment, arn, output, as_json=as_json)


@app.command()
def follow(
    context: typer.Context,
    execution: Execution,
    output: Annotated[Path | None, output_file(OUTPUT_HELP, "--output")] = None,
    as_json: AsJson = False,
) -> None:
    """Follow an execution to its output. Ctrl-C leaves it running. With --json, progress goes to standard error."""
    deployment = deployment_of(context)
    arn = runs.known_execution(deployment, execution)  # a wrong name is said before any progress is shown
    _follow(deployment, arn, output, as_json=as_json)


@app.command("results")
def show_results(
    context: typer.Context,
    execution: Execution,
    output: Annotated[Path | None, output_file(OUTPUT_HELP, "--output")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the results of a run that has ended: counts, cost, addresses, the first rows, why rows failed."""
    deployment = deployment_of(context)
    ending = results.ending(deployment, execution)
    if as_json:
        out.print_json(ending.model_dump_json())
    else:
        _show_ending(deployment, ending, executions.name_of(execution))
    _save(deployment, ending, output)


def _save(deployment: Deployment, ending: executions.Ending, output: Path | None) -> None:
    """Write the output to a file, if there is one and a file was named."""
    document = ending.document or {}
    if output is not None and document.get("output_s3_uri"):
        uri = results.address_for(output, document["output_s3_uri"], document.get("outputs", {}))
        err.print(f"{'file':<12} {download(deployment, uri, output)}", markup=False, highlight=False)


class Followed(BaseModel):
    """The end of following a run: its ending, or the question after its trial whether the other rows run."""

    model_config = ConfigDict(frozen=True)

    execution: str
    ending: executions.Ending | None = None
    waits_until: datetime | None = None
    trial: TrialReport | None = None


def _follow(deployment: Deployment, arn: str, output: Path | None = None, *, as_json: bool) -> None:
    """Show the progress, then the result. Ends with exit code 1 if the execution did not succeed."""
    name, console = executions.name_of(arn), console_of(as_json=as_json)
    console.print(f"Execution [bold]{escape(name)}[/bold]", highlight=False)
    try:
        followed = _to_its_end(deployment, arn, console, can_ask=not as_json and has_terminal())
    except KeyboardInterrupt:
        show(
            f"\nThe execution goes on. Follow it: make run ENV={deployment.environment} FOLLOW={name}\n"
            f"Stop it:                      make stop ENV={deployment.environment} EXECUTION={name}",
            console,
        )
        raise typer.Exit(INTERRUPTED) from None
    ending = followed.ending
    if as_json:
        show_json(followed)
    elif ending is None:
        _show_question(deployment, followed)
    else:
        if followed.trial is not None:
            report.trial(out, followed.trial)
        _show_ending(deployment, ending, name)
    if ending is not None:
        _save(deployment, ending, output)
        if ending.status != "SUCCEEDED":
            raise typer.Exit(1)


def _to_its_end(deployment: Deployment, arn: str, console: Console, *, can_ask: bool) -> Followed:
    """Show the progress up to the end, or up to a question that nobody can answer here."""
    name, progress = executions.name_of(arn), following.follow(deployment, arn)
    answered: set[str] = set()
    while True:
        reached = report.show_progress_to_question(console, progress, answered)
        if isinstance(reached, executions.Ending):
            unseen = not answered and (reached.document or {}).get("trial")
            return Followed(
                execution=name, ending=reached, trial=trials.trial_report(deployment, arn) if unseen else None
            )
        tried = trials.trial_report(deployment, arn)
        if not can_ask:
            return Followed(execution=name, waits_until=reached.until, trial=tried)
        report.trial(out, tried)
        approved = typer.confirm(f"Run all {tried.total_rows:,} rows?", default=False)
        answered.add(reached.token)
        trials.answer(deployment, name, approved=approved)


def _show_question(deployment: Deployment, waiting: Followed) -> None:
    """Print the report of a run's trial, and how to answer it."""
    if waiting.trial is not None:
        report.trial(out, waiting.trial)
    show(f"It waits until {waiting.waits_until:%Y-%m-%d %H:%M} UTC. Run the other rows:")
    show(f"    make approve ENV={deployment.environment} EXECUTION={waiting.execution}")
    show(f"or end it with the rows of the trial: make stop ENV={deployment.environment} EXECUTION={waiting.execution}")


@app.command()
def approve(context: typer.Context, execution: Execution, as_json: AsJson = False) -> None:
    """Let a run that waits after its trial run its other rows."""
    done = trials.answer(deployment_of(context), execution, approved=True)
    if as_json:
        out.print_json(json.dumps(done.model_dump(mode="json")))
        return
    rows = f"all {done.report.total_rows:,} rows" if done.report else "its other rows"
    show(f"Approved: {done.execution} runs {rows}. Follow it: make run FOLLOW={done.execution}")


@app.command()
def trial(context: typer.Context, execution: Execution, as_json: AsJson = False) -> None:
    """Show the report of a run's trial."""
    found = trials.trial_report(deployment_of(context), execution)
    if as_json:
        out.print_json(json.dumps(found.model_dump(mode="json")))
        return
    report.trial(out, found)


def _show_ending(deployment: Deployment, ending: executions.Ending, name: str) -> None:
    """Print the first rows, the result, and the first failed rows."""
    document = ending.document or {}
    if document.get("output_s3_uri"):
        with suppress(ClientError):  # the rows have expired
            out.print(report.page_table(list_rows(deployment, name, limit=ROWS_SHOWN)))
    summary = results.summary_of(deployment, document)
    extracted = report.extraction_lines(summary.get("extraction", {}))
    saved = report.saved_lines(summary.get("savings", {}))
    show(report.summary(ending, summary.get("warnings", []), extracted, saved))
    unsuccessful = int(document.get("failed", 0)) + int(document.get("timed_out", 0))
    if unsuccessful and document.get("failed_rows_s3_uri"):
        causes = summary.get("failures_by_cause")
        if causes:
            report.show_causes(out, causes)
            show(f"Heal them: make heal ENV={deployment.environment} EXECUTION={name}")
        failed = results.first_failed_rows(deployment, document["failed_rows_s3_uri"], FAILURES_SHOWN)
        if failed:
            show("First failed rows:")
            out.print(report.failures(failed))
    if document.get("not_attempted"):
        show(f"Run the rows that were not started: make retry ENV={deployment.environment} EXECUTION={name}")
    if ending.cause:
        show(ending.cause)
    if ending.document is None and ending.status == "ABORTED":
        show(f"The output of the finished rows will be in s3://{deployment.results_bucket}/results/{name}/")


@app.command("runs")
def list_runs(
    context: typer.Context,
    state: Annotated[list[RunState] | None, typer.Option(help="Only runs in this state; can be repeated.")] = None,
    target: Annotated[str, typer.Option(help="Only runs of this target.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Runs at most.")] = 20,
    cursor: Annotated[str, typer.Option(help="Cursor that the previous page of the list printed.")] = "",
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    page = runs.list_runs(deployment_of(context), states=state or (), target=target, limit=limit, cursor=cursor)
    if as_json:
        out.print_json(page.model_dump_json())
        return
    if page.runs:
        out.print(report.run_table(page.runs))
    else:
        show("No run matches." if state or target else "There are no runs yet.")
    if page.cursor:
        show(f"More: --cursor {page.cursor}")


@app.command()
def status(context: typer.Context, execution: Execution, as_json: AsJson = False) -> None:
    """Show the state, counts and cost of a run, also while it runs."""
    run_now = runs.status(deployment_of(context), execution)
    if as_json:
        out.print_json(run_now.model_dump_json())
        return
    for line in report.status_lines(run_now):
        show(line)
    if run_now.causes:
        report.show_causes(out, (cause.for_a_person for cause in run_now.causes))


@app.command()
def stop(
    context: typer.Context,
    execution: Execution,
    grace: Annotated[
        float,
        typer.Option(
            parser=stops.seconds, metavar="SECONDS", help="Seconds that rows in flight get to finish; 0: stop at once."
        ),
    ] = stops.GRACE_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Stop an execution and keep its finished rows.

    No worker starts another row, rows in flight finish, and the execution writes its output and ends. If it has not
    ended after the grace period, it is stopped, and its finished rows become the output.
    """
    reason = f"stopped by {getpass.getuser()}"
    stage = None
    for stage in stops.stop(deployment_of(context), execution, reason, grace_seconds=grace):
        for line in report.stop_lines(stage, grace):
            show(line, console_of(as_json=as_json))
    if as_json and stage is not None:
        show_json(stage)
    if stage is None or not stage.has_output:
        raise typer.Exit(1)


@app.command()
def throttle(
    context: typer.Context,
    execution: Execution,
    concurrency: Annotated[int | None, typer.Option(min=1, max=10_000, help="Rows in flight.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Rows a minute.")] = None,
    tokens: Annotated[float | None, typer.Option(min=0.001, help="Tokens a minute.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change the pace of a running batch."""
    done = runs.throttle(
        deployment_of(context), execution, concurrency=concurrency, rows_per_minute=rate, tokens_per_minute=tokens
    )
    if as_json:
        out.print_json(json.dumps(done.model_dump(mode="json", exclude_none=True)))
        return
    live = done.live
    limits = [
        (live.max_concurrency, "rows in flight"),
        (live.rows_per_minute, "rows a minute"),
        (live.tokens_per_minute, "tokens a minute"),
    ]
    text = ", ".join(f"{number:,g} {what}" for number, what in limits if number is not None)
    out.print(f"{done.execution}: at most {text}, within ten seconds. Rows in flight finish.")
    for note in done.notes:
        out.print(note)


@app.command()
def retry(
    context: typer.Context,
    execution: Execution,
    name: Annotated[str | None, typer.Option(help="Name of the new execution; the same name starts only once.")] = None,
    accept_version: Annotated[
        bool, typer.Option("--accept-version", help="Take over answers of another version of the target's code.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the rows and the estimate; run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the rows that failed or never ran; the output lists all rows."""
    deployment = deployment_of(context)
    done = retries.retry(deployment, execution, name=name, accept_version=accept_version, dry_run=dry_run)
    if as_json:
        out.print_json(json.dumps(done.model_dump(mode="json")))
        return
    if not done.rows:
        show(f"Nothing to retry: all {done.total_rows:,} rows of {done.retried} were successful.")
        return
    report.show_lines(out, report.run_again_lines(done, deployment.environment))


@app.command()
def rows(
    context: typer.Context,
    execution: Execution,
    status: Annotated[list[RowStatus] | None, typer.Option(help="Only rows with this status; can be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most.")] = 50,
    first_row: Annotated[int, typer.Option("--from", min=1, help="The first row to look at.")] = 1,
    as_json: AsJson = False,
) -> None:
    """List finished rows of a run, also while it runs."""
    page = list_rows(deployment_of(context), execution, statuses=status or (), first_row=first_row, limit=limit)
    if as_json:
        out.print_json(json.dumps(page.model_dump(mode="json")))
        return
    if page.rows:
        out.print(report.finished_table(page))
    if page.next_row is not None:
        show(f"More: --from {page.next_row}")
    elif not page.rows:
        show(f"{page.execution} has no such row from row {first_row} on.")


@app.command()
def remap(
    context: typer.Context,
    execution: Execution,
    document: Annotated[Path | None, input_file("A document that has output_mapping.", "--input")] = None,
    output: Annotated[Path | None, output_file(OUTPUT_HELP, "--output")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the output of a finished run again with other columns, without calling the target."""
    if document is None:
        raise ClientError("Name the document: make remap EXECUTION=<name> INPUT=batch.json.")
    read = read_document(document)
    deployment = deployment_of(context)
    with console_of(as_json=as_json).status("reading the plan") as status:
        done = remaps.remap(
            deployment, execution, read, lambda done, total: status.update(f"{done:,} of {total:,} rows")
        )
    if as_json:
        show_json(done.document)
    else:
        report.remapped(out, done)
    if output is not None:
        uri = results.address_for(output, done.output_s3_uri, done.remapped.outputs.addresses)
        err.print(f"{'file':<12} {download(deployment, uri, output)}", markup=False, highlight=False)
