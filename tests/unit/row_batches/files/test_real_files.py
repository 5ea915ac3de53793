"""Real files of a folder, ``REAL_FILES=<folder>``: each is read as Python's ``csv`` reads it, or refused.

A refusal can name the setting that lets the file be read. Such a file is tried again with it, and counted apart.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.files.csv_reader import Staging
from row_batches.files.encoding import Utf8Text
from row_batches.files.opening import open_input
from row_batches.files.staged_copy import read_staged
from row_batches.files.table import InputFile

FOLDER = os.environ.get("REAL_FILES", "")
MOST_REFUSED = 0.01
"""The share of an ordinary collection's files that can be refused without a setting that lets them be read."""
CURE = re.compile(r"set input_format\.(\w+) to (\w+)(?: and input_format\.(\w+) to (\w+))?")


def is_table(path: Path) -> bool:
    """Whether it is a file with content, and not one that macOS puts beside another (``._name``)."""
    return path.is_file() and not path.name.startswith("._") and path.stat().st_size > 0


def chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def as_python_reads_it(path: Path, staging: Staging, form: InputFormat) -> list[list[str]]:
    """The rows of the file, header first, in its encoding and with its delimiter, without lines that are blank."""
    data = b"".join(Utf8Text(chunks_of(path), InputFormat())).decode().lstrip("\ufeff")
    csv.field_size_limit(10_000_000)
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", data)[form.skip_lines :]
    quoting: Literal[0, 3] = csv.QUOTE_NONE if form.quote == "none" else csv.QUOTE_MINIMAL
    rows = [row for row in csv.reader(lines, delimiter=staging.delimiter, quoting=quoting) if row]
    if not form.header:
        return [staging.header, *rows]
    if rows and rows[0][0].lower().startswith("sep=") and len(rows[0]) <= 2:
        del rows[0]
    width = len(staging.header)
    if width == len(rows[0]) + 1 and not staging.header[0]:
        rows[0] = ["", *rows[0]]  # as R writes the names of rows
    # A program can end each row with a delimiter, or the header alone.
    rows[0] = (rows[0] + [""])[:width]
    if form.ragged == "pad":
        assert not any("".join(row[width:]) for row in rows), path
        return [(row + [""] * width)[:width] for row in rows]
    return rows


def outcome(path: Path) -> tuple[str, bool]:
    """The outcome, such as "read" or the reason of the refusal, and whether the file was read.

    Raises AssertionError if Python reads other rows.
    """
    settings: dict[str, str] = {}
    while True:
        form = InputFormat.model_validate(settings, strict=False)
        try:
            staging = open_input(InputFile(lambda: chunks_of(path), form, size=path.stat().st_size))
            rows = [cells for _, cells in read_staged(list(staging))]
        except InvalidInputError as error:
            said = "; ".join(problem.message for problem in error.problems)
            cures = [problem.fix for problem in error.problems if CURE.search(problem.fix)]
            found = CURE.search(cures[0]) if len(error.problems) == 1 and cures else None
            if found is None or found[1] in settings:
                return said, False
            settings |= {name: value for name, value in (found.group(1, 2), found.group(3, 4)) if name}
            continue
        if isinstance(staging, Staging):
            assert [staging.header, *rows] == as_python_reads_it(path, staging, form), path
        return "read" if not settings else f"read with {', '.join(settings)}, as the refusal says", True


@pytest.mark.skipif(not FOLDER, reason="REAL_FILES names no folder with .csv and .tsv files")
def test_files_of_a_folder_are_read_as_python_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(path for ending in ("csv", "tsv") for path in Path(FOLDER).rglob(f"*.{ending}") if is_table(path))
    assert files, f"{FOLDER} has no .csv and no .tsv file"
    outcomes = {path: outcome(path) for path in files}
    counts = Counter(said for said, _ in outcomes.values())
    refused = sum(not was_read for _, was_read in outcomes.values())

    with capsys.disabled():
        print(f"\n{len(outcomes):,} files: {counts['read']:,} read as they are, {refused:,} cannot be read")
        for said, count in counts.most_common():
            if said != "read":
                example = next(path for path in files if outcomes[path][0] == said)
                print(f"{count:6,}  {said} ({example.relative_to(FOLDER)})")
    assert refused <= MOST_REFUSED * len(outcomes)
