"""Show the whole product on this machine: a local AWS, the real Terraform, three row batches, a Bedrock batch.

    make demo            stops the local AWS at the end
    make demo ARGS=--keep

If the local AWS of `make up` runs, the demo uses it and leaves it running. Otherwise it starts one of its own, in
build/demo-aws, and forgets it, but for its logs when something fails; with --keep, the demo starts that of `make up`.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from batch_processor_client import files, following, runs
from batch_processor_client.cli import report
from batch_processor_client.deployment import Deployment
from batch_processor_client.documents import execution_name, read_document
from batch_processor_client.progress import clock
from row_batches.mapping.metadata_columns import METADATA_COLUMNS
from tools import bedrock_demo, local_aws, up
from tools.errors import CommandError, exit_code_of
from tools.outputs import deployment_of

WIDTH = 100
EXAMPLES = local_aws.REPOSITORY / "examples"
ROWS_SHOWN = 3
OWN_FOLDER = local_aws.REPOSITORY / "build" / "demo-aws"


@dataclass(frozen=True)
class Example:
    """One folder of examples/. ``shown`` are the columns of the output to print."""

    name: str
    what: str
    shown: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return EXAMPLES / self.name


DEMONSTRATED = (
    Example(
        "ticket-classification",
        "Support tickets go through an agent (a state machine) that gives each a category, a priority and an answer.",
        ("ticket_id", "description", "category", "priority", "_status"),
    ),
    Example(
        "product-descriptions",
        "Products go through a tool (a Lambda function). A template builds each row's prompt from two columns.",
        ("product_id", "title", "marketing_description", "_status"),
    ),
    Example(
        "company-enrichment",
        "Companies go through an agent that looks each one up. Every row has some fixed values, too.",
        ("company_name", "industry", "employee_count", "linkedin_url", "_status"),
    ),
)


def differences(expected: str, actual: str) -> list[str]:
    """The differences between an output and the expected file, which lacks columns that change with every run."""
    wanted, found = (list(csv.DictReader(io.StringIO(text, newline=""))) for text in (expected, actual))
    if len(wanted) != len(found):
        return [f"{len(found)} rows instead of {len(wanted)}"]
    return [
        f"row {number}, column {column}: {there.get(column)!r} instead of {value!r}"
        for number, (here, there) in enumerate(zip(wanted, found, strict=True), 1)
        for column, value in here.items()
        if column not in METADATA_COLUMNS and there.get(column) != value
    ]


def start_example(deployment: Deployment, example: Example) -> str:
    """Upload the input of an example and start its batch; returns the ARN of the execution."""
    key = f"examples/{example.name}/input.csv"
    deployment.client("s3").upload_file(str(example.folder / "input.csv"), deployment.input_bucket, key)
    name = execution_name(example.name, datetime.now(UTC))
    return runs.start(deployment, read_document(example.folder / "batch.json"), name)


def show_example(console: Console, deployment: Deployment, example: Example) -> None:
    """Run and show an example. Raises CommandError if the output is not the expected one."""
    console.rule(f"[bold]{example.name}[/bold]", align="left")
    console.print(example.what)
    ending = report.show_progress(console, following.follow(deployment, start_example(deployment, example)))
    document = ending.document
    if document is None or ending.status != "SUCCEEDED":
        raise CommandError(f"{example.name} ended {ending.status}: {ending.error} {ending.cause}")
    bucket, output_key = files.split_s3_uri(document["output_s3_uri"])
    output = deployment.client("s3").get_object(Bucket=bucket, Key=output_key)["Body"].read().decode()
    rows = list(csv.DictReader(io.StringIO(output, newline="")))
    console.print(report.rows_table(rows[:ROWS_SHOWN], list(example.shown)))
    console.print(
        f"{document['total_rows']} rows, {document['succeeded']} succeeded, "
        f"{clock(float(document['duration_seconds']))}, {report.total_cost(document)}",
        highlight=False,
    )
    console.print(f"Output: {document['output_s3_uri']}\n", highlight=False, soft_wrap=True)
    wrong = differences((example.folder / "expected.csv").read_text(encoding="utf-8"), output)
    if wrong:
        raise CommandError(f"{example.name}: the output is not the expected one:\n" + "\n".join(wrong))


def begun_beside(show: Callable[[Console], None]) -> Future[str]:
    """Begin to show something in a thread of its own; the result is what it printed, with ANSI codes for its styles.

    A daemon thread, so that the demo does not wait for it after an error or Ctrl-C.
    """
    printed: Future[str] = Future()

    def run() -> None:
        recorder = Console(width=WIDTH, file=io.StringIO(), record=True)
        try:
            show(recorder)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            printed.set_exception(error)
        else:
            printed.set_result(recorder.export_text(styles=True))

    threading.Thread(target=run, name="beside", daemon=True).start()
    return printed


def show_when_done(console: Console, what: str, printed: Future[str]) -> None:
    """Wait for what ``begun_beside`` returned and print it. Raises what was raised there."""
    with console.status(what):
        text = printed.result()
    console.print(Text.from_ansi(text), end="", soft_wrap=True)


def demonstrate(console: Console, keep: bool) -> int:
    """Start what is missing, run the examples, stop what was started."""
    begun = time.monotonic()
    console.print("[bold]Batch Processor[/bold]: a CSV goes through an agent or a tool, row by row, on a local AWS.\n")
    own = not keep and not local_aws.is_running()
    if own:
        os.environ["LOCAL_AWS_DIR"] = str(OWN_FOLDER)
        if OWN_FOLDER.exists():
            local_aws.forget()  # what a demo that failed left
    end = local_aws.forget
    try:
        up.start_and_deploy(console, keep=keep)
        deployment = deployment_of("local")
        console.print(
            f"  The state machine: {deployment.batch_processor_state_machine_arn}\n", highlight=False, soft_wrap=True
        )
        bedrock_batch = begun_beside(lambda to: bedrock_demo.run_bedrock_batch(to, deployment))
        # One after the other: at the same time, each would start workers of its own for the same functions.
        for example in DEMONSTRATED:
            show_example(console, deployment, example)
        show_when_done(console, "The Bedrock batch", bedrock_batch)
    except Exception:
        end = local_aws.stop  # its logs stay, because the message names them
        raise
    finally:
        if own:
            end()
    console.rule(style="dim")
    console.print(
        f"All three outputs are as expected, and the lake has its content. {clock(time.monotonic() - begun)} in all.",
        highlight=False,
    )
    if own:
        console.print("The local AWS is stopped again.\n")
    else:
        console.print(f"The local AWS runs on at {local_aws.endpoint_url()}; `make down` stops it.\n", highlight=False)
    console.print("[bold]Try next[/bold]")
    for command, meaning in (
        ("make up", "a local AWS that keeps running"),
        ("make run CSV=my.csv TARGET=echo", "your own rows"),
        ("make target NAME=mine FILE=handler.py", "your own target, from a Lambda handler"),
        ("make console", "watch runs in the browser"),
        ("make help", "everything else"),
    ):
        console.print(f"  {command:<40} {meaning}", highlight=False, soft_wrap=True)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, show the product."""
    parser = argparse.ArgumentParser(
        prog="make demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="leave the local AWS running")
    options = parser.parse_args(arguments)
    return exit_code_of(lambda: demonstrate(Console(width=WIDTH), options.keep))


if __name__ == "__main__":
    sys.exit(main())
