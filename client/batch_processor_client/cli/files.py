"""The commands about files in S3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from batch_processor_client import files
from batch_processor_client.cli.options import AsJson, console_of, deployment_of, show, show_json
from batch_processor_client.cli.report import uploading

app = typer.Typer()

Uri = Annotated[str, typer.Argument(help="Address of an object: s3://bucket/key.")]


@app.command()
def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(parser=files.readable_file, metavar="FILE", help="The file.")],
    as_json: AsJson = False,
) -> None:
    """Put a file into the input bucket, and print its address for csv_s3_uri."""
    deployment = deployment_of(context)
    with uploading(console_of(as_json=as_json), file.stat().st_size) as transfer:
        uri = files.upload(deployment, file, files.SHARED_PREFIX, transfer)
    if as_json:
        show_json({"uri": uri})
    else:
        show(uri)


@app.command()
def download(
    context: typer.Context,
    uri: Uri,
    file: Annotated[Path, typer.Argument(parser=files.writable_file, metavar="FILE", help="The file to write.")],
    as_json: AsJson = False,
) -> None:
    """Write an object to a file."""
    written = files.download(deployment_of(context), uri, file)
    if as_json:
        show_json({"file": str(written)})
    else:
        show(str(written))


@app.command()
def presign(
    context: typer.Context,
    uri: Uri,
    seconds: Annotated[int, typer.Option(help="How long the link works, up to seven days.")] = 3600,
    as_json: AsJson = False,
) -> None:
    """Print a link to an object for somebody without AWS credentials."""
    link = files.presign(deployment_of(context), uri, seconds)
    if as_json:
        show_json({"url": link})
    else:
        show(link)
