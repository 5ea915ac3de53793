"""Files that are made to exhaust a reader are refused by name, in bounded memory and time."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.staging import staged_alone
from tests.support.tables import PACKERS, as_parquet

ZEROS = bytes(100_000_000)
MEMORY_MB = 900
"""The function has 1,024 MB, and the SDK takes some of it."""
SECONDS = 60


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part:
            for _ in range(7):
                part.write(ZEROS)
    return buffer.getvalue()


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a gzip of 10 GB zeros": (lambda: gzip.compress(ZEROS) * 100, "a binary format"),
    "a gzip of rows and 10 GB zeros": (lambda: gzip.compress(b"a,b\n" * 2_000) + gzip.compress(ZEROS) * 100, "NUL"),
    "a zstd of rows and 10 GB zeros": (lambda: PACKERS["zstd"](b"a,b\n" * 2_000) + PACKERS["zstd"](ZEROS) * 100, "NUL"),
    "a zstd of a cell of 10 GB": (
        lambda: PACKERS["zstd"](b'a,b\n"') + PACKERS["zstd"](b"x" * 100_000_000) * 100,
        "a row is longer than 199,000 bytes",
    ),
    "a zip bomb": (zip_bomb, "over 600,000,000 bytes unpacked"),
    "a csv that is a web page": (lambda: b"<!DOCTYPE html>\n<html>" + b"<p>1,2</p>\n" * 1_000_000, "a web page (HTML)"),
    "a csv that is a PDF": (lambda: b"%PDF-1.7\n" + ZEROS[:1_000_000], "a PDF document"),
    "a line of JSON without end": (lambda: b'{"a": "' + b"x" * 50_000_000, "longer than 4,000,000 bytes"),
    "a Parquet that says it has gigabytes": (
        lambda: as_parquet([["a"], ["x"]]).replace(b"PAR1", b"PAR1\x15\x04\x15\xfe\xff\xff\xff\x0f", 1),
        "Parquet file",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_by_name_in_bounded_memory_and_time(name: str, tmp_path: Path) -> None:
    make, said = FILES[name]
    path = tmp_path / "input.csv"
    path.write_bytes(make())

    staged = staged_alone(path)

    assert said in staged.refusal
    assert staged.peak_mb < MEMORY_MB
    assert staged.seconds < SECONDS
