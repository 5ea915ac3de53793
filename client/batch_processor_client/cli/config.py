"""The command about a deployment's configuration. It needs no deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from batch_processor_client.cli.options import AsJson, out
from batch_processor_client.config import check_config
from row_batches.document.deployment_config import FILE

app = typer.Typer()


@app.command("config-check")
def config_check(
    file: Annotated[Path, typer.Argument(help="The deployment's configuration.")] = Path(FILE),
    as_json: AsJson = False,
) -> None:
    """Check a deployment's configuration: each mistake with its line and the fix."""
    given = check_config(file).model_dump(mode="json", exclude_unset=True)
    if as_json:
        out.print_json(json.dumps(given))
        return
    said = f"It sets {', '.join(given)}." if given else "It sets nothing: the defaults apply."
    out.print(f"{file.name} is valid. {said}")
