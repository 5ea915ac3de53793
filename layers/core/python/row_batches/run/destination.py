"""Checks before anything is spent that the results can be copied to the document's ``output_s3_uri``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from foundation.errors import DeliveryError, Problem
from row_batches.document.output_format import OutputFormat
from row_batches.document.plan import RESULTS_PREFIX, Keys, Plan
from row_batches.document.s3_location import S3Location, names_several, parse_input_uri, parse_output_uri
from row_batches.files.ports import OutputObjects
from row_batches.files.prefix import can_choose
from row_batches.files.writers import WRITER_OF

FIELD = "output_s3_uri"
ANY_RUN = Keys("*")
"""The keys of a run of any name: later runs of the same document have other names."""


def destination_problem(
    document: Any, keys: Keys, outputs: OutputObjects, output_buckets: Sequence[str], results_bucket: str
) -> Problem | None:
    """The problem with the document's ``output_s3_uri``; None if results can be copied there, or if there is none.

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
    read = read_again_problem(document, keys)
    if read is not None:
        return read
    try:
        outputs.try_upload(S3Location(folder.bucket, f"{folder.key}{keys.name}/output.csv"))
    except DeliveryError as error:
        return Problem(FIELD, uri, str(error), error.fix)
    return None


def tried_destination(plan: Plan) -> dict[str, str] | None:
    """The delivery for the output of a dry run, which tried the place; None if the document names none."""
    folder = plan.config.destination(plan.execution.name)
    return None if folder is None else {"s3_uri": folder.uri, "status": "TRIED", "reason": ""}


def own_bucket_problem(document: Any, keys: Keys, results_bucket: str) -> Problem | None:
    """The problem of a document that names the results bucket itself, whose prefixes have other uses."""
    folder = _folder(document)
    if folder is None or folder.bucket != results_bucket:
        return None
    fix = f"leave it out: the results are in s3://{results_bucket}/{keys.results} anyway"
    return Problem(FIELD, document[FIELD], "this is the deployment's own results bucket", fix)


def delivered_names(keys: Keys, formats: Sequence[str]) -> list[str]:
    """The names, in the document's folder, of the objects that a run and its remaps copy there."""
    own = [keys.failed_rows, keys.proof_rows, keys.proof, keys.summary]
    return [*_names(keys.output, formats), *map(_name, own), *remapped_names(keys, formats)]


def remapped_names(keys: Keys, formats: Sequence[str]) -> list[str]:
    """The names, in the document's folder, of the objects that a remap copies there. ``*`` stands for its time."""
    return _names(keys.remapped("*"), formats)


def _names(output_key: str, formats: Sequence[str]) -> list[str]:
    """The names of an output. Of several objects of a format, it has the first."""
    folder = _name(output_key).rpartition("/")[0]
    return [f"{folder}/{WRITER_OF[name].first_object}" for name in formats]


def _name(key: str) -> str:
    return key.removeprefix(f"{RESULTS_PREFIX}/")


def read_again_problem(
    document: Any, keys: Keys, names_of: Callable[[Keys, Sequence[str]], list[str]] = delivered_names
) -> Problem | None:
    """The problem of a document whose input takes the copies of its results, those of later runs included.

    ``names_of`` gives the names of the copies in the document's folder.
    """
    folder, source = _folder(document), _source(document)
    if folder is None or source is None or not names_several(source) or source.bucket != folder.bucket:
        return None
    names = [name for run in (keys, ANY_RUN) for name in names_of(run, _formats(document))]
    if not any(can_choose(source, folder.key + name) for name in names):
        return None
    fix = "name a folder that csv_s3_uri does not match"
    return Problem(FIELD, document[FIELD], "the next run of csv_s3_uri would read the results as input", fix)


def _formats(document: Any) -> tuple[str, ...]:
    """The formats of the output. The document's own checks report a section with mistakes."""
    try:
        return OutputFormat.model_validate(document.get("output_format") or {}).types
    except ValueError:
        return OutputFormat().types


def _folder(document: Any) -> S3Location | None:
    """The folder that the document names, if it is an address. The document's own checks report any other text."""
    uri = document.get(FIELD) if isinstance(document, dict) else None
    try:
        return parse_output_uri(uri) if isinstance(uri, str) else None
    except ValueError:
        return None


def _source(document: Any) -> S3Location | None:
    """The input that the document names, if it is an address."""
    given = document.get("csv_s3_uri")
    try:
        return parse_input_uri(given) if isinstance(given, str) else None
    except ValueError:
        return None
