"""The commands about jobs of Bedrock batches."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from batch_processor_client import jobs
from batch_processor_client.cli.options import AsJson, deployment_of, out

app = typer.Typer()


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
