"""Time and memory of the aggregation of 200,000 rows with about 100 MB of answers on local files, and of its peers.

Each measurement runs in a separate interpreter; the sides take turns.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tools.benchmarks.aggregation_peers import DUCKDB_PROOFS, KEYS, SIDES, prepare

ROWS, FEWER_ROWS = 200_000, 50_000
ROUNDS = 5
AIM_TIMES_PLAIN = 8
AIM_TIMES_DUCKDB = 1.1
AIM_PEAK_MB = 256
AIM_GROWTH = 1.1
PROGRAM = "from tools.benchmarks.aggregation_peers import print_figures; print_figures({0!r}, {1!r})"


def measure(side: str, folder: Path) -> tuple[float, float]:
    """Seconds, and MB at peak."""
    program = [sys.executable, "-c", PROGRAM.format(side, str(folder))]
    seconds, peak = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    return seconds, peak


def assert_same_output(folder: Path) -> None:
    """Check that all sides have done the same work."""
    outputs = [folder / "objects" / KEYS.output, folder / "plain.csv", folder / "duckdb.csv"]
    files = [path.open(newline="") for path in outputs]
    try:
        for rows in zip(*map(csv.reader, files), strict=True):
            assert all(row == rows[0] for row in rows), rows
    finally:
        for file in files:
            file.close()
    proofs = (folder / "objects" / KEYS.proof_rows).read_bytes()
    assert (folder / DUCKDB_PROOFS).read_bytes().replace(b"\n", b"") == proofs


def run() -> list[dict[str, Any]]:
    """The times compared with the peers' (ratio: peer / ours), and the peak memory compared with fewer rows."""
    with tempfile.TemporaryDirectory(prefix="bench-aggregation-") as name:
        many, fewer = Path(name) / "many", Path(name) / "fewer"
        for folder, rows in ((many, ROWS), (fewer, FEWER_ROWS)):
            folder.mkdir()
            prepare(folder, rows)
        figures: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
        for _ in range(ROUNDS):
            for side in SIDES:
                figures[side].append(measure(side, many))
        assert_same_output(many)
        few_peaks = [measure("ours", fewer)[1] for _ in range(3)]
    times = {side: [seconds for seconds, _ in measured] for side, measured in figures.items()}
    peaks = {side: median(peak for _, peak in measured) for side, measured in figures.items()}
    own = median(times["ours"])
    spread = (max(times["ours"]) - min(times["ours"])) / own

    def against(side: str, aim: float | None, what: str) -> dict[str, Any]:
        peer = median(times[side])
        return {
            "name": f"aggregation_against_{side}",
            "ours": own,
            "peer": peer,
            "ratio": peer / own,
            "aim": aim,
            "met": None if aim is None else peer / own >= aim,
            "unit": f"s for {ROWS:,} rows (ratio: peer / ours); peer: {what}, {peaks[side]:,.0f} MB",
            "spread": spread,
        }

    few_peak = median(few_peaks)
    return [
        against("plain", AIM_TIMES_PLAIN, "one child a row, json.load, csv.DictWriter"),
        against("duckdb", AIM_TIMES_DUCKDB, "DuckDB read_json with answers and proofs, an ordered COPY of each"),
        against("duckdb_finished", None, "DuckDB given the finished cells, no proofs, no counts"),
        against("copy", None, "the bytes copied"),
        {
            "name": "aggregation_memory",
            "ours": peaks["ours"],
            "peer": few_peak,
            "ratio": peaks["ours"] / few_peak,
            "aim": AIM_PEAK_MB,
            "met": peaks["ours"] <= AIM_PEAK_MB and peaks["ours"] / few_peak <= AIM_GROWTH,
            "unit": f"MB at peak, {ROWS:,} rows (flat: ratio <= {AIM_GROWTH}); peer: the same, {FEWER_ROWS:,} rows",
            "spread": None,
        },
    ]
