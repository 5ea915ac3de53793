"""Writes the staged copy of an input: the rows to send in one object, the rows without content in another."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from foundation.errors import BatchProcessorError, InvalidInputError, Problem
from foundation.ports import ObjectStore
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import Keys, SkippedInput
from row_batches.files.blank_rows import BlankRows
from row_batches.files.staged_copy import staged_header
from row_batches.files.table import InputStaging
from row_batches.files.upload import Upload

PATH = "input_format.empty_rows"


@dataclass(frozen=True, slots=True)
class StagedCopy:
    """The staged rows to send, with the version and the size of their object. ``skipped`` are the other rows."""

    version_id: str
    size_bytes: int
    skipped: SkippedInput | None

    @property
    def rows_skipped(self) -> int:
        return 0 if self.skipped is None else self.skipped.rows

    @property
    def warnings(self) -> list[str]:
        if not self.rows_skipped:
            return []
        one = self.rows_skipped == 1
        rows = "1 row has no content and is" if one else f"{self.rows_skipped:,} rows have no content and are"
        return [f"{rows} skipped."]


def stage(staging: InputStaging, form: InputFormat, work: ObjectStore, keys: Keys) -> StagedCopy:
    """Stage the rows. If ``staging`` raises an error, or rows without content are refused, nothing is written."""
    copy, skipped = Upload(work, keys.staged), Upload(work, keys.skipped)
    blank = BlankRows(but_last=form.source_column is not None)
    size = 0
    completed = False
    try:
        for chunk in staging:
            blank_rows_before = blank.rows
            rows = chunk if form.empty_rows == "send" else blank.taken_out(chunk)
            size += len(rows)
            copy.append(rows)
            if lines := blank.take_lines():
                skipped.append(lines if blank_rows_before else staged_header(len(staging.columns)) + lines)
        _refuse(form, blank)
        skipped_input = None
        if blank.rows:
            version_id = skipped.complete()
            skipped_input = SkippedInput(key=keys.skipped, version_id=version_id, rows=blank.rows, groups=blank.groups)
        version_id = copy.complete()
        completed = True
    finally:
        if not completed:
            # The original error matters more. The bucket's lifecycle removes parts that stay.
            with suppress(BatchProcessorError):
                copy.abort()
                skipped.abort()
    return StagedCopy(version_id, size, skipped_input)


def check(staging: InputStaging, form: InputFormat) -> None:
    """Read all rows without staging them. Raises ``InvalidInputError`` for mistakes."""
    blank = BlankRows(but_last=form.source_column is not None)
    for chunk in staging:
        if form.empty_rows == "refuse":
            blank.taken_out(chunk)
            blank.take_lines()
    _refuse(form, blank)


def _refuse(form: InputFormat, blank: BlankRows) -> None:
    """Raise ``InvalidInputError`` if there are rows without content and the document refuses them."""
    if form.empty_rows == "refuse" and blank.rows:
        more = ", …" if blank.rows > len(blank.first) else ""
        value = f"row {', '.join(map(str, blank.first))}{more}"
        what = "1 row has" if blank.rows == 1 else f"{blank.rows:,} rows have"
        raise InvalidInputError([Problem(PATH, value, f"{what} no content", 'remove them, or write "skip" or "send"')])
