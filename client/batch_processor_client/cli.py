"""The command ``batch-processor``. Each command calls one operation and prints what it returns.

Exit codes: 0 if it succeeded; 1 if it was refused, with the reason on standard error; 2 if the command line is wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as RefusedByAwsError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from batch_processor_client import cli_schemas, jobs, runs
from batch_processor_client import retry as retries
from batch_processor_client.config import check_config
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.rows import list_rows
from foundation.errors import BatchProcessorError
from row_batches.document.deployment_config import FILE
from row_batches.rows.records import RowStatus

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)
app.add_typer(cli_schemas.app, name="schema")
out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def options(
    context: typer.Context,
    outputs: Annotated[
        Path | None,
        typer.Option(envvar="BATCH_PROCESSOR_OUTPUTS", help="The deployment's Terraform outputs: `make output`."),
    ] = None,
) -> None:
    """Operate a deployment of Batch Processor."""
    context.obj = outputs


@app.command()
def throttle(
    context: typer.Context,
    execution: Annotated[str, typer.Argument(help="Name or ARN of the execution.")],
    concurrency: Annotated[int | None, typer.Option(min=1, max=10_000, help="Rows in flight.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Rows a minute.")] = None,
    tokens: Annotated[float | None, typer.Option(min=0.001, help="Tokens a minute.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change the pace of a running batch."""
    done = runs.throttle(
        Deployment.read(context.obj), execution, concurrency=concurrency, rows_per_minute=rate, tokens_per_minute=tokens
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
    out.print(f"{done.execution}: at most {text}, within ten seconds. Rows in flight finish.", soft_wrap=True)
    for note in done.notes:
        out.print(note, soft_wrap=True)


@app.command()
def retry(
    context: typer.Context,
    execution: Annotated[str, typer.Argument(help="Name or ARN of an execution that has ended.")],
    name: Annotated[str | None, typer.Option(help="Name of the new execution; used twice, it starts once.")] = None,
    accept_version: Annotated[
        bool, typer.Option("--accept-version", help="Take over answers of other code of the target.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the rows and the estimate; run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the rows that failed or never ran; the output lists all rows."""
    done = retries.retry(
        Deployment.read(context.obj), execution, name=name, accept_version=accept_version, dry_run=dry_run
    )
    if as_json:
        out.print_json(json.dumps(done.model_dump(mode="json")))
        return
    if not done.rows:
        out.print(f"Nothing to retry: all {done.total_rows:,} rows of {done.retried} were successful.", soft_wrap=True)
        return
    out.print(
        f"{done.rows:,} of {done.total_rows:,} rows of {done.retried} run again as {done.execution}.", soft_wrap=True
    )
    for warning in done.warnings:
        out.print(warning, soft_wrap=True, markup=False)
    if dry_run:
        best, worst = done.estimate["best_usd"], done.estimate["worst_usd"]
        out.print(f"Estimate: {best:.4f} to {worst:.4f} USD. Nothing was started.", soft_wrap=True)


@app.command()
def reparse(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="Id of the job.")],
    yes: Annotated[bool, typer.Option("--yes", help="Store without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read a job's stored answers again with the current parser, at no cost.

    The command first says how many answers of records without content can be read now. On a terminal, it then asks
    whether to store their content. Without a terminal and without --yes, nothing is stored.
    """
    deployment = Deployment.read(context.obj)
    done = jobs.reparse(deployment, job, store=False)
    if not as_json:
        out.print(f"{done.read:,} of {done.answers:,} would now be read, {done.cost_usd:.2f} USD.", highlight=False)
    if done.read and (yes or (not as_json and is_terminal() and typer.confirm("Store their content?"))):
        done = jobs.reparse(deployment, job, store=True)
    if as_json:
        out.print_json(done.model_dump_json())
    elif done.stored:
        out.print(f"{done.read:,} records have content now. The sync brings it into the lake.", highlight=False)
    elif done.read:
        out.print("Nothing was stored. To store the content: YES=1 with make, or --yes.", highlight=False)


def is_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


@app.command()
def rows(
    context: typer.Context,
    execution: Annotated[str, typer.Option(help="Name or ARN of the execution.")],
    status: Annotated[list[RowStatus] | None, typer.Option(help="Only rows with this status; can be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most.")] = 50,
    first_row: Annotated[int, typer.Option("--from", min=1, help="The first row to look at.")] = 1,
    as_json: AsJson = False,
) -> None:
    """List finished rows of a run, also while it goes on."""
    page = list_rows(Deployment.read(context.obj), execution, statuses=status or (), first_row=first_row, limit=limit)
    if as_json:
        out.print_json(json.dumps(page.model_dump(mode="json")))
        return
    table = Table("row", "status", "values or error", box=None, pad_edge=False)
    for row in page.rows:
        values = {name: value for name, value in row.values.items() if not name.startswith("_")}
        table.add_row(str(row.row), row.status, escape(row.error or json.dumps(values, ensure_ascii=False)))
    out.print(table)
    if page.next_row is not None:
        out.print(f"More: --from {page.next_row}", soft_wrap=True)
    elif not page.rows:
        out.print(f"{page.execution} has no such row from {first_row} on.", soft_wrap=True)


@app.command("config-check")
def config_check(
    file: Annotated[Path, typer.Argument(help="The deployment's configuration.")] = Path(FILE),
    as_json: AsJson = False,
) -> None:
    """Check a deployment's configuration: each mistake with its line and the fix."""
    given = check_config(file).model_dump(mode="json", exclude_unset=True)
    if as_json:
        out.print_json(json.dumps(given))
        return
    said = f"It gives {', '.join(given)}." if given else "It gives nothing: defaults hold."
    out.print(f"{file.name} is valid. {said}", soft_wrap=True)


def main() -> None:
    """Run the command line. An expected error becomes one message on standard error."""
    try:
        app()
    except (ClientError, BatchProcessorError) as refused:
        message = str(refused)
    except RefusedByAwsError as refused:
        message = f"AWS refused: {refused}"
    except BotoCoreError as refused:
        message = f"AWS was not asked: {refused}"
    else:
        return
    err.print(message, soft_wrap=True, markup=False)
    raise SystemExit(1)
