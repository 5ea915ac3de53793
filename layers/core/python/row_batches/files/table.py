"""Stages rows of cells, for every format except CSV text, which has its own, faster reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, runtime_checkable

import orjson

from foundation.errors import InvalidInputError, Problem
from row_batches.document.input_format import InputFormat
from row_batches.files.column_names import addressed, naming_warnings
from row_batches.files.staged_copy import escaped, parse_staged, staged_header

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


@dataclass(frozen=True, slots=True)
class InputFile:
    """A user's file as its reader gets it, unpacked.

    ``chunks`` gives the bytes, each time from the start. ``size`` is their number, None if the file was compressed.
    With ``max_rows``, later rows are neither read nor checked. ``notes`` are warnings about the file so far.
    """

    chunks: Callable[[], Iterable[bytes]]
    form: InputFormat = field(default_factory=InputFormat)
    size: int | None = None
    max_rows: int | None = None
    notes: tuple[str, ...] = ()
    chunks_from: Callable[[int], Iterable[bytes]] | None = None
    """Gives the bytes from a byte on; None if only the whole file can be read."""


class InputStaging(Protocol):
    """The conversion of a user's file to its staged copy. Iterate once to get the copy in chunks.

    A staging that another call of the function can continue is also ``Resumable``. All others are done in one call.

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


Place = dict[str, Any]
"""A place in a file, as JSON. Only the reader that made it knows its parts."""


@runtime_checkable
class Resumable(Protocol):
    """An ``InputStaging`` that another call of the function can continue."""

    def place(self) -> Place | None:
        """The place after the chunks so far, for another call; None if reading cannot continue here.

        Raises InvalidInputError if there were mistakes.
        """

    def resume(self, place: Place) -> None:
        """Begin the iteration at a place of an equal staging, without the header of the copy."""


Row = tuple[str, str]
"""A row's place in the file, such as "line 7", and its cells as ``staged_cells`` writes them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Successive rows. ``unit`` and ``first`` are the place of the first row, such as "line" and 7."""

    unit: str
    first: int
    cells: list[str]

    def __iter__(self) -> Iterator[Row]:
        for number, cells in enumerate(self.cells, self.first):
            yield f"{self.unit} {number}", cells


class TableStaging:
    """The staging of rows of cells, in one call.

    ``rows`` have as many cells as ``header``, one row at a time or several, which is faster. Readers write the staged
    cells because they know which need no work. ``reader_warnings`` gives the reader's own, after the iteration. Raises
    InvalidInputError if the header has too many columns.
    """

    typed = True

    def __init__(
        self,
        file: InputFile,
        header: Sequence[str],
        rows: Iterable[Row | Rows],
        reader_warnings: Callable[[], list[str]] = list,
    ) -> None:
        if len(header) > MAX_COLUMNS:
            raise InvalidInputError([too_many_columns(len(header))])
        self.header = list(header)
        self.columns = addressed(header)
        self.total_rows = 0
        self.size_bytes = 0
        self._rows = rows
        self._file = file
        self._reader_warnings = reader_warnings
        self._wrong = _Wrong()
        self._rows_read = 0
        self._has_header = True

    @property
    def warnings(self) -> list[str]:
        return [*self._file.notes, *self._reader_warnings(), *naming_warnings(self.header, self.columns)]

    def __iter__(self) -> Iterator[bytes]:
        lines = []
        if self._has_header:
            lines.append(staged_header(len(self.columns)))
            self.size_bytes = len(lines[0])
        passed = self.size_bytes
        wrong = self._wrong
        for rows, line in self._lines():
            if wrong.enough:
                break
            lines.append(line)
            self.total_rows += rows
            self._rows_read += rows
            self.size_bytes += len(line)
            if self.size_bytes - passed >= _CHUNK_BYTES:
                self._check_size()
                yield b"".join(lines)
                lines = []
                passed = self.size_bytes
        wrong.raise_if_any()
        self._check_size()
        if lines:
            yield b"".join(lines)

    @property
    def rows_left(self) -> int | None:
        """The number of rows that can follow; ``total_rows`` counts those of the files before this one."""
        return None if self._file.max_rows is None else max(0, self._file.max_rows - self.total_rows)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """The staged lines, each with the number of its rows, which is 1 unless they need no look at each."""
        if self.rows_left == 0:
            return
        for rows in self._rows:
            if isinstance(rows, Rows):
                left = self.rows_left
                if (left is None or left > len(rows.cells)) and (together := _together(rows, self.total_rows)):
                    yield len(rows.cells), together
                    continue
            for place, cells in rows if isinstance(rows, Rows) else [rows]:
                yield 1, self._line(place, cells, self._wrong)
                if self.rows_left == 0:
                    return

    def _check_size(self) -> None:
        if self.size_bytes > MAX_FILE_BYTES:
            raise InvalidInputError([too_large("the staged copy of the file", self.size_bytes)])

    def _line(self, place: str, cells: str, wrong: _Wrong) -> bytes:
        row = self.total_rows + 1
        try:
            line = f'"{row}",{cells}\n'.encode()
        except UnicodeEncodeError:
            wrong.note(wrong.surrogates, place)
            return b""
        if b"\0" in line:
            wrong.note(wrong.nul, place)
        elif len(line) * 6 > MAX_ROW_BYTES and row_json_bytes(row, parse_staged(line)) > MAX_ROW_BYTES:
            wrong.note(wrong.too_long, place)
        return line


class ResumableTable(TableStaging):
    """The staging of rows of cells, in as many calls as needed.

    ``rows_after`` gives the file's rows after the first so many. They must be the same in each call.
    """

    def __init__(
        self,
        file: InputFile,
        header: Sequence[str],
        rows_after: Callable[[int], Iterable[Row | Rows]],
        reader_warnings: Callable[[], list[str]] = list,
    ) -> None:
        super().__init__(file, header, rows_after(0), reader_warnings)
        self._rows_after = rows_after

    def place(self) -> Place:
        self._wrong.raise_if_any()
        return {"read": self._rows_read, "rows": self.total_rows, "size": self.size_bytes}

    def resume(self, place: Place) -> None:
        self._has_header = False
        self._rows = self._rows_after(place["read"])
        self._rows_read, self.total_rows, self.size_bytes = place["read"], place["rows"], place["size"]


def _together(rows: Rows, before: int) -> bytes | None:
    """The staged lines of rows, of which ``before`` come first; None if one of them can be wrong."""
    numbered = [f'"{row}",{cells}\n' for row, cells in enumerate(rows.cells, before + 1)]
    try:
        lines = "".join(numbered).encode()
    except UnicodeEncodeError:
        return None
    # A character has up to four bytes, and in JSON, a byte becomes six at most.
    can_be_long = len(lines) * 6 > MAX_ROW_BYTES and max(map(len, numbered)) * 4 * 6 > MAX_ROW_BYTES
    return None if can_be_long or b"\0" in lines else lines


class _Wrong:
    """Places of rows that cannot be staged, by kind of mistake."""

    def __init__(self) -> None:
        self.too_long: list[str] = []
        self.nul: list[str] = []
        self.surrogates: list[str] = []
        self.enough = False

    def note(self, places: list[str], place: str) -> None:
        places.append(place)
        self.enough |= len(places) >= PLACES_NAMED

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


def refuse(value: str, message: str, fix: str) -> NoReturn:
    """Raise InvalidInputError with one problem of the file. ``value`` is its place or what was found there, or ""."""
    raise InvalidInputError([Problem(PATH, value, message, fix)])


def bounded(file: InputFile, what: str, max_bytes: int, fix: str) -> Iterator[bytes]:
    """The bytes of a file that can have up to ``max_bytes``. ``what`` begins the message, such as "the workbook".

    Raises InvalidInputError before anything is read, or, if the size is not known, when that many were read.
    """
    message = f"{what} is over {max_bytes:,} bytes, the most that is read"
    if file.size is not None and file.size > max_bytes:
        refuse(f"{file.size:,} bytes", message, fix)
    return _counted(file.chunks(), max_bytes, Problem(PATH, "", message, fix))


def _counted(chunks: Iterable[bytes], max_bytes: int, problem: Problem) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise InvalidInputError([problem])
        yield chunk


def too_large(what: str, size: int) -> Problem:
    """The problem with a file over ``MAX_FILE_BYTES``."""
    message = f"{what} is over {MAX_FILE_BYTES:,} bytes, the most that Step Functions reads"
    return Problem(PATH, f"{size:,} bytes", message, "split it")


def too_many_columns(count: int) -> Problem:
    """The problem of a file with so many columns."""
    message = f"the header has more than {MAX_COLUMNS:,} columns, the most that Step Functions reads"
    return Problem(PATH, f"{count:,} columns", message, "split the file by columns")
