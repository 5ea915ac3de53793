"""The results of a run that has ended: its warnings, its first rows, its failed rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError as RefusedByAwsError

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.executions import Ending, describe, ending_of, name_of
from batch_processor_client.files import split_s3_uri
from row_batches.document.plan import Keys
from row_batches.run.aggregate_results import NOT_STARTED

READ_BYTES = 256 * 1024
OF_A_DRY_RUN = ("estimate", "storage")
"""Fields of a summary that an output document has for a dry run only."""
FORMAT_OF = {".xlsx": "xlsx", ".jsonl": "jsonl", ".parquet": "parquet"}
"""The formats that a file's ending asks for. Any other ending gets the CSV."""


def first_rows(deployment: Deployment, uri: str, count: int) -> list[dict[str, str]]:
    """The first rows of a CSV, column to value, from its first 256 KB."""
    return list(islice(_rows(deployment, uri), count))


def first_failed_rows(deployment: Deployment, uri: str, count: int) -> list[dict[str, str]]:
    """The first rows of ``failed_rows.csv`` that ran and failed, from its first 256 KB."""
    failed = (row for row in _rows(deployment, uri) if not row["_error_message"].startswith(NOT_STARTED))
    return list(islice(failed, count))


def _rows(deployment: Deployment, uri: str) -> Iterator[dict[str, str]]:
    bucket, key = split_s3_uri(uri)
    body = deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read(READ_BYTES)
    csv.field_size_limit(READ_BYTES)  # a cell can be as long as what is read
    yield from csv.DictReader(io.StringIO(body.decode(errors="ignore"), newline=""), restval="")


def ending(deployment: Deployment, execution: str) -> Ending:
    """The end of an execution. Raises ClientError if there is no such execution, or if it still runs.

    Of an execution that was stopped or died, whose output is written after its end, the document is the summary.
    """
    arn = deployment.execution_arn(execution)
    found = ending_of(describe(deployment.client("stepfunctions"), arn))
    if found is None:
        raise ClientError(f"{name_of(arn)} still runs. Follow it: make run FOLLOW={name_of(arn)}.")
    if found.document is None:
        address = f"s3://{deployment.results_bucket}/{Keys(name_of(arn)).summary}"
        summary = summary_of(deployment, {"summary_s3_uri": address})
        document = {name: value for name, value in summary.items() if name not in OF_A_DRY_RUN}
        return found.model_copy(update={"document": document or None})
    return found


def summary_of(deployment: Deployment, document: dict[str, Any]) -> dict[str, Any]:
    """A run's summary; for a dry run, its output document, which has the warnings. {} if the summary is missing."""
    if "warnings" in document or "summary_s3_uri" not in document:
        return document
    bucket, key = split_s3_uri(document["summary_s3_uri"])
    try:
        return dict(json.loads(deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()))
    except RefusedByAwsError:
        return {}  # the result is shown without it


def with_format_of(document: dict[str, Any], output: Path | None) -> dict[str, Any]:
    """The document of a run whose output also has the format that the ending of ``output`` asks for.

    A document with a mistake in ``output_format`` stays as it is, so that the mistake is named. Raises ClientError for
    Parquet, which is never one file.
    """
    wanted = FORMAT_OF.get(output.suffix.casefold()) if output else None
    if wanted is None:
        return document
    if wanted == "parquet":
        raise ClientError(
            f"No single file {output} can have the output: Parquet is several files. Name a .csv, .xlsx or .jsonl "
            'file, or run a document with "output_format": {"type": "parquet"} and copy the files that it names.'
        )
    given = document.get("output_format") or {}
    types = given.get("type", []) if isinstance(given, dict) else None
    types = [types] if isinstance(types, str) else types
    if not isinstance(types, list) or wanted in types:
        return document
    return {**document, "output_format": {**given, "type": [*types, wanted]}}


def address_for(path: Path, output_s3_uri: str, outputs: dict[str, str]) -> str:
    """The address of the output in the format that the ending of ``path`` asks for.

    ``outputs`` are the addresses by format. Raises ClientError if the output does not have that format, or has it as
    several files.
    """
    wanted = FORMAT_OF.get(path.suffix.casefold())
    if wanted is None:
        return output_s3_uri
    address = outputs.get(wanted)
    if address is None:
        raise ClientError(f"The run wrote no {wanted}. Name a .csv file, or remap the run with it in output_format.")
    if address.endswith("/"):
        raise ClientError(f"The output is several files. Copy them: aws s3 cp --recursive {address} <folder>")
    return address
