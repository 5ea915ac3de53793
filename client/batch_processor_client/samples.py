"""The first rows of an input, read as a run reads them, to show to a person before anything runs."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field

from batch_processor_client.deployment import Deployment
from batch_processor_client.inputs import find_input, to_read
from row_batches.document.input_format import InputFormat
from row_batches.files.csv_reader import Staging
from row_batches.files.opening import recognised
from row_batches.files.several import NamedFile, open_files
from row_batches.files.staged_copy import read_staged

SAMPLE_ROWS = 5
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


def sample_of_uri(deployment: Deployment, uri: str, form: InputFormat | None = None) -> Sample:
    """The first rows of an address in S3: an object, a folder, or names with ``*``.

    Raises what ``find_input`` raises, and InvalidInputError for an input that a run refuses.
    """
    found = find_input(deployment, uri)
    return _sample(to_read(deployment, found), form or InputFormat(), uri, found.warnings)


def _sample(files: Sequence[NamedFile], form: InputFormat, uri: str, notes: Sequence[str] = ()) -> Sample:
    kind, opened = recognised(files[0].as_input(form))
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
