"""Start an execution of the batch processor and follow it to its output.

    make run ENV=local INPUT=batch.json [CSV=rows.csv] [NAME=my-run]
    make run ENV=local FOLLOW=my-run

The command checks the input document before anything starts, with the same errors as on AWS. In csv_s3_uri, the word
INPUT_BUCKET stands for the deployment's input bucket: s3://INPUT_BUCKET/rows.csv. With CSV, the command uploads the
file to that bucket and fills in csv_s3_uri. Ctrl-C leaves the execution running.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from row_batches.document.batch_config import EXECUTION_NAME
from row_batches.run.runs_dynamodb import DynamoDbRuns
from row_batches.targets.kinds import parse_document
from tools import executions, report
from tools.command_line import parser_of, readable_file
from tools.errors import CommandError, exit_code_of
from tools.executions import Ending, Follower
from tools.outputs import Deployment

FAILURES_SHOWN = 5
MAX_NAME_CHARACTERS = 80
REFUSED_SIGNS = '< > { } [ ] ? * " # % \\ ^ | ~ ` $ & , ; : /'


def read_document(path: Path) -> dict[str, Any]:
    """The input document of a file. Raises CommandError when it is not a JSON object."""
    try:
        document = json.loads(readable_file(str(path)).read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as broken:
        raise CommandError(f"{path} is not JSON: {broken}.") from None
    except RecursionError:
        raise CommandError(f"{path} is not JSON: nested too deep.") from None
    if not isinstance(document, dict):
        raise CommandError(f"{path} must hold one JSON object: the input document.")
    return document


def execution_name(stem: str, now: datetime) -> str:
    """A name for an execution, from its subject and the time. It has letters, digits, ``-`` and ``_`` only."""
    suffix = now.strftime("-%Y%m%dT%H%M%S")
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[: MAX_NAME_CHARACTERS - len(suffix)] + suffix


def check_name(name: str) -> None:
    """Raise CommandError for a name that Step Functions does not accept (batch_config.EXECUTION_NAME)."""
    if re.fullmatch(EXECUTION_NAME, name) is None:
        raise CommandError(
            f"No execution can be named {name!r}. A name has 1 to 80 characters, no white space, no control character "
            f"and none of {REFUSED_SIGNS}. Choose another NAME: letters, digits, - and _."
        )


def complete_document(document: dict[str, Any], input_bucket: str, csv: Path | None, name: str) -> dict[str, Any]:
    """The document with the CSV's address: that of the file to upload, or with INPUT_BUCKET replaced.

    The key contains a hash of the file, so an upload never replaces a different file with the same name.
    """
    if csv is not None:
        with csv.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return {**document, "csv_s3_uri": f"s3://{input_bucket}/uploads/{name}/{content}/{csv.name}"}
    uri = document.get("csv_s3_uri")
    if isinstance(uri, str):
        return {**document, "csv_s3_uri": uri.replace("s3://INPUT_BUCKET/", f"s3://{input_bucket}/", 1)}
    return document


def submit(deployment: Deployment, document: dict[str, Any], csv: Path | None, name: str) -> Follower:
    """Check name and document, upload the CSV, start the execution.

    Raises CommandError (also for a name that was used) or InvalidInputError before anything is uploaded.
    """
    check_name(name)
    states = deployment.client("stepfunctions")
    executions.refuse_used_name(states, deployment.execution_arn(name))
    completed = complete_document(document, deployment.input_bucket, csv, name)
    parse_document(completed)
    if csv is not None:
        bucket, key = executions.split_s3_uri(completed["csv_s3_uri"])
        deployment.client("s3").upload_file(str(csv), bucket, key)
    arn = executions.start(states, deployment.state_machine_arn, name, completed)
    return follower_of(deployment, arn)


def follower_of(deployment: Deployment, arn: str) -> Follower:
    """A follower of a started execution."""
    runs = DynamoDbRuns(deployment.client("dynamodb"), deployment.runs_table)
    return Follower(deployment.client("stepfunctions"), deployment.client("s3"), runs, deployment.results_bucket, arn)


def show_ending(console: Console, deployment: Deployment, ending: Ending, name: str) -> int:
    """Print the result and the first failed rows. Exit code 0 if the execution succeeded."""
    document = ending.document or {}
    warnings = executions.warnings_of(deployment.client("s3"), document)
    console.print(report.summary(ending, warnings), markup=False, highlight=False)
    unsuccessful = int(document.get("failed", 0)) + int(document.get("timed_out", 0))
    if unsuccessful and document.get("failed_rows_s3_uri"):
        rows = executions.first_failures(deployment.client("s3"), document["failed_rows_s3_uri"], FAILURES_SHOWN)
        if rows:
            console.print(report.failures(rows))
    if ending.document is None and ending.cause:
        console.print(ending.cause, markup=False, highlight=False)
    if ending.status == "ABORTED":
        console.print(f"The output of what was finished comes to s3://{deployment.results_bucket}/results/{name}/")
    return 0 if ending.status == "SUCCEEDED" else 1


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, start or find the execution, follow it."""
    parser = parser_of("make run", __doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--input", type=readable_file, help="file with the input document (INPUT=)")
    what.add_argument("--follow", metavar="EXECUTION", help="name or ARN of an execution that was started (FOLLOW=)")
    parser.add_argument("--csv", type=readable_file, help="file to upload: CSV, Excel workbook, JSON (CSV=)")
    parser.add_argument("--name", help="name of the execution; used twice, it starts nothing twice (NAME=)")
    return exit_code_of(lambda: run(parser.parse_args(arguments)))


def run(options: argparse.Namespace) -> int:
    """Start or find the execution, then follow it."""
    console = Console(soft_wrap=True)
    if options.follow:
        deployment = Deployment.of(options.env)
        follower = follower_of(deployment, deployment.execution_arn(options.follow))
    elif options.input is None:
        raise CommandError("Name the document: make run INPUT=batch.json. Or a run to follow: FOLLOW=<execution>.")
    else:
        document = read_document(options.input)
        deployment = Deployment.of(options.env)
        named_by = (
            options.input.stem if options.input.stem not in ("batch", "input") else options.input.resolve().parent.name
        )
        name = options.name or execution_name(named_by, datetime.now(UTC))
        follower = submit(deployment, document, options.csv, name)
    name = follower.execution_arn.rsplit(":", 1)[1]
    console.print(f"Execution [bold]{name}[/bold]", highlight=False)
    try:
        ending = report.show_progress(console, follower)
    except KeyboardInterrupt:
        console.print(
            f"\nThe execution goes on. Follow it: make run ENV={options.env} FOLLOW={name}\n"
            f"Stop it:                      make stop ENV={options.env} EXECUTION={name}",
            highlight=False,
        )
        return 130
    return show_ending(console, deployment, ending, name)


if __name__ == "__main__":
    sys.exit(main())
