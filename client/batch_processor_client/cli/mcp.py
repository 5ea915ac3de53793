"""The command that serves tools to agents."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from batch_processor_client.cli.options import deployment_of, err
from batch_processor_client.errors import ClientError

app = typer.Typer()


@app.command()
def mcp(
    context: typer.Context,
    budget_usd: Annotated[
        float, typer.Option(min=0, max=1_000_000, help="What the agent may spend in all; 0: it starts nothing.")
    ] = 0,
    files: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder with the files that runs may upload.")
    ] = None,
    http: Annotated[
        bool, typer.Option("--http", help="Serve HTTP on 127.0.0.1, not standard input and output.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of --http; 0: a free one.")] = 8765,
) -> None:
    """Serve tools to an AI agent over the Model Context Protocol, within a budget."""
    try:
        from batch_processor_client import mcp_server  # noqa: PLC0415 (its SDK is an extra of the package)
    except ImportError:
        raise ClientError("Tools for agents need mcp: pip install './client[mcp]' in the clone.") from None
    made = mcp_server.server(deployment_of(context), budget_usd, files)
    show = functools.partial(err.print, markup=False, highlight=False)
    if not http:
        mcp_server.serve(made, None, show)
        return
    try:
        mcp_server.serve(made, port, show)
    except KeyboardInterrupt:
        return
    except OSError as error:
        raise ClientError(f"Port {port} cannot be used: {error.strerror}. Choose another --port.") from None
