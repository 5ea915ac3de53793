"""The command that deletes all that a run left."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from batch_processor_client import purge as purges
from batch_processor_client.cli.options import AsJson, Execution, deployment_of, err, has_terminal, out, show
from batch_processor_client.progress import size_text

app = typer.Typer()


@app.command()
def purge(
    context: typer.Context,
    execution: Execution,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be deleted; delete nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete all that a run left: rows, outputs, proof, its item in the table of runs. Nothing brings it back.

    The command lists what there is, and asks on a terminal. Without a terminal, it needs --yes. A run that still runs
    is refused. Delivered copies are not deleted. Exit code 1 if nothing was deleted because nobody confirmed it.
    """
    deployment = deployment_of(context)
    found = purges.look(deployment, execution)
    if not as_json:
        _show(found)
    unconfirmed = bool(found.parts) and not dry_run and not (yes or (not as_json and _confirmed(found)))
    if found.parts and not dry_run and not unconfirmed:
        found = purges.purge(deployment, found)
    if as_json:
        out.print_json(found.model_dump_json())
    elif found.is_deleted:
        show(f"Deleted. Nothing of {found.execution} is left here.")
    if unconfirmed:
        err.print("Nothing was deleted. To delete without a question: YES=1 with make, or --yes.", highlight=False)
        raise typer.Exit(1)


def _confirmed(found: purges.Purge) -> bool:
    return has_terminal() and typer.confirm(
        f"Permanently delete everything listed above for {found.execution}?", default=False
    )


def _show(found: purges.Purge) -> None:
    if not found.parts:
        show(f"There is nothing of {found.execution} here.")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("what", "where", "number", "size"):
        table.add_column(column, overflow="fold", justify="right" if column in ("number", "size") else "left")
    for part in found.parts:
        size = "" if part.size_bytes is None else size_text(part.size_bytes)
        table.add_row(part.what, escape(part.place), f"{part.count:,}", size)
    out.print(table)
    for text in found.kept:
        show(f"{'not deleted':<12} {text}")
