"""Writes the staged copy of an input: the rows to send in one object, the rows without content in another.

A large input takes several calls of the function. Each call writes a checkpoint before its time is over: the place in
the input and the parts of both objects. The next call continues there. A call that is killed is repeated from its last
checkpoint, and writes the same parts again. The input must not change between the calls.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pydantic import Field

from foundation.errors import (
    BatchProcessorError,
    InvalidInputError,
    ObjectChangedError,
    ObjectNotFoundError,
    Problem,
)
from foundation.lazy_model import LazyModel
from foundation.ports import Deadline, ObjectStore
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import Execution, Keys, ReadObject, SkippedInput
from row_batches.files.blank_rows import BlankRows
from row_batches.files.hashed_inputs import Reads
from row_batches.files.result_file import FileState
from row_batches.files.staged_copy import staged_header
from row_batches.files.table import PATH, InputStaging, Place, Resumable
from row_batches.files.upload import Upload

EMPTY_ROWS = "input_format.empty_rows"
RESERVE_SECONDS = 120.0
"""A call stops when less time than this is left of its 15 minutes, at the next place where reading can continue."""
LAST_RESERVE_SECONDS = 30.0
"""If there is no such place by then, reading stops: the input does not fit into one call."""
PLAN_SECONDS = 420.0
"""Planning a staged input, with the search for duplicates, takes up to this. With less left, another call plans."""
PARTS_A_CHECKPOINT = 10


class Finished(LazyModel):
    """The staged rows to send, with the version and the size of their object. ``skipped`` are the other rows."""

    version_id: str
    size_bytes: int
    skipped: SkippedInput | None = None
    total_rows: int
    warnings: list[str] = []

    @property
    def rows_skipped(self) -> int:
        return 0 if self.skipped is None else self.skipped.rows


class Blank(LazyModel):
    """The counts of ``BlankRows``."""

    rows: int = 0
    groups: int = 0
    last: int = 0
    first: list[int] = []


class Checkpoint(LazyModel):
    """The progress of an execution's staging: the ``place`` in the input and both uploads, or the result.

    ``read`` are the user's objects as far as they are hashed.
    """

    schema_version: int = 1
    execution: str
    etag: str
    place: dict[str, Any] = {}
    size_bytes: int = 0
    copied: FileState | None = None
    skipped: FileState | None = None
    blank: Blank = Field(default_factory=Blank)
    read: list[ReadObject] = []
    finished: Finished | None = None


@dataclass(frozen=True, slots=True)
class Stager:
    """Stages the input of one execution. ``etag`` stands for all its objects, ``reads`` has their hashes so far."""

    work: ObjectStore
    keys: Keys
    execution: Execution
    etag: str
    deadline: Deadline
    reads: Reads = field(default_factory=Reads)

    def stage(self, staging: InputStaging, form: InputFormat) -> Finished | None:
        """Stage the rows. None: call again, because the time is over.

        If ``staging`` raises an error, or rows without content are refused, nothing is written. Raises
        ``ObjectChangedError`` if the input is not the one of the call before.
        """
        begun = self._load()
        if begun is not None:
            self.reads.resume(begun.read)
        if begun is not None and begun.finished is not None:
            return begun.finished
        writing = _Writing(self, staging, form, begun)
        finished = writing.run()
        if finished is None or self.deadline.remaining_seconds() >= PLAN_SECONDS:
            return finished
        self.save(Checkpoint(execution=self.name, etag=self.etag, read=self.reads.state, finished=finished))
        return None

    @property
    def name(self) -> str:
        return f"{self.execution.arn} {self.execution.started_at.isoformat()}"

    def _load(self) -> Checkpoint | None:
        """The checkpoint of an earlier call for this execution. One that had the same name before does not count."""
        try:
            found = Checkpoint.model_validate_json(self.work.get(self.keys.staging))
        except ObjectNotFoundError:
            return None
        if found.execution != self.name:
            return None
        if found.etag != self.etag:
            raise ObjectChangedError("The input was replaced while it was staged in several calls. Start again.")
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        self.work.put(self.keys.staging, checkpoint.model_dump_json().encode())


class _Writing:
    """One call's part of the staging."""

    def __init__(self, stager: Stager, staging: InputStaging, form: InputFormat, begun: Checkpoint | None) -> None:
        self._stager = stager
        self._staging = staging
        self._form = form
        keys = stager.keys
        self._copy = Upload(stager.work, keys.staged, begun.copied if begun else None)
        self._skipped = Upload(stager.work, keys.skipped, begun.skipped if begun else None)
        blank = begun.blank if begun else Blank()
        self._blank = BlankRows(but_last=form.source_column is not None, **blank.model_dump())
        self._size = begun.size_bytes if begun else 0
        self._is_saved = begun is not None
        if begun is not None:
            assert isinstance(staging, Resumable)
            staging.resume(begun.place)

    def run(self) -> Finished | None:
        ended = False
        try:
            in_time = self._write()
            ended = True
        except InvalidInputError:
            self._is_saved = False  # no call goes on
            raise
        finally:
            if not ended and not self._is_saved:
                # The original error matters more. The bucket's lifecycle removes parts that stay.
                with suppress(BatchProcessorError):
                    self._copy.abort()
                    self._skipped.abort()
        return self._finish() if in_time else None

    def _write(self) -> bool:
        """Write rows until the last one or until the time is over. Returns whether the last one is written."""
        deadline = self._stager.deadline
        parts = 0
        for number, chunk in enumerate(self._staging):
            blank_rows_before = self._blank.rows
            rows = chunk if self._form.empty_rows == "send" else self._blank.taken_out(chunk)
            self._size += len(rows)
            parts += self._copy.append(rows)
            if lines := self._blank.take_lines():
                header = b"" if blank_rows_before else staged_header(len(self._staging.columns))
                parts += self._skipped.append(header + lines)
            remaining = deadline.remaining_seconds()
            if number == 0 and remaining < RESERVE_SECONDS:
                self._refuse_size()  # Each further call would get as far as this one.
            if remaining < RESERVE_SECONDS or parts >= PARTS_A_CHECKPOINT:
                place = _place(self._staging)
                if place is not None:
                    self._save(place)
                    parts = 0
                    if remaining < RESERVE_SECONDS:
                        return False
                elif remaining < LAST_RESERVE_SECONDS:
                    self._refuse_size()
        _refuse(self._form, self._blank)
        return True

    def _save(self, place: Place) -> None:
        self._is_saved = True
        blank, stager = self._blank, self._stager
        stager.save(
            Checkpoint(
                execution=stager.name,
                etag=stager.etag,
                read=stager.reads.state,
                place=place,
                size_bytes=self._size,
                copied=self._copy.state,
                skipped=self._skipped.state,
                blank=Blank(rows=blank.rows, groups=blank.groups, last=blank.last, first=blank.first),
            )
        )

    def _finish(self) -> Finished:
        blank, keys = self._blank, self._stager.keys
        skipped = None
        if blank.rows:
            version_id = self._skipped.complete()
            skipped = SkippedInput(key=keys.skipped, version_id=version_id, rows=blank.rows, groups=blank.groups)
        return Finished(
            version_id=self._copy.complete(),
            size_bytes=self._size,
            skipped=skipped,
            total_rows=self._staging.total_rows,
            warnings=[*self._staging.warnings, *_said(blank.rows)],
        )

    def _refuse_size(self) -> NoReturn:
        value = f"{self._staging.total_rows:,} rows in {self._size:,} bytes so far"
        message = (
            "each call of the function reads this format from its start, and 15 minutes are not enough for the file"
        )
        raise InvalidInputError(
            [Problem(PATH, value, message, "split it, or submit it as CSV, which has no such limit")]
        )


def check(staging: InputStaging, form: InputFormat, deadline: Deadline) -> None:
    """Read the rows without staging them, while there is time. Raises ``InvalidInputError`` for mistakes."""
    blank = BlankRows(but_last=form.source_column is not None)
    for chunk in staging:
        if form.empty_rows == "refuse":
            blank.taken_out(chunk)
            blank.take_lines()
        if deadline.remaining_seconds() < RESERVE_SECONDS:
            _place(staging)  # raises the mistakes so far
            break
    _refuse(form, blank)


def _place(staging: InputStaging) -> Place | None:
    return staging.place() if isinstance(staging, Resumable) else None


def _said(rows: int) -> list[str]:
    if not rows:
        return []
    return ["1 row has no content and is skipped." if rows == 1 else f"{rows:,} rows have no content and are skipped."]


def _refuse(form: InputFormat, blank: BlankRows) -> None:
    """Raise ``InvalidInputError`` if there are rows without content and the document refuses them."""
    if form.empty_rows == "refuse" and blank.rows:
        more = ", …" if blank.rows > len(blank.first) else ""
        value = f"row {', '.join(map(str, blank.first))}{more}"
        what = "1 row has" if blank.rows == 1 else f"{blank.rows:,} rows have"
        fix = 'remove them, or write "skip" or "send"'
        raise InvalidInputError([Problem(EMPTY_ROWS, value, f"{what} no content", fix)])
