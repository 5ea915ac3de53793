"""Reads several files of one kind as one table, in the order in which they are given.

Columns are matched by name, so files can have them in different orders. A column that a file lacks is empty in its
rows. Each file is opened twice, first for its header. Memory: that of one file's reader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from foundation.errors import InvalidInputError, Problem
from foundation.problems import listed
from row_batches.document.input_format import InputFormat
from row_batches.files.opening import Format, open_input, recognised
from row_batches.files.staged_copy import parse_staged, staged_cells, staged_header, staged_lines
from row_batches.files.table import (
    MAX_COLUMNS,
    MAX_FILE_BYTES,
    MAX_ROW_BYTES,
    SHORTEN,
    InputFile,
    InputStaging,
    Place,
    Resumable,
    refuse,
    row_json_bytes,
    too_large,
    too_many_columns,
)

NAMED = 5
SOURCE_COLUMN = "input_format.source_column"


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file and its name for a person. ``chunks`` gives its bytes, each time from the start."""

    name: str
    size: int
    chunks: Callable[[], Iterable[bytes]]
    chunks_from: Callable[[int], Iterable[bytes]] | None = None

    def as_input(self, form: InputFormat, max_rows: int | None = None, notes: Sequence[str] = ()) -> InputFile:
        """The file, to be read as ``form`` says."""
        return InputFile(self.chunks, form, self.size, max_rows, tuple(notes), self.chunks_from)


def open_files(
    files: Sequence[NamedFile],
    form: InputFormat,
    *,
    max_rows: int | None = None,
    notes: Sequence[str] = (),
    unrelated: bool = False,
) -> InputStaging:
    """Prepare to stage the rows of one file or of several, in this order. ``notes`` are warnings about them so far.

    ``unrelated`` allows files that have no column of any other file, as an earlier release did.
    Raises what ``opening.open_input`` raises.
    """
    if len(files) == 1 and form.source_column is None:
        return open_input(files[0].as_input(form, max_rows, notes))
    return FilesStaging(files, form, max_rows, notes, unrelated=unrelated)


@dataclass(slots=True)
class _Warnings:
    """The files' own warnings, each with the files that have it."""

    files: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, warnings: Sequence[str]) -> None:
        for warning in warnings:
            self.files.setdefault(warning, []).append(name)

    def said(self) -> list[str]:
        return [f"{listed(names, NAMED)}: {warning}" for warning, names in self.files.items()]


class FilesStaging:
    """The staging of several files, as ``table.InputStaging``. ``source_column`` of the form names their file.

    Raises InvalidInputError if a file cannot be read, if the files are of different kinds, or if there are too many
    columns. Problems name the file.
    """

    def __init__(
        self,
        files: Sequence[NamedFile],
        form: InputFormat,
        max_rows: int | None = None,
        notes: Sequence[str] = (),
        *,
        unrelated: bool = False,
    ) -> None:
        self._files = files
        self._unrelated = unrelated
        self._form = form
        self._max_rows = max_rows
        self._notes = list(notes)
        self._warnings = _Warnings()
        self.total_rows = 0
        self.size_bytes = 0
        self.typed = False
        self.header: list[str] = []
        self.columns: list[str] = []
        self._next = 0
        """The file to read; the one that is being read during the iteration."""
        self._reading: InputStaging | None = None
        self._inner: Place | None = None
        self._is_resumed = False
        self._read_headers()

    def _read_headers(self) -> None:
        written: dict[str, str] = {}
        columns_of: dict[str, list[str]] = {}
        first: tuple[str, Format] | None = None
        for file in self._files:
            kind, staging = self._open(file)
            if first is None:
                first = file.name, kind
            if kind.name != first[1].name:
                value = f"{first[0]} and {file.name}"
                message = f"the files are of different kinds: {first[1].name} and {kind.name}"
                refuse(value, message, "submit each kind in a batch of its own")
            self.typed |= staging.typed
            columns_of[file.name] = staging.columns
            for column, name in zip(staging.columns, staging.header, strict=True):
                written.setdefault(column, name)
        self.columns, self.header = list(written), list(written.values())
        if first is not None and not first[1].sparse and not self._unrelated:
            _refuse_unrelated(columns_of)
        self._note_lacking(columns_of)
        if (source := self._form.source_column) is not None:
            if source in written or source in self.header:
                message, fix = "the file already has a column of this name", "name the new column differently"
                raise InvalidInputError([Problem(SOURCE_COLUMN, source, message, fix)])
            self.columns.append(source)
            self.header.append(source)
        if len(self.columns) > MAX_COLUMNS:
            raise InvalidInputError([too_many_columns(len(self.columns))])

    def _note_lacking(self, columns_of: dict[str, list[str]]) -> None:
        lacking: dict[tuple[str, ...], list[str]] = {}
        for name, columns in columns_of.items():
            missing = set(self.columns) - set(columns)
            if missing:
                lacking.setdefault(tuple(c for c in self.columns if c in missing), []).append(name)
        for missing_columns, names in lacking.items():
            self._notes.append(
                f"Columns missing in {listed(names, NAMED)}: {listed(list(missing_columns), NAMED)}. "
                "Their cells are empty."
            )

    @property
    def warnings(self) -> list[str]:
        many = len(self._files)
        read = [f"{many:,} files are read as one, {self._files[0].name} to {self._files[-1].name}."] if many > 1 else []
        own = self._warnings.said() if many > 1 else list(self._warnings.files)
        return [*read, *self._notes, *own]

    def __iter__(self) -> Iterator[bytes]:
        if not self._is_resumed:
            header = staged_header(len(self.columns))
            self.size_bytes = len(header)
            yield header
        for file in self._files[self._next :]:
            if self.total_rows == self._max_rows:
                break
            kind, staging = self._open(file)
            staging.total_rows = self.total_rows
            is_inside = self._inner is not None
            if self._inner is not None:
                assert isinstance(staging, Resumable)
                staging.resume(self._inner)
                self._inner = None
            self._reading = staging
            with _named(file.name):
                for chunk in self._lines(file, kind, staging, is_inside=is_inside):
                    self.size_bytes += len(chunk)
                    if self.size_bytes > MAX_FILE_BYTES:
                        raise InvalidInputError([too_large("the staged copy of the files", self.size_bytes)])
                    yield chunk
            self.total_rows = staging.total_rows
            self._warnings.add(file.name, staging.warnings)
            self._reading = None
            self._next += 1
            yield b""  # Another call can continue here, even if this kind of file cannot be continued in the middle.

    def place(self) -> Place | None:
        inner = None
        if self._reading is not None:
            if not isinstance(self._reading, Resumable):
                return None
            with _named(self._files[self._next].name):
                inner = self._reading.place()
            if inner is None:
                return None
        return {
            "file": self._next,
            "inner": inner,
            "rows": self.total_rows,
            "size": self.size_bytes,
            "warnings": self._warnings.files,
        }

    def resume(self, place: Place) -> None:
        self._is_resumed = True
        self._next, self._inner = place["file"], place["inner"]
        self.total_rows, self.size_bytes = place["rows"], place["size"]
        self._warnings.files = {warning: [*names] for warning, names in place["warnings"].items()}

    def _open(self, file: NamedFile) -> tuple[Format, InputStaging]:
        with _named(file.name):
            kind, opened = recognised(file.as_input(self._form, self._max_rows))
            return kind, kind.stage(opened)

    def _lines(self, file: NamedFile, kind: Format, staging: InputStaging, *, is_inside: bool) -> Iterator[bytes]:
        """The staged lines of one file's rows, with the columns of all files; a chunk for each one of the file."""
        chunks = iter(staging) if is_inside else _without_header(staging)
        source = [] if self._form.source_column is None else [file.name]
        as_it_is = [*staging.columns] == self.columns[: len(self.columns) - len(source)]
        if as_it_is and not source:
            yield from chunks
            return
        place_of = {name: place for place, name in enumerate(staging.columns)}
        places = [place_of.get(name) for name in self.columns[: len(self.columns) - len(source)]]
        end = f",{staged_cells(source)}\n".encode() if source else b"\n"
        for chunk in chunks:
            lines = []
            for row, staged in staged_lines([b"\n", chunk]):
                if as_it_is:
                    line = staged[:-1] + end
                else:
                    cells = parse_staged(staged)
                    all_cells = staged_cells(kind.missing if at is None else cells[at] for at in places)
                    line = f'"{row}",{all_cells}'.encode() + end
                if len(line) * 6 > MAX_ROW_BYTES and row_json_bytes(row, parse_staged(line)) > MAX_ROW_BYTES:
                    message = f"a row is longer than {MAX_ROW_BYTES:,} bytes as JSON, with the columns of all files"
                    refuse(f"row {row:,} of all files", message, SHORTEN)
                lines.append(line)
            yield b"".join(lines)


def _refuse_unrelated(columns_of: Mapping[str, list[str]]) -> None:
    """Raise InvalidInputError for files that have no column of any other file, such as a note in the folder."""
    files_with = Counter(column for columns in columns_of.values() for column in columns)
    unrelated = [name for name, columns in columns_of.items() if all(files_with[column] == 1 for column in columns)]
    if not unrelated or len(columns_of) == 1:
        return
    if len(unrelated) == len(columns_of):  # No two files have a column in common, so the first stays.
        unrelated = unrelated[1:]
    message = "a file has no column of the other files"
    fix = (
        "take it out of the folder, name the files by a pattern such as s3://bucket/folder/*.csv, or correct its header"
    )
    refuse(listed(unrelated, NAMED), message, fix)


def _without_header(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks of a staged copy without its first line."""
    rest = iter(chunks)
    if first := next(rest, b"").partition(b"\n")[2]:
        yield first
    yield from rest


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the file's name before the places that problems name."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(
            [
                problem._replace(value=f"{name}: {problem.value}" if problem.value else name)
                for problem in error.problems
            ]
        ) from None
