"""The commands about the lake of Bedrock batches."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from batch_processor_client import resync as resyncs
from batch_processor_client.cli.options import AsJson, console_of, deployment_of, input_file, show, show_json
from batch_processor_client.errors import ClientError

app = typer.Typer()


@app.command("seed-lake")
def seed_lake(
    context: typer.Context,
    file: Annotated[Path | None, input_file("A CSV of violations.", "--file")] = None,
    as_json: AsJson = False,
) -> None:
    """Create the lake's missing tables and load violations. Records that are there already stay unchanged."""
    from batch_processor_client import lake  # noqa: PLC0415 (DuckDB is an extra of the package)

    if file is None:
        raise ClientError("Name the CSV: make seed-lake FILE=violations.csv.")
    seeded = lake.seed(lake.lake_of(deployment_of(context)), file)
    if as_json:
        show_json({agency: asdict(loaded) for agency, loaded in seeded.items()})
        return
    for agency, loaded in seeded.items():
        show(f"{agency}: {loaded.inserted:,} loaded, {loaded.existing:,} were there already")


@app.command()
def resync(
    context: typer.Context,
    file: Annotated[str, typer.Option(help="Key of one object, or the end of its key; none: all objects.")] = "",
    as_json: AsJson = False,
) -> None:
    """Merge content into the lake that could not be merged before, and compare all content with the lake.

    Exit code 1 if something could not be merged.
    """
    steps = []
    for done in resyncs.resync(deployment_of(context), file):
        steps.append(done)
        for line in lines_of(done):
            show(line, console_of(as_json=as_json))
    if as_json:
        show_json([step.model_dump(mode="json") for step in steps])
    if not all(step.complete for step in steps):
        raise typer.Exit(1)


def lines_of(done: resyncs.Replayed | resyncs.Compared) -> list[str]:
    """A step of a resync as text."""
    reasons = [f"    {reason}" for reason in done.reasons]
    if isinstance(done, resyncs.Replayed):
        if done.error:
            return [f"{done.key}: the function failed: {done.error}"]
        counts = f"{done.merged:,} merged, {done.were_there:,} were there, {done.failed:,} failed"
        return [f"{done.key}: {counts}", *reasons]
    if done.error:
        return [f"Not all content was compared with the lake, because the function failed: {done.error}"]
    lines = [
        f"{done.compared:,} items of content compared with the lake: {done.merged:,} merged, {done.failed:,} failed"
    ]
    lines += reasons
    if done.uncounted:
        lines.append(
            f"{done.uncounted:,} items have no outcome: run `make resync` again, then see the log of bedrock_sync."
        )
    if done.complete:
        lines.append("The lake has all content.")
    return lines
