"""The command that lists why rows failed, and runs them again with what heals them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from batch_processor_client.cli.options import AsJson, Execution, deployment_of, has_terminal, out, show
from batch_processor_client.cli.report import cause_lines, run_again_lines, show_lines
from batch_processor_client.heal import Diagnosis, choose, diagnose
from batch_processor_client.heal import heal as run_again
from batch_processor_client.progress import money

app = typer.Typer()


@app.command()
def heal(
    context: typer.Context,
    execution: Execution,
    cure: Annotated[
        str | None,
        typer.Option(
            help="Causes to heal: numbers, ids or error names, separated by commas; all: those that need no fix first."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new execution; the same name starts only once.")] = None,
    accept_version: Annotated[
        bool, typer.Option("--accept-version", help="Take over answers of another version of the target's code.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the rows and the estimate; run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """List why rows of a run failed, with the cure and its price. Run the rows of the chosen causes again.

    On a terminal, the command asks which causes to heal. Without a terminal and without --cure, it only lists them.
    Rows of other causes stay failed; the output lists all rows.
    """
    deployment = deployment_of(context)
    found = diagnose(deployment, execution)
    if cure is None:
        if as_json:
            out.print_json(found.model_dump_json())
            return
        _show(found)
        if not found.causes or not has_terminal():
            return
        cure = typer.prompt("Heal which causes? Numbers with commas, all, or nothing", default="", show_default=False)
        if not cure.strip():
            return
    causes = choose(found, [text.strip() for text in cure.split(",") if text.strip()])
    done = run_again(deployment, found, causes, name=name, accept_version=accept_version, dry_run=dry_run)
    if as_json:
        out.print_json(done.model_dump_json())
        return
    show_lines(out, (f"{cause.id}: {cause.advice}" for cause in causes if cause.after_a_fix))
    changes = {field: value for cause in causes for field, value in cause.changes.items()}
    show_lines(out, run_again_lines(done, deployment.environment, changes))


def _show(found: Diagnosis) -> None:
    if not found.causes:
        show(f"No row of {found.execution} failed.")
    for cause in found.causes:
        changes = [f"It changes {json.dumps(cause.changes)}."] if cause.changes else []
        price = f"Running these rows again costs {money(cause.best_usd)} to {money(cause.worst_usd)}."
        lines = cause_lines(cause.count, cause.error, cause.message, cause.rows, [cause.advice, *changes, price])
        show_lines(out, [f"{cause.number}. {lines[0].strip()}", *lines[1:]])
    if found.other:
        show(f"{found.other:,} more rows failed for other reasons: see failed_rows.csv.")
    if found.not_attempted:
        show(f"{found.not_attempted:,} rows were not started; they run with any cause. make retry runs all rows.")
    if found.causes and not found.target_included:
        show("Prices are without the target's own cost: the registry has no cost_per_call_usd for it.")
