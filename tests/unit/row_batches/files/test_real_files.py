"""Real files of a folder, ``REAL_FILES=<folder>``: each is read as Python's ``csv`` reads it, or refused."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.files.csv_reader import Staging
from row_batches.files.encoding import Utf8Text
from row_batches.files.opening import open_input
from row_batches.files.staged_copy import read_staged

FOLDER = os.environ.get("REAL_FILES", "")
MOST_REFUSED = 0.01
"""The share of an ordinary collection's files that can be refused."""


def is_table(path: Path) -> bool:
    """Whether it is a file with content, and not one that macOS puts beside another (``._name``)."""
    return path.is_file() and not path.name.startswith("._") and path.stat().st_size > 0


def chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def as_python_reads_it(path: Path, staging: Staging) -> list[list[str]]:
    """The rows of the file, header first, in its encoding and with its delimiter, without lines that are blank."""
    data = b"".join(Utf8Text(chunks_of(path), InputFormat(), "file")).decode().lstrip("\ufeff")
    csv.field_size_limit(10_000_000)
    rows = list(csv.reader(data.splitlines(keepends=True), delimiter=staging.delimiter))
    rows = [row for row in rows if row]
    if rows and rows[0][0].lower().startswith("sep=") and len(rows[0]) <= 2:
        del rows[0]
    width = len(staging.header)
    if width == len(rows[0]) + 1 and not staging.header[0]:
        rows[0] = ["", *rows[0]]  # as R writes the names of rows
    # A program can end each row with a delimiter, or the header alone.
    rows[0] = (rows[0] + [""])[:width]
    return rows


def outcome(path: Path) -> str:
    """Either "read", or the reason of the refusal. Raises AssertionError if Python reads other rows."""
    try:
        staging = open_input(lambda: chunks_of(path), InputFormat(), size=path.stat().st_size)
        rows = [cells for _, cells in read_staged(list(staging))]
    except InvalidInputError as error:
        return "; ".join(problem.message for problem in error.problems)
    if isinstance(staging, Staging):
        assert [staging.header, *rows] == as_python_reads_it(path, staging), path
    return "read"


@pytest.mark.skipif(not FOLDER, reason="REAL_FILES names no folder with .csv and .tsv files")
def test_files_of_a_folder_are_read_as_python_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(path for ending in ("csv", "tsv") for path in Path(FOLDER).rglob(f"*.{ending}") if is_table(path))
    assert files, f"{FOLDER} has no .csv and no .tsv file"
    outcomes = {path: outcome(path) for path in files}
    counts = Counter(outcomes.values())
    refused = {path: reason for path, reason in outcomes.items() if reason != "read"}

    with capsys.disabled():
        print(f"\n{len(outcomes):,} files: {counts['read']:,} read, {len(refused):,} refused")
        for reason, count in counts.most_common():
            if reason != "read":
                example = next(path for path in refused if refused[path] == reason)
                print(f"{count:6,}  {reason} ({example.relative_to(FOLDER)})")
    assert len(refused) <= MOST_REFUSED * len(outcomes)
