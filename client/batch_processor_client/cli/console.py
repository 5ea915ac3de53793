"""The command that serves the console."""

from __future__ import annotations

from typing import Annotated

import typer

from batch_processor_client.cli.options import deployment_of, show
from batch_processor_client.errors import ClientError

app = typer.Typer()


@app.command()
def console(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of 127.0.0.1; 0: a free one.")] = 0,
) -> None:
    """Serve the console, a web page, on 127.0.0.1 until Ctrl-C. It uses your own AWS credentials."""
    try:
        from batch_processor_client.console.server import serve  # noqa: PLC0415 (packages of an extra)
    except ModuleNotFoundError as missing:
        raise ClientError(
            f"The console needs {missing.name}, which is not installed: pip install './client[console]'."
        ) from None
    deployment = deployment_of(context)

    def announce(address: str) -> None:
        show(f"The console of {deployment.environment}: {address}")
        show("The address contains a secret: keep it to yourself. Ctrl-C ends the console; runs continue.")

    try:
        serve(deployment, announce, port)
    except KeyboardInterrupt:
        return
    except OSError as error:
        raise ClientError(f"Port {port} cannot be used: {error.strerror}. Choose another --port.") from None
