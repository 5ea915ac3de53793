"""Stages rows of cells, for every format except CSV text, which has its own, faster reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import orjson

from foundation.errors import InvalidInputError, Problem
from row_batches.files.column_names import addressed, naming_warnings
from row_batches.files.staged_copy import escaped, staged_header, staged_line

MAX_FILE_BYTES = 10_000_000_000
"""The most that Step Functions reads, 10 GB, for the file and for its staged copy
(https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html)."""

MAX_ROW_BYTES = 199_000
"""The largest row, as the JSON object that a child of the map gets. A batch has up to 200,000 bytes, and 1,000 of them
are kept for the data besides the row."""

MAX_COLUMNS = 1_890
"""Step Functions reads a header line of up to 10 KiB (the same page). With this many columns, the header of the staged
copy, ``r,c1..cN``, fits. The length of the user's own names does not matter."""

PATH = "csv_s3_uri"
"""Problems with the file are reported for this field of the input document."""
PLACES_NAMED = 5
_CHUNK_BYTES = 65_536


class InputStaging(Protocol):
    """The conversion of a user's file to its staged copy. Iterate once to get the copy in chunks.

    ``header`` has the names in the file; ``columns`` has the names that address the columns (``column_names``).
    ``total_rows``, ``size_bytes`` (of the staged copy) and ``warnings`` are complete after the iteration, which raises
    InvalidInputError for mistakes in the file. ``typed`` says whether cells can have values other than text.
    """

    header: list[str]
    columns: list[str]
    total_rows: int
    size_bytes: int

    @property
    def typed(self) -> bool: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    def __iter__(self) -> Iterator[bytes]: ...


class TableStaging:
    """The staging of rows of cells.

    ``rows`` are pairs of the row's place in the file, such as "line 7", and its cells, as many as ``header`` has. With
    ``max_rows``, it ends after that many rows. Raises InvalidInputError if the header has too many columns.
    """

    typed = True

    def __init__(
        self,
        header: Sequence[str],
        rows: Iterable[tuple[str, Sequence[str]]],
        max_rows: int | None = None,
        source_warnings: Callable[[], list[str]] = list,
    ) -> None:
        if len(header) > MAX_COLUMNS:
            raise InvalidInputError([too_many_columns(len(header))])
        self.header = list(header)
        self.columns = addressed(header)
        self.total_rows = 0
        self.size_bytes = 0
        self._rows = rows
        self._max_rows = max_rows
        self._source_warnings = source_warnings

    @property
    def warnings(self) -> list[str]:
        return [*self._source_warnings(), *naming_warnings(self.header, self.columns)]

    def __iter__(self) -> Iterator[bytes]:
        chunk = staged_header(len(self.columns))
        self.size_bytes = len(chunk)
        wrong = _Wrong()
        for place, cells in islice(self._rows, self._max_rows):
            if wrong.enough:
                break
            line = self._line(place, cells, wrong)
            self.total_rows += 1
            self.size_bytes += len(line)
            if self.size_bytes > MAX_FILE_BYTES:
                raise InvalidInputError([too_large("the staged copy of the file", self.size_bytes)])
            chunk += line
            if len(chunk) >= _CHUNK_BYTES:
                yield chunk
                chunk = b""
        wrong.raise_if_any()
        if chunk:
            yield chunk

    def _line(self, place: str, cells: Sequence[str], wrong: _Wrong) -> bytes:
        try:
            line = staged_line(self.total_rows + 1, cells)
        except UnicodeEncodeError:
            wrong.surrogates.append(place)
            return b""
        if b"\0" in line:
            wrong.nul.append(place)
        elif len(line) * 6 > MAX_ROW_BYTES and row_json_bytes(self.total_rows + 1, cells) > MAX_ROW_BYTES:
            wrong.too_long.append(place)
        return line


class _Wrong:
    """Places of rows that cannot be staged, by kind of mistake."""

    def __init__(self) -> None:
        self.too_long: list[str] = []
        self.nul: list[str] = []
        self.surrogates: list[str] = []

    @property
    def enough(self) -> bool:
        return any(len(places) >= PLACES_NAMED for places in (self.too_long, self.nul, self.surrogates))

    def raise_if_any(self) -> None:
        kinds = (
            (self.too_long, f"a row is longer than {MAX_ROW_BYTES:,} bytes as JSON", SHORTEN),
            (self.nul, "a cell contains a NUL character", "remove it"),
            (self.surrogates, "a cell contains half of a surrogate pair, which is not a character", "remove it"),
        )
        problems = [Problem(PATH, ", ".join(places), message, fix) for places, message, fix in kinds if places]
        if problems:
            raise InvalidInputError(problems)


SHORTEN = "shorten it: put large texts in S3 objects and their addresses in the cell"


def row_json_bytes(row: int, cells: Iterable[str]) -> int:
    """The size in bytes of the JSON object that the native reader makes of a staged row."""
    return len(orjson.dumps({"r": str(row), **{f"c{i}": escaped(cell) for i, cell in enumerate(cells, 1)}}))


def too_large(what: str, size: int) -> Problem:
    """The problem with a file over ``MAX_FILE_BYTES``."""
    message = f"{what} is over {MAX_FILE_BYTES:,} bytes, the most that Step Functions reads"
    return Problem(PATH, f"{size:,} bytes", message, "split it")


def too_many_columns(count: int) -> Problem:
    message = f"the header has more than {MAX_COLUMNS:,} columns, the most that Step Functions reads"
    return Problem(PATH, f"{count:,} columns", message, "split the file by columns")
