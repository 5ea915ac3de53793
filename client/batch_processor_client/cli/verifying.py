"""The command that checks that an output belongs to its input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from batch_processor_client.cli.options import AsJson, deployment_of, input_file, out, show
from batch_processor_client.errors import ClientError
from batch_processor_client.verify import verify as verify_run
from batch_processor_client.verify import verify_files

app = typer.Typer()


@app.command()
def verify(
    context: typer.Context,
    execution: Annotated[str, typer.Argument(metavar="[EXECUTION]", help="Name or ARN of the execution.")] = "",
    proof: Annotated[Path | None, input_file("Its proof.json, with proof_rows.b64 beside it.", "--proof")] = None,
    output: Annotated[Path | None, input_file("Its output.csv.", "--output")] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help="The file that it read, or the folder with its files.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that each input row is in the output once, in order and unchanged, as the run's proof says.

    Name an execution, or files on this machine: then nothing is asked of AWS. Ends with exit code 1 if something does
    not agree.
    """
    if proof is not None and output is not None and not execution:
        done = verify_files(proof, output, source)
    elif execution and proof is None and output is None and source is None:
        done = verify_run(deployment_of(context), execution)
    else:
        raise ClientError("Name the execution, EXECUTION=<name>, or two files: PROOF=proof.json OUTPUT=output.csv.")
    if as_json:
        out.print_json(done.model_dump_json())
    else:
        show(done.verdict)
        for finding in done.findings:
            show(f"  {finding}")
        for note in done.notes:
            show(note)
    if not done.agrees:
        raise typer.Exit(1)
