"""Checks before anything is spent that the results can be copied to the document's ``output_s3_uri``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foundation.errors import DeliveryError, Problem
from row_batches.document.batch_config import S3Location, names_several, parse_input_uri, parse_output_uri
from row_batches.document.plan import Keys, Plan
from row_batches.files.ports import OutputObjects
from row_batches.files.prefix import prefix_of

FIELD = "output_s3_uri"


def destination_problem(
    document: Any, keys: Keys, outputs: OutputObjects, output_buckets: Sequence[str], results_bucket: str
) -> Problem | None:
    """Why the results cannot be copied to the document's ``output_s3_uri``; None if they can, or if there is none.

    Tries to write there. Raises ``ThrottledError`` and ``ServiceUnavailableError``.
    """
    folder = _folder(document)
    if folder is None:
        return None
    own = own_bucket_problem(document, keys, results_bucket)
    if own is not None:
        return own
    uri = document[FIELD]
    if folder.bucket not in output_buckets:
        known = f"use one of {', '.join(output_buckets)}, or add it" if output_buckets else "add it"
        fix = f"{known} to the Terraform variable output_buckets"
        return Problem(FIELD, uri, "the deployment does not allow this bucket", fix)
    if _is_read(folder, document):
        fix = "name a folder outside of the input's"
        return Problem(FIELD, uri, "the next run of csv_s3_uri would read the results as input", fix)
    try:
        outputs.try_upload(S3Location(folder.bucket, f"{folder.key}{keys.name}/output.csv"))
    except DeliveryError as error:
        return Problem(FIELD, uri, str(error), error.fix)
    return None


def tried_destination(plan: Plan) -> dict[str, str] | None:
    """The delivery for the output of a dry run, which tried the place; None if the document names none."""
    folder = plan.config.destination(plan.execution.name)
    return None if folder is None else {"s3_uri": f"s3://{folder.bucket}/{folder.key}", "status": "TRIED", "reason": ""}


def own_bucket_problem(document: Any, keys: Keys, results_bucket: str) -> Problem | None:
    """The problem of a document that names the results bucket itself, whose prefixes have other uses."""
    folder = _folder(document)
    if folder is None or folder.bucket != results_bucket:
        return None
    fix = f"leave it out: the results are in s3://{results_bucket}/{keys.results} anyway"
    return Problem(FIELD, document[FIELD], "this is the deployment's own results bucket", fix)


def _folder(document: Any) -> S3Location | None:
    """The folder that the document names, if it is an address. The document's own checks report any other text."""
    uri = document.get(FIELD) if isinstance(document, dict) else None
    try:
        return parse_output_uri(uri) if isinstance(uri, str) else None
    except ValueError:
        return None


def _is_read(folder: S3Location, document: Any) -> bool:
    """Whether an input of several files takes the objects of this folder."""
    given = document.get("csv_s3_uri")
    try:
        source = parse_input_uri(given) if isinstance(given, str) else None
    except ValueError:
        return False
    if source is None or not names_several(source) or source.bucket != folder.bucket:
        return False
    return folder.key.startswith(prefix_of(source))
