"""The commands about jobs of Bedrock batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from batch_processor_client import content_edits, job_export, jobs
from batch_processor_client.cli.options import (
    AlwaysJson,
    AsJson,
    console_of,
    deployment_of,
    has_terminal,
    input_file,
    out,
    show,
)
from batch_processor_client.cli.tables import Column, FittedTable
from batch_processor_client.documents import read_document
from batch_processor_client.errors import ClientError
from foundation.json_text import parse_json

app = typer.Typer()

JOB_COLUMNS = (
    Column("job"),
    Column("status"),
    Column("records", right=True),
    Column("with content", right=True),
    Column("without", right=True),
    Column("created", rank=1),
)

JobId = Annotated[str, typer.Argument(help="Id of the job.")]
Force = Annotated[bool, typer.Option("--force", help="Create the job even if the same one was just created.")]
Request = Annotated[Path | None, input_file('The request: {"config": {…}}, or the config alone.', "--input")]


def _config(document: Path | None) -> dict[str, Any]:
    """The ``config`` of a request. Without a file, the API's defaults."""
    read = read_document(document) if document is not None else {}
    return dict(read.get("config", read))


@app.command()
def estimate(context: typer.Context, document: Request = None, as_json: AsJson = False) -> None:
    """Estimate the records and cost of a job; create nothing."""
    config = _config(document)
    done = jobs.estimate(deployment_of(context), config)
    if as_json:
        out.print_json(done.model_dump_json(by_alias=True))
        return
    tokens, usd = done.estimate.get("totalTokens", 0), done.estimate.get("costUSD", 0)
    show(f"{done.violation_count:,} records, {tokens:,.0f} tokens, {usd:,.4f} USD. Nothing was created.")
    if done.reason:
        show(f"A job of these records would be refused: {done.reason}")


@app.command("create-job")
def create_job(
    context: typer.Context,
    document: Request = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Create a job: records are selected, and Bedrock answers them at half price within a day."""
    config = _config(document)
    _show_creation(jobs.create(deployment_of(context), config, force=force), as_json=as_json)


@app.command("retry-job")
def retry_job(
    context: typer.Context,
    job: JobId,
    document: Annotated[Path | None, input_file("What to change, as the API's retry takes it.", "--input")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Create a job of the records of an ended job that have no content."""
    changes = read_document(document) if document is not None else {}
    _show_creation(jobs.retry_job(deployment_of(context), job, changes, force=force), as_json=as_json)


def _show_creation(done: jobs.Creation, *, as_json: bool) -> None:
    if as_json:
        out.print_json(done.model_dump_json(by_alias=True))
    elif done.job_id is None:
        show(f"{done.message}: {done.emptied_by} leaves none.")
    else:
        show(f"{done.job_id}: {done.violation_count:,} records. Follow it: make job JOB={done.job_id}")
        if done.repeated:
            show("The same request created it within the last ten minutes. For a second job, add FORCE=1 (--force).")


@app.command("jobs")
def list_jobs(
    context: typer.Context,
    status: Annotated[str, typer.Option(help="Only InProgress, Completed or Failed.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100, help="Jobs at most.")] = 20,
    cursor: Annotated[str, typer.Option(help="Cursor that the previous page of the list printed.")] = "",
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    page = jobs.list_jobs(deployment_of(context), status=status, limit=limit, cursor=cursor)
    if as_json:
        out.print_json(page.model_dump_json(by_alias=True))
        return
    if page.jobs:
        out.print(FittedTable(JOB_COLUMNS, map(_job_cells, page.jobs)))
    else:
        show(f"No job is {status}." if status else "There are no jobs yet.")
    if page.next_cursor:
        show(f"More: --cursor {page.next_cursor}")


def _job_cells(job: jobs.Job) -> list[str]:
    counts = (job.violation_count, job.stats.get("processed", 0), job.stats.get("errors", 0))
    return [job.job_id, job.status, *(f"{count:,}" for count in counts), job.created_at]


@app.command()
def job(context: typer.Context, job: JobId, _as_json: AlwaysJson = False) -> None:
    """Show one job as JSON: its state, parts, counts and cost."""
    out.print_json(jobs.get_job(deployment_of(context), job).model_dump_json(by_alias=True, exclude_unset=True))


@app.command("stop-job")
def stop_job(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Stop a job and keep what is done."""
    done = jobs.stop_job(deployment_of(context), job)
    if as_json:
        out.print_json(done.model_dump_json(by_alias=True))
    else:
        show(f"{done.job_id}: {done.message}. It is {done.status}.")


@app.command()
def content(
    context: typer.Context,
    job: JobId,
    limit: Annotated[int, typer.Option(min=1, max=500_000, help="Records at most.")] = 100,
    _as_json: AlwaysJson = False,
) -> None:
    """Print the records of a job with their generated content, one JSON object a line."""
    for record in jobs.content(deployment_of(context), job, limit):
        show(record.model_dump_json())


@app.command("export-job")
def export_job(
    context: typer.Context,
    job: JobId,
    output: Annotated[Path, typer.Argument(help="The workbook to write: content.xlsx.")],
    as_json: AsJson = False,
) -> None:
    """Write the records of a job with their generated content into an Excel workbook."""
    deployment = deployment_of(context)
    with console_of(as_json=as_json).status("reading the job") as status:
        done = job_export.export_job(
            deployment, job, output, lambda done, total: status.update(f"{done:,} of {total:,} records")
        )
    if as_json:
        out.print_json(done.model_dump_json())
        return
    show(f"{output}: {done.records:,} records.")
    for column, count in done.cut.items():
        show(f"{count:,} cells of {column} are cut: Excel holds 32,767 characters.")


@app.command("edit-content")
def edit_content(
    context: typer.Context,
    record: Annotated[str, typer.Argument(help="Id of the record, such as OSHA-000123.")],
    title: Annotated[str | None, typer.Option(help="The new title.")] = None,
    description: Annotated[str | None, typer.Option(help="The new description.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A tag; can be repeated.")] = None,
    verified: Annotated[
        bool | None,
        typer.Option("--verify/--withdraw", help="Mark the content as verified by a person; --withdraw undoes it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change or verify the generated content of a record. What is not given stays as it is."""
    given = [tag.strip() for tag in tags or []] or None
    done = content_edits.edit_content(
        deployment_of(context), record, title=title, description=description, tags=given, verified=verified
    )
    if as_json:
        out.print_json(done.model_dump_json())
    else:
        show(f"{record} is saved{', verified' if done.is_verified else ''}. The sync brings it into the lake.")


@app.command()
def api(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help="GET or POST.")],
    path: Annotated[str, typer.Argument(help="A path of the admin API: /admin/bedrock/batch/jobs.")],
    body: Annotated[str, typer.Option(help="The body, as JSON.")] = "",
) -> None:
    """Send a signed request to the admin API and print the answer. Exit code 1 if it is refused."""
    try:
        sent = parse_json(body) if body else None
    except ValueError as broken:
        raise ClientError(f"The body is {broken}.") from None
    answer = jobs.request(deployment_of(context), method.upper(), path, sent)
    out.print_json(json.dumps(answer.body))
    if answer.status >= 300:
        raise typer.Exit(1)


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
    deployment = deployment_of(context)
    done = jobs.reparse(deployment, job, store=False)
    if not as_json:
        out.print(f"{done.read:,} of {done.answers:,} would now be read, {done.cost_usd:.2f} USD.", highlight=False)
    if done.read and (yes or (not as_json and has_terminal() and typer.confirm("Store their content?"))):
        done = jobs.reparse(deployment, job, store=True)
    if as_json:
        out.print_json(done.model_dump_json())
    elif done.stored:
        out.print(f"{done.read:,} records have content now. The sync brings it into the lake.", highlight=False)
    elif done.read:
        out.print("Nothing was stored. To store the content: YES=1 with make, or --yes.", highlight=False)
