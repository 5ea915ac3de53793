"""Several files of one kind are read as one table."""

from __future__ import annotations

import csv
import gzip
import io
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.document.s3_location import S3Location
from row_batches.files.opening import open_input
from row_batches.files.ports import InputObject
from row_batches.files.prefix import MOST_OBJECTS, FoundInput, choose_objects, prefix_of
from row_batches.files.several import FilesStaging, NamedFile, open_files
from row_batches.files.staged_copy import read_staged
from row_batches.files.table import InputFile

ROWS = [[str(number), f"text {number}\n", "" if number % 3 else "=1"] for number in range(10)]
COLUMNS = ["id", "text", "note"]


def as_csv(rows: list[list[str]], columns: list[str] = COLUMNS, delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([columns, *rows])
    return text.getvalue().encode()


def as_lines(rows: list[list[str]], columns: list[str] = COLUMNS) -> bytes:
    return b"".join(orjson.dumps(dict(zip(columns, row, strict=True))) + b"\n" for row in rows)


FOREIGN = {"a.csv": b"id,text\n1,a\n", "b.csv": b"code\nx\n"}


def read(files: dict[str, bytes], max_rows: int | None = None, **form: Any) -> tuple[FilesStaging, list[list[str]]]:
    named = [NamedFile(name, len(body), lambda body=body: iter([body])) for name, body in files.items()]  # type: ignore[misc]
    staging = FilesStaging(named, InputFormat(**form), max_rows)
    rows = list(read_staged([b"".join(staging)]))
    assert [row for row, _ in rows] == list(range(1, len(rows) + 1))
    assert staging.total_rows == len(rows)
    return staging, [cells for _, cells in rows]


@pytest.mark.parametrize("write", [as_csv, as_lines])
def test_files_give_the_staged_copy_of_one_file_of_the_same_rows(write: Any) -> None:
    one = open_input(InputFile(lambda: [write(ROWS)], InputFormat()))
    named = [
        NamedFile(f"{at}", 0, lambda at=at: iter([write(ROWS[at : at + 4])]))  # type: ignore[misc]
        for at in (0, 4, 8)
    ]
    staging = FilesStaging(named, InputFormat())

    assert b"".join(staging) == b"".join(one)
    assert (staging.columns, staging.total_rows) == (one.columns, one.total_rows)
    assert (staging.size_bytes, staging.typed) == (one.size_bytes, one.typed)


def test_columns_are_found_by_name_and_those_that_a_file_lacks_are_empty_and_named() -> None:
    staging, rows = read(
        {
            "a.csv": as_csv([["1", "x"]], ["id", "text"]),
            "b.csv": as_csv([["y", "2"]], ["text", "id"]),
            "c.csv": as_csv([["3", "n"]], ["id", "note"], ";"),
        }
    )

    assert staging.columns == ["id", "text", "note"]
    assert rows == [["1", "x", ""], ["2", "y", ""], ["3", "", "n"]]
    assert staging.warnings == [
        "3 files are read as one, a.csv to c.csv.",
        "Columns missing in a.csv, b.csv: note. Their cells are empty.",
        "Columns missing in c.csv: text. Their cells are empty.",
        "c.csv: The delimiter is semicolon, detected from the first lines of the file.",
    ]


def test_a_key_that_no_object_of_a_file_has_is_null_there() -> None:
    _, rows = read({"a.jsonl": b'{"a": 1}\n', "b.jsonl": b'{"b": [2]}\n'})

    assert [[getattr(cell, "json", cell) for cell in row] for row in rows] == [["1", "null"], ["null", "[2]"]]


def test_the_name_of_its_file_is_a_column_of_each_row() -> None:
    staging, rows = read(
        {"x/a.csv": as_csv(ROWS[:2]), "x/b.csv.gz": gzip.compress(as_csv(ROWS[2:3]))}, source_column="from"
    )

    assert staging.columns == [*COLUMNS, "from"]
    assert rows == [[*ROWS[0], "x/a.csv"], [*ROWS[1], "x/a.csv"], [*ROWS[2], "x/b.csv.gz"]]


def test_files_of_different_kinds_are_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match=r"different kinds: csv and jsonl \(got a\.csv and b\.jsonl\)"):
        read({"a.csv": as_csv(ROWS), "b.jsonl": as_lines(ROWS)})


def test_a_file_without_any_column_of_the_others_is_refused_by_name() -> None:
    files = {"a.csv": as_csv(ROWS), "b.csv": as_csv(ROWS, ["id", "x", "y"]), "notes.txt": b"Do not forget\nto check\n"}
    with pytest.raises(InvalidInputError, match=r"has no column of the other files \(got notes\.txt\)"):
        read(files)
    with pytest.raises(InvalidInputError, match=r"\(got notes\.txt\)"):
        read({"a.csv": files["a.csv"], "notes.txt": files["notes.txt"]})
    assert len(read({"a.csv": files["a.csv"]}, source_column="from")[1]) == len(ROWS)


def test_files_that_an_earlier_release_read_are_read_again_to_verify_its_output() -> None:
    files = [NamedFile(name, 0, lambda body=body: iter([body])) for name, body in FOREIGN.items()]  # type: ignore[misc]

    staging = open_files(files, InputFormat(), unrelated=True)

    assert [cells for _, cells in read_staged([b"".join(staging)])] == [["1", "a", ""], ["", "", "x"]]


def test_a_mistake_names_its_file_and_its_line() -> None:
    with pytest.raises(InvalidInputError, match=r"got b\.csv: line 3 \(2\)"):
        read({"a.csv": as_csv(ROWS), "b.csv": b"id,text,note\n1,2,3\n4,5\n"})
    with pytest.raises(InvalidInputError, match=r"the file is empty \(got b\.csv\)"):
        read({"a.csv": as_csv(ROWS), "b.csv": b""})


def test_a_column_that_the_files_have_is_no_source_column() -> None:
    with pytest.raises(InvalidInputError, match="source_column: the file already has a column of this name"):
        read({"a.csv": as_csv(ROWS)}, source_column="text")


@pytest.mark.parametrize("write", [as_csv, as_lines])
@pytest.mark.parametrize("max_rows", [1, 4, 5, 10, 11])
def test_a_trial_reads_the_first_rows_of_all_files_together(write: Any, max_rows: int) -> None:
    files = {str(at): write(ROWS[at : at + 4]) for at in (0, 4, 8)}

    assert read(files, max_rows)[1] == ROWS[:max_rows]


# --- which objects


def chosen(key: str, *keys: str, size: int = 1) -> Any:
    location = S3Location("b", key)
    listing = [InputObject(S3Location("b", name), size, f'"{name}"') for name in sorted(keys)]
    found = choose_objects(location, [one for one in listing if one.location.key.startswith(prefix_of(location))])
    return [name for name, _ in found.objects] if isinstance(found, FoundInput) else found.message


@given(st.text("ab*/", min_size=1, max_size=8).map(lambda text: f"{text}*"), st.text("ab/", min_size=1, max_size=8))
def test_any_number_of_stars_fits_the_same_keys_as_in_the_standard_library(pattern: str, key: str) -> None:
    parts = zip_longest(pattern.split("/"), key.split("/"))
    fits = all(part is not None and name is not None and fnmatchcase(name, part) for part, name in parts)

    assert isinstance(chosen(pattern, key), list) == (fits and not key.endswith("/"))


def test_many_stars_take_no_longer_than_one() -> None:
    key = f"in/{'a' * 900}.csv"

    assert chosen(f"in/{'*a' * 50}*.csv", key) == [key.removeprefix("in/")]
    assert chosen(f"in/{'*a' * 50}*b", key).startswith("no object matches")


def test_a_folder_has_all_objects_below_it_but_hidden_and_empty_ones_and_markers() -> None:
    keys = ("in/", "in/b.csv", "in/a/c.csv", "in/_SUCCESS", "in/.tmp", "in/_log/x.csv", "inner.csv")
    assert chosen("in/", *keys) == ["a/c.csv", "b.csv"]
    assert chosen("in/", "in/", "in/_SUCCESS") == "no object matches (_SUCCESS skipped: hidden or empty)"
    assert chosen("in/", "in/a.csv", size=0) == "no object matches (a.csv skipped: hidden or empty)"


def test_a_star_stands_for_anything_but_a_slash() -> None:
    keys = ("in/2026-01.csv", "in/2026-02.csv.gz", "in/2025-01.csv", "in/2026-x/1.csv", "in/_2026.csv")
    assert chosen("in/2026-*.csv", *keys) == ["2026-01.csv"]
    assert chosen("in/*/*", *keys) == ["2026-x/1.csv"]
    assert chosen("in/_*", *keys) == ["_2026.csv"]


def test_too_many_objects_are_refused_with_the_figure() -> None:
    keys = [f"in/{number}" for number in range(MOST_OBJECTS + 1)]
    assert chosen("in/", *keys) == "more than 1,000 objects match"
    assert chosen("in/", "in/a", size=10_000_000_001).startswith("the 1 files together is over")
