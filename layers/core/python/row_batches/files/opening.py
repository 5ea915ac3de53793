"""From an object's bytes to rows: unpacked, recognised, as UTF-8, and read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.files import gzip_, recognise
from row_batches.files.csv_reader import MAX_FILE_BYTES, PATH, Staging
from row_batches.files.encoding import Utf8Text


def open_input(chunks: Iterable[bytes], form: InputFormat, *, max_rows: int | None = None) -> Staging:
    """Read the header of a user's file, given as byte chunks of any size, and prepare to stage its rows.

    Raises InvalidInputError for a file that is not text in rows, saying what it is, and for one without a usable
    header; iterating raises it for what is wrong further on. ``max_rows`` as in ``Staging``.
    """
    chunks = iter(chunks)
    head = _head(chunks)
    stream = chain([head], chunks)
    notes = []
    if head.startswith(gzip_.MAGIC):
        stream = chain(gzip_.unpacked(stream, path=PATH, max_bytes=MAX_FILE_BYTES))
        head = _head(stream)
        stream = chain([head], stream)
        notes.append("The file is compressed with gzip.")
    if problem := recognise.problem_of(head, PATH):
        raise InvalidInputError([problem])
    text = Utf8Text(stream, form, PATH)
    return Staging(text, form, max_rows, source_warnings=lambda: [*notes, *text.warnings])


def _head(chunks: Iterable[bytes]) -> bytes:
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= recognise.HEAD_BYTES:
            break
    return head
