"""The first rows of an input, read as a run reads it, so that a person sees how before anything runs."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from foundation.errors import InvalidInputError, ObjectNotFoundError, Problem
from row_batches.document.batch_config import S3Location, names_several, parse_input_uri
from row_batches.document.input_format import InputFormat
from row_batches.files.csv_reader import Staging
from row_batches.files.opening import recognised
from row_batches.files.prefix import FoundInput, choose_objects, prefix_of, single
from row_batches.files.s3 import S3InputObjects
from row_batches.files.several import NamedFile, open_files
from row_batches.files.staged_copy import read_staged

SAMPLE_ROWS = 5
CHUNK_BYTES = 1024 * 1024
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space", ":": "colon"}


@dataclass(frozen=True)
class Sample:
    """The first rows of an input. ``kind`` says what its file is, such as "text in rows (CSV, TSV and the like)".

    ``encoding`` and ``delimiter`` are "" for a format that has none. ``rows`` has the cells of up to ``SAMPLE_ROWS``
    rows; those of a typed file can be ``JsonCell``. ``warnings`` are those of the part that was read.
    """

    uri: str
    files: list[str]
    size_bytes: int
    kind: str
    columns: list[str]
    rows: list[list[str]]
    encoding: str = ""
    delimiter: str = ""
    warnings: list[str] = field(default_factory=list)


def sample_of_file(path: Path, form: InputFormat | None = None) -> Sample:
    """The first rows of a file on this machine. Raises InvalidInputError for a file that a run refuses."""

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    named = NamedFile(path.name, path.stat().st_size, chunks)
    return _sample([named], form or InputFormat(), str(path))


def sample_of_uri(deployment: Deployment, uri: str, form: InputFormat | None = None) -> Sample:
    """The first rows of an address in S3: an object, a folder, or names with ``*``.

    Raises ClientError if there is no such object, and InvalidInputError for an input that a run refuses.
    """
    try:
        location = parse_input_uri(uri)
    except ValueError as wrong:
        raise ClientError(f"{uri} is not an address of S3: {wrong}. Write s3://<bucket>/<key>.csv.") from None
    inputs = S3InputObjects(deployment.client("s3"))
    found = _found(inputs, location, uri)
    files = [NamedFile(name, one.size, partial(inputs.stream, one)) for name, one in found.objects]
    return _sample(files, form or InputFormat(), uri, found.warnings)


def _found(inputs: S3InputObjects, location: S3Location, uri: str) -> FoundInput:
    if not names_several(location):
        try:
            return single(inputs.head(location))
        except ObjectNotFoundError:
            raise ClientError(f"There is no {uri}: upload the file first, or correct the key.") from None
    chosen = choose_objects(location, inputs.objects_under(location.bucket, prefix_of(location)))
    if isinstance(chosen, Problem):
        raise InvalidInputError([chosen])
    return chosen


def _sample(files: Sequence[NamedFile], form: InputFormat, uri: str, notes: Sequence[str] = ()) -> Sample:
    kind, opened = recognised(files[0].chunks, form)
    staging = open_files(files, form, max_rows=SAMPLE_ROWS, notes=notes)
    staged = b"".join(staging)
    ranges = iter([(1, staging.total_rows)] if staging.total_rows else [])
    text = staging if isinstance(staging, Staging) or kind.name != "csv" else kind.stage(opened)
    return Sample(
        uri=uri,
        files=[one.name for one in files],
        size_bytes=sum(one.size for one in files),
        kind=kind.doc,
        columns=list(staging.columns),
        rows=[cells for _, cells in read_staged(iter([staged]), ranges)],
        encoding=codecs.lookup(text.encoding).name if isinstance(text, Staging) else "",
        delimiter=DELIMITERS.get(text.delimiter, text.delimiter) if isinstance(text, Staging) else "",
        warnings=list(staging.warnings),
    )
