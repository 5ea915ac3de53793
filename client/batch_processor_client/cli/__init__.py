"""The command ``batch-processor``. Each command calls one operation and prints what it returns.

Exit codes: 0 if it succeeded; 1 if it was refused, with the reason on standard error, or if what it shows failed; 2 if
the command line is wrong; 130 if it was interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from batch_processor_client.cli import (
    config,
    console,
    files,
    healing,
    jobs,
    lake,
    mcp,
    purging,
    runs,
    schemas,
    targets,
    verifying,
)
from batch_processor_client.cli.options import Chosen, err
from batch_processor_client.deployment import DEFAULT_ENVIRONMENT
from batch_processor_client.errors import EXPECTED, explain

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)
for commands in (
    runs.app,
    healing.app,
    purging.app,
    verifying.app,
    targets.app,
    files.app,
    jobs.app,
    lake.app,
    config.app,
    console.app,
    mcp.app,
):
    app.add_typer(commands)
app.add_typer(schemas.app, name="schema")


@app.callback()
def options(
    context: typer.Context,
    env: Annotated[
        str, typer.Option(envvar="BATCH_PROCESSOR_ENV", help="local, stage or prod. Needs a clone of the repository.")
    ] = DEFAULT_ENVIRONMENT,
    outputs: Annotated[
        Path | None,
        typer.Option(
            envvar="BATCH_PROCESSOR_OUTPUTS", help="The deployment's Terraform outputs: `make output`. Replaces --env."
        ),
    ] = None,
) -> None:
    """Operate a deployment of Batch Processor."""
    context.obj = Chosen(env, outputs)


def main() -> None:
    """Run the command line. An expected error becomes one message on standard error."""
    try:
        app(prog_name="batch-processor")  # also as `python -m`
    except EXPECTED as expected:
        err.print(explain(expected), markup=False, highlight=False)
        raise SystemExit(1) from None
