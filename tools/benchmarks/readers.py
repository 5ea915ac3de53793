"""Reading each format of input: rows a second beside a peer, and memory.

Peers: DuckDB, which reads the same file and writes it as CSV; for workbooks python-calamine alone, whose rows are
written by ``csv``. DuckDB uses every core, so wall-clock times of a peer say more than its CPU times: these are wall
clock. Ours is one core.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import xlsxwriter
from python_calamine import CalamineWorkbook

from row_batches.document.input_format import InputFormat
from row_batches.files.opening import open_input
from row_batches.files.table import InputFile
from tests.support.tables import PACKERS, as_ods

ROWS = 100_000
WORKBOOK_ROWS = 30_000
ROUNDS = 3
CHUNK_BYTES = 1024 * 1024
PROGRAM = "from tools.benchmarks.readers import print_peak; print_peak({0!r})"
NAMES = ["id", "name", "text", "price", "sold"]


def row(number: int) -> list[Any]:
    return [
        number,
        f"François à Nîmes {number}",
        "the quick brown fox jumps over the lazy dog " * 2,
        number + 0.5,
        number % 2 == 0,
    ]


def write(path: Path, rows: int) -> None:
    """A file of so many rows, in the format of its name."""
    kind = path.name.partition(".")[2]
    if kind == "xlsx":
        with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as workbook:
            sheet = workbook.add_worksheet()
            for line, cells in enumerate([NAMES, *(row(number) for number in range(rows))]):
                sheet.write_row(line, 0, cells)
        return
    if kind == "parquet":
        same = path.with_suffix(".csv")
        write(same, rows)
        duckdb.sql(f"COPY (SELECT * FROM read_csv('{same}')) TO '{path}'")  # noqa: S608
        return
    if kind == "ods":
        path.write_bytes(as_ods([NAMES, *(row(number) for number in range(rows))]))
        return
    if kind in ("jsonl", "json"):
        lines = [json.dumps(dict(zip(NAMES, row(number), strict=True)), ensure_ascii=False) for number in range(rows)]
        path.write_text("\n".join(lines) if kind == "jsonl" else f"[{','.join(lines)}]", encoding="utf-8")
        return
    text = io.StringIO()
    csv.writer(text).writerows([NAMES, *(row(number) for number in range(rows))])
    data = text.getvalue().encode("cp1252" if kind == "cp1252.csv" else "utf-8")
    packing = kind.partition(".")[2]
    path.write_bytes(PACKERS[{"gz": "gzip", "zst": "zstd"}[packing]](data) if packing in ("gz", "zst") else data)


def stage(path: Path) -> int:
    def chunks() -> Any:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    staging = open_input(InputFile(chunks, InputFormat()))
    for _ in staging:
        pass
    return staging.total_rows


def duckdb_copy(path: Path) -> None:
    reader = {".json": "read_json", ".jsonl": "read_json", ".parquet": "read_parquet"}.get(path.suffix, "read_csv")
    with tempfile.TemporaryDirectory() as folder:
        duckdb.sql(f"COPY (SELECT * FROM {reader}('{path}')) TO '{folder}/out.csv' (FORCE_QUOTE *)")  # noqa: S608


def calamine_alone(path: Path) -> None:
    target = io.StringIO()
    csv.writer(target, quoting=csv.QUOTE_ALL).writerows(
        CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    )


FORMATS: list[tuple[str, int, Callable[[Path], None] | None, str]] = [
    ("rows.csv", ROWS, duckdb_copy, "DuckDB"),
    ("rows.cp1252.csv", ROWS, None, ""),
    ("rows.csv.gz", ROWS, duckdb_copy, "DuckDB"),
    ("rows.csv.zst", ROWS, duckdb_copy, "DuckDB"),
    ("rows.parquet", ROWS, duckdb_copy, "DuckDB"),
    ("rows.jsonl", ROWS, duckdb_copy, "DuckDB"),
    ("rows.json", ROWS, duckdb_copy, "DuckDB"),
    ("rows.xlsx", WORKBOOK_ROWS, calamine_alone, "python-calamine alone"),
    ("rows.ods", WORKBOOK_ROWS, calamine_alone, "python-calamine alone"),
]


def print_peak(path: str) -> None:
    """Stage the file and print the process's peak memory in bytes (Linux)."""
    stage(Path(path))
    print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024)


def peak_mb(path: Path) -> float:
    program = [sys.executable, "-c", PROGRAM.format(str(path))]
    return int(subprocess.run(program, check=True, capture_output=True, text=True).stdout) / 1e6


def seconds(work: Callable[[Path], object], path: Path) -> float:
    started = time.perf_counter()
    work(path)
    return time.perf_counter() - started


def run() -> list[dict[str, Any]]:
    """Rows a second for each format, against its peer, and the peak memory in MB in the unit's text."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, rows, peer, peer_name in FORMATS:
            path = Path(folder) / name
            write(path, rows)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(rows / seconds(stage, path))
                if peer is not None:
                    theirs.append(rows / seconds(peer, path))
            speed = median(ours)
            peer_speed = median(theirs) if theirs else None
            beside = f"; peer: {peer_name}" if peer_name else ""
            results.append(
                {
                    "name": f"reading_{name.partition('.')[2].replace('.', '_')}",
                    "ours": speed,
                    "peer": peer_speed,
                    "ratio": speed / peer_speed if peer_speed else None,
                    "aim": None,
                    "met": None,
                    "unit": f"rows/s of {rows:,}, {peak_mb(path):.0f} MB at peak{beside}",
                    "spread": (max(ours) - min(ours)) / speed,
                }
            )
    return results
