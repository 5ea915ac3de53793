"""Writing each format of output from ``output.csv``: rows a second beside a peer, and memory.

Peers: DuckDB, which reads the same ``output.csv`` and writes the same format; for workbooks pandas with xlsxwriter.
Both guess the types of columns; ours takes them from the run. DuckDB uses every core, so these are wall-clock times.
Ours is one core. The CSV itself is measured by ``aggregation``.
"""

# ruff: noqa: ARG002 (the store forgets what it is told)

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import pandas

from foundation.functions import function_sizes
from row_batches.document.plan import Plan
from row_batches.files.result_table import ResultTable
from row_batches.files.writer import Progress
from row_batches.files.writers import WRITER_OF
from row_batches.files.xlsx_output import CELLS_PER_SECOND
from tests.support.batches import KEYS, make_plan, write_output
from tests.support.fakes import FakeObjectStore
from tools.benchmarks.readers import NAMES, row

ROWS = 50_000
WORKBOOK_ROWS = 10_000
ROUNDS = 3
CHUNK_BYTES = 1024 * 1024
MB_A_CORE = 1_769
"""Lambda gives a whole core at this memory
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)."""
COLUMNS = [
    {"name": "label", "source": "$[1]"},
    {"name": "value", "source": "$[3]", "type": "number"},
    {"name": "good", "source": "$[4]", "type": "boolean"},
]
PROGRAM = "from tools.benchmarks.writers import print_peak; print_peak({0!r}, {1!r})"


class Store(FakeObjectStore):
    """Reads the output of a run from a folder, and forgets what is written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(smallest_part=0)
        self._folder = folder

    def read(self, key: str, version_id: str | None = None, start: int = 0) -> Iterator[bytes]:
        with (self._folder / "output.csv").open("rb") as file:
            file.seek(start)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        return str(number)

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        return "1"


def make_run(folder: Path, rows: int) -> None:
    """The plan and the output of a run of so many rows."""
    store = FakeObjectStore()
    cells = [list(map(str, row(number))) for number in range(rows)]
    plan = make_plan(cells, NAMES, store=store, output_mapping={"columns": COLUMNS})
    write_output(plan, store, cells)
    (folder / "plan.json").write_bytes(store.objects[KEYS.plan])
    (folder / "output.csv").write_bytes(store.objects[KEYS.output])


def write(folder: Path, name: str) -> int:
    """Write the format; returns the number of columns."""
    plan = Plan.model_validate_json((folder / "plan.json").read_bytes())
    table = ResultTable(Store(folder), plan, KEYS.output, {})
    for progress in WRITER_OF[name].write(table, Progress(place=table.start)):
        done = progress.done
    assert done, name
    return len(table.columns)


def duckdb_copy(kind: str) -> Callable[[Path], None]:
    def copy(folder: Path) -> None:
        source, target = folder / "output.csv", folder / f"peer.{kind}"
        duckdb.sql(f"COPY (SELECT * FROM read_csv('{source}')) TO '{target}' (FORMAT {kind})")  # noqa: S608

    return copy


def pandas_workbook(folder: Path) -> None:
    table = pandas.read_csv(folder / "output.csv", encoding="utf-8")
    table.to_excel(folder / "peer.xlsx", index=False, engine="xlsxwriter")


WRITERS: list[tuple[str, int, Callable[[Path], None], str]] = [
    ("jsonl", ROWS, duckdb_copy("json"), "DuckDB"),
    ("parquet", ROWS, duckdb_copy("parquet"), "DuckDB"),
    ("xlsx", WORKBOOK_ROWS, pandas_workbook, "pandas with xlsxwriter"),
]


def print_peak(folder: str, name: str) -> None:
    """Write the format and print the process's peak memory in bytes (Linux)."""
    write(Path(folder), name)
    print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024)


def peak_mb(folder: Path, name: str) -> float:
    program = [sys.executable, "-c", PROGRAM.format(str(folder), name)]
    return int(subprocess.run(program, check=True, capture_output=True, text=True).stdout) / 1e6


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measured(name: str, rows: int, peer: Callable[[Path], None], peer_name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        make_run(folder, rows)
        columns = write(folder, name)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(rows / seconds(lambda: write(folder, name)))
            theirs.append(rows / seconds(lambda: peer(folder)))
        peak = peak_mb(folder, name)
    speed, peer_speed = median(ours), median(theirs)
    return {
        "name": f"writing_{name}",
        "ours": speed,
        "peer": peer_speed,
        "ratio": speed / peer_speed,
        "aim": None,
        "met": None,
        "unit": f"rows/s of {rows:,} with {columns} columns, {peak:.0f} MB at peak; peer: {peer_name}",
        "spread": (max(ours) - min(ours)) / speed,
    }


def cells_of_the_aggregator() -> dict[str, Any]:
    """Cells of a workbook that the aggregator's share of a core writes in a second of CPU time, each of them twice."""
    share = min(1.0, function_sizes("row_batches")["aggregate_results"].memory_mb / MB_A_CORE)
    speeds = []
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        make_run(folder, WORKBOOK_ROWS)
        for _ in range(ROUNDS):
            started = time.process_time()
            columns = write(folder, "xlsx")
            speeds.append(WORKBOOK_ROWS * columns / (time.process_time() - started) * share / 2)
    speed = median(speeds)
    return {
        "name": "writing_xlsx_cells",
        "ours": speed,
        "peer": None,
        "ratio": None,
        "aim": CELLS_PER_SECOND,
        "met": speed >= CELLS_PER_SECOND,
        "unit": f"cells/s of {share:.0%} of a core, with each cell on two sheets",
        "spread": (max(speeds) - min(speeds)) / speed,
    }


def run() -> list[dict[str, Any]]:
    """Rows a second for each format, against its peer, and the peak memory in MB in the unit's text."""
    formats = [measured(name, rows, peer, peer_name) for name, rows, peer, peer_name in WRITERS]
    return [*formats, cells_of_the_aggregator()]
