"""The commands about targets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from batch_processor_client import target_files
from batch_processor_client import targets as operations
from batch_processor_client.cli.options import AsJson, deployment_of, input_file, out, show, show_json
from batch_processor_client.cli.tables import Column, FittedTable
from batch_processor_client.documents import read_document
from batch_processor_client.errors import ClientError
from batch_processor_client.target_files import FOLDER, Template, output_in_terraform, output_lines
from row_batches.document.plan import Target
from row_batches.rows.records import RowStatus

app = typer.Typer()

ROWS_TRIED = 3
SHOWN_CHARACTERS = 2_000
COLUMNS = (
    Column("name"),
    Column("kind"),
    Column("takes", least=12, folds=True),
    Column("USD a call", right=True),
    Column("limit", rank=1),
)


@app.command("new-target")
def new_target(
    name: Annotated[str, typer.Argument(help="Name to register it under: letters, digits, - and _.")],
    file: Annotated[Path | None, input_file("Your Lambda handler (*.py) or state machine (*.json).", "--file")] = None,
    template: Annotated[Template | None, typer.Option("--from", help="A template, with a test beside it.")] = None,
    folder: Annotated[Path, typer.Option(help="Folder of the targets.")] = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a target of your own, from your code or from a template. The next apply deploys it."""
    if not name:
        raise ClientError("Name the target: make target NAME=sentiment FILE=handler.py.")
    path = target_files.create(name, file=file, template=template, folder=folder)
    target_files.read_target(path)
    files = sorted(one.name for one in path.iterdir())
    if as_json:
        show_json({"folder": str(path), "files": files})
        return
    show(f"Made {path}/ with {', '.join(files)}. Its settings: {path}/target.yaml.")


@app.command("check-targets")
def check_targets(
    folder: Annotated[Path, typer.Option(help="Folder of the targets.")] = FOLDER, as_json: AsJson = False
) -> None:
    """Check all targets of your own: each mistake with its file, line and the fix."""
    checked = target_files.check_targets(folder)
    if as_json:
        show_json([target_files.summary_of(target) for target in checked])
        return
    for target in checked:
        show(target_files.summary_of(target))


@app.command()
def targets(context: typer.Context, as_json: AsJson = False) -> None:
    """List the registered targets."""
    found = operations.list_targets(deployment_of(context))
    if as_json:
        kept = [target.model_dump(mode="json", exclude={"output_schema_document", "code_version"}) for target in found]
        out.print_json(json.dumps(kept))
        return
    if found:
        out.print(FittedTable(COLUMNS, map(_row, found)))
    else:
        show("No target is registered. Make one: make target NAME=sentiment FILE=handler.py")


def _row(target: Target) -> tuple[str, ...]:
    kind = target.invocation if target.type == "agent" else "tool"
    cost = "unknown" if target.cost_per_call_usd is None else f"{target.cost_per_call_usd:g}"
    limit = "" if target.max_concurrency is None else f"{target.max_concurrency:,} in flight"
    name = target.name if target.enabled else f"{target.name} (disabled)"
    fields = ", ".join(field if declared.required else f"{field}?" for field, declared in target.input.items())
    return name, f"{kind} agent" if target.type == "agent" else kind, fields or "any columns", cost, limit


@app.command("try")
def try_(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Registered name of the target.")],
    row: Annotated[str | None, typer.Option(help='One row as JSON: {"text": "Great!"}.')] = None,
    csv: Annotated[Path | None, input_file("A file; its first rows are tried.", "--csv")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Rows of the file to try.")] = ROWS_TRIED,
    document: Annotated[Path | None, input_file("A document whose mappings are tried.", "--input")] = None,
    as_json: AsJson = False,
) -> None:
    """Call a target once a row, as a run would: request, answer, each column, time and cost. The calls are paid for."""
    if not name:
        raise ClientError('Name the target: make try NAME=sentiment ROW=\'{"text": "Great!"}\'.')
    if (row is None) == (csv is None):
        raise ClientError('Give one row, ROW=\'{"text": "Great!"}\', or a file, CSV=rows.csv.')
    rows = [operations.row_of(row)] if row is not None else operations.rows_of_file(csv or Path(), limit)
    deployment, mappings = deployment_of(context), read_document(document) if document else None
    tried = [operations.try_target(deployment, name, one, mappings) for one in rows]
    if as_json:
        out.print_json(json.dumps([one.model_dump(mode="json") for one in tried]))
    else:
        for number, one in enumerate(tried, 1):
            _show_tried(one, f"row {number} of {len(tried)}" if len(tried) > 1 else "")
        undeclared = list(dict.fromkeys(field for one in tried for field in one.undeclared))
        is_folder = (FOLDER / name).is_dir()
        lines = output_lines(undeclared) if is_folder else output_in_terraform(undeclared)
        if mappings is None and lines:
            place = f"targets/{name}/target.yaml" if is_folder else f"{name} in the Terraform variable targets"
            show(
                "output   A run without a document writes the answer as JSON, in one column. For a column a field, add "
                f"this to {place}, and deploy it:\n{lines}".rstrip()
            )
    if any(one.status is not RowStatus.SUCCESS for one in tried):
        raise typer.Exit(1)


def _show_tried(tried: operations.Tried, which: str) -> None:
    if which:
        out.rule(which, align="left", style="dim")
    show(f"request  {_shown(tried.request)}")
    show(f"answer   {_shown(tried.answer)}")
    for name, cell in tried.columns.items():
        missing = "   (nothing matched)" if name in tried.missing else ""
        show(f"column   {name} = {cell[:SHOWN_CHARACTERS]}{missing}")
    tokens = sum(int(used.get("input_tokens", 0) + used.get("output_tokens", 0)) for used in tried.usage.values())
    cost = "unknown" if tried.cost_usd is None else f"{tried.cost_usd:g} USD"
    show(f"time     {tried.seconds:.2f} s{f', {tokens:,} tokens' if tokens else ''}; cost {cost}")
    show(f"status   {tried.status}{f': {tried.error}' if tried.error else ''}")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… ({len(text):,} characters)"
