"""Write the output of a finished execution again with other columns, without calling the target.

    make remap ENV=local EXECUTION=my-run INPUT=batch.json [OUTPUT=new.csv]

The command uses output_mapping of the document and the answers, which are kept for work_retention_days. It writes the
new file under results/<execution>/remapped/<UTC time>/ and, with OUTPUT, also to a local file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from botocore.config import Config
from rich.console import Console

from foundation.aws.s3 import S3ObjectStore
from foundation.invocation import SystemClock
from foundation.ports import ObjectStore
from row_batches.rows.read_ahead import READERS
from row_batches.rows.records import RowStatus
from row_batches.rows.stores import RowStores
from row_batches.run.remap import Remapped, remap
from tools import report
from tools.command_line import parser_of, readable_file
from tools.errors import CommandError, exit_code_of
from tools.outputs import Deployment
from tools.run import read_document

COLUMNS_SHOWN = 6
COUNTS = {"succeeded": RowStatus.SUCCESS, "failed": RowStatus.FAILED, "timed out": RowStatus.TIMEOUT}


def writable_file(text: str) -> Path:
    """The path of a file to write. Raises CommandError before anything is sent to AWS."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise CommandError(f"OUTPUT={text}: name a file in a folder that exists.")
    return path


def remap_execution(
    console: Console, objects: ObjectStore, stores: RowStores, execution: str, document: dict[str, Any]
) -> Remapped:
    """Write the new output; on a terminal, show the progress."""
    with console.status("reading the plan") as status:
        return remap(
            execution,
            document,
            objects=objects,
            clock=SystemClock(),
            stores=stores,
            progress=lambda done, total: status.update(f"{done:,} of {total:,} rows"),
        )


def show(console: Console, bucket: str, remapped: Remapped) -> None:
    """Print the first rows, the counts and the address."""
    if remapped.first_rows:
        columns = ["_row_id", *remapped.columns[:COLUMNS_SHOWN], "_status"]
        console.print(report.rows_table(remapped.first_rows, columns))
    lines = [("total rows", f"{remapped.total_rows:,}")]
    lines += [(name, f"{remapped.counts[status]:,}") for name, status in COUNTS.items()]
    if remapped.unfinished:
        lines.append(("unfinished", f"{remapped.unfinished:,} of the failed: no worker finished them"))
    for column, failures in remapped.cast_failures.items():
        text = f"{failures.count:,} cells of {column}, which have their default; the first is {failures.sample}"
        lines.append(("cast failed", text))
    lines += [("warning", warning) for warning in remapped.warnings]
    lines.append(("output", f"s3://{bucket}/{remapped.key}"))
    for name, value in lines:
        console.print(f"{name:<12} {value}", markup=False, highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, write the new output."""
    parser = parser_of("make remap", __doc__)
    parser.add_argument("--execution", help="name or ARN of the execution (EXECUTION=)")
    parser.add_argument("--input", type=readable_file, help="file with a document that has output_mapping (INPUT=)")
    parser.add_argument("--output", type=writable_file, help="file to write the new output to, too (OUTPUT=)")
    return exit_code_of(lambda: run(parser.parse_args(arguments)))


def run(options: argparse.Namespace) -> int:
    """Write the new output and print its address."""
    if not options.execution or options.input is None:
        raise CommandError("Name the execution and the document: make remap EXECUTION=<name> INPUT=batch.json.")
    document = read_document(options.input)
    deployment = Deployment.of(options.env)
    storage = deployment.client("s3", Config(max_pool_connections=READERS))
    execution = options.execution.rsplit(":", 1)[-1]
    console = Console(soft_wrap=True)
    bucket = deployment.results_bucket
    objects = S3ObjectStore(storage, bucket)

    def table() -> tuple[Any, str]:
        return deployment.client("dynamodb", Config(max_pool_connections=READERS)), deployment.results_table

    stores = RowStores(objects, SystemClock(), table)
    remapped = remap_execution(console, objects, stores, execution, document)
    show(console, bucket, remapped)
    if options.output is not None:
        storage.download_file(bucket, remapped.key, str(options.output))
        console.print(f"{'file':<12} {options.output}", markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
