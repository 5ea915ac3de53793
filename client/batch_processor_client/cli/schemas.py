"""The commands ``batch-processor schema …``. They need no deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from batch_processor_client import schema_guess, schemas
from batch_processor_client.cli.options import AsJson, show_json

app = typer.Typer(no_args_is_help=True, help="Check, try and guess schemas of agents' outputs.")
out = Console()

Folder = Annotated[Path, typer.Option("--schemas", help="Folder of the schemas.")]


@app.command("check")
def schema_check(folder: Folder = schemas.FOLDER, as_json: AsJson = False) -> None:
    """Check all schemas: each mistake with its file, line and the fix."""
    found = schemas.check_schemas(folder)
    if as_json:
        show_json([{"file": one.path.name, **one.schema.model_dump(mode="json")} for one in found])
        return
    for checked in found:
        fields = ", ".join(field.name for field in checked.schema.fields)
        out.print(f"{checked.path.name} is valid: version {checked.schema.version}, {fields}.", soft_wrap=True)


@app.command("lock")
def schema_lock(folder: Folder = schemas.FOLDER, as_json: AsJson = False) -> None:
    """Lock new versions of schemas, so that they cannot change unnoticed."""
    new = schemas.lock_schemas(folder)
    if as_json:
        show_json({"locked": new})
        return
    said = f"Locked: {', '.join(new)}. Commit {schemas.LOCK}." if new else "All versions are locked already."
    out.print(said, soft_wrap=True)


@app.command("try")
def schema_try(
    agent: Annotated[str, typer.Argument(help="Name of the agent, as in schemas/<agent>.yaml.")],
    answer: Annotated[Path, typer.Argument(help="File with an answer of the agent.")],
    folder: Folder = schemas.FOLDER,
    as_json: AsJson = False,
) -> None:
    """Show what each method of a schema extracts from a saved answer, and from where."""
    tried = schemas.try_schema(agent, answer, folder)
    if as_json:
        out.print_json(tried.model_dump_json())
        return
    if tried.refused:
        out.print(f"A run would fail this row: {tried.refused}", soft_wrap=True, markup=False)
    if tried.is_text:
        out.print("The answer is a text and not JSON; a run takes it as it is.", soft_wrap=True)
    for name, cell in tried.cells.items():
        said = f"{cell!r} by {tried.methods[name]}" if name in tried.methods else f"missing: the cell is {cell!r}"
        out.print(f"{name}: {said}", soft_wrap=True, markup=False, highlight=False)
        for attempt in (one for one in tried.attempts if one.field == name):
            text = f"{attempt.value!r} from {attempt.where}" if attempt.found else f"nothing: {attempt.reason}"
            out.print(f"    {attempt.method}: {text}", soft_wrap=True, markup=False, highlight=False)


@app.command("guess")
def schema_guess_command(
    answers: Annotated[Path, typer.Argument(help="Folder of saved answers, one *.json each.")],
    agent: Annotated[str | None, typer.Option(help="Name of the agent; none: that of the folder.")] = None,
) -> None:
    """Propose a schema from saved answers."""
    out.print(schema_guess.guess_schema(answers, agent).text, soft_wrap=True, markup=False, highlight=False)
