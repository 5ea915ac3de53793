"""The commands about files in S3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from batch_processor_client import files
from batch_processor_client.cli.options import deployment_of, show

app = typer.Typer()

Uri = Annotated[str, typer.Argument(help="Address of an object: s3://bucket/key.")]


@app.command()
def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(parser=files.readable_file, metavar="FILE", help="The file.")],
) -> None:
    """Put a file into the input bucket, and print its address for csv_s3_uri."""
    show(files.upload(deployment_of(context), file, files.ALONE))


@app.command()
def download(
    context: typer.Context,
    uri: Uri,
    file: Annotated[Path, typer.Argument(parser=files.writable_file, metavar="FILE", help="The file to write.")],
) -> None:
    """Write an object to a file."""
    show(str(files.download(deployment_of(context), uri, file)))


@app.command()
def presign(
    context: typer.Context,
    uri: Uri,
    seconds: Annotated[int, typer.Option(help="How long the link works, up to seven days.")] = 3600,
) -> None:
    """Print a link to an object for somebody without AWS credentials."""
    show(files.presign(deployment_of(context), uri, seconds))
