"""Measure speed, memory and cost of the product, and compare each with a plain implementation of the same work.

    make bench              all benchmarks, build/bench.json, a table
    make bench ONLY=mapping one of them

Each benchmark is a module of tools/benchmarks and runs in a separate interpreter. A ratio is ours / peer: of times,
memory and cost (smaller is better), or of speeds (larger is better). Each benchmark says which. The spread is
(max - min) / median over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from tools import local_aws, up
from tools.errors import CommandError, exit_code_of

BENCHMARKS = (
    "mapping",
    "staging",
    "readers",
    "writers",
    "aggregation",
    "imports",
    "lake",
    "results",
    "end_to_end",
    "progress",
    "cost",
    "storage",
)
ON_LOCAL_AWS = ("end_to_end", "progress", "cost", "storage")
RESULTS = local_aws.REPOSITORY / "build" / "bench.json"
FIELDS = ("ours", "peer", "ratio", "aim", "met", "unit", "spread")
PROGRAM = "import json, sys; from tools.benchmarks.{0} import run; json.dump(run(), sys.stdout)"


def run_benchmark(name: str) -> list[dict[str, Any]]:
    """Run one module in a fresh interpreter; returns its results. Raises CommandError if it fails."""
    program = PROGRAM.format(name)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=local_aws.REPOSITORY, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise CommandError(f"The benchmark {name} failed: see above.")
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


@contextmanager
def local_deployment(console: Console) -> Iterator[None]:
    """A local AWS for the benchmarks, with the product deployed; environment variables point this process to it."""
    with tempfile.TemporaryDirectory(prefix="bench-local-aws-") as folder:
        os.environ |= {"LOCAL_AWS_DIR": folder, "LOCAL_AWS_PORT": "0"}
        console.print("Starting a local AWS for the benchmarks")
        try:
            up.start_and_deploy(console, keep=False)
            yield
        finally:
            local_aws.stop()


def figure(value: Any) -> str:
    """A number with its significant digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def table(results: dict[str, dict[str, Any]]) -> Table:
    """The results, one line each."""
    shown = Table(title="Benchmarks", title_justify="left", pad_edge=False)
    shown.add_column("what", overflow="fold")
    for column in ("ours", "peer", "ratio", "aim"):
        shown.add_column(column, justify="right")
    shown.add_column("met")
    shown.add_column("spread", justify="right")
    shown.add_column("unit", overflow="fold")
    for name, result in results.items():
        met = {True: "[green]yes[/green]", False: "[red]no[/red]"}.get(result["met"], "–")
        numbers = (figure(result[column]) for column in ("ours", "peer", "ratio"))
        spread = "–" if result["spread"] is None else f"{result['spread']:.0%}"
        shown.add_row(name, *numbers, aim(result["aim"]), met, spread, str(result["unit"]))
    return shown


def aim(value: Any) -> str:
    """An aim as text: a number, or words with a comparison sign."""
    return value if isinstance(value, str) else figure(value)


def bench(console: Console, names: list[str]) -> int:
    """Run benchmarks, write and show their results. Benchmarks that do not run keep their last results."""
    results: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    measured: dict[str, dict[str, Any]] = {}

    def measure(chosen: list[str]) -> None:
        for name in chosen:
            console.print(f"Measuring {name}", highlight=False)
            measured.update(
                {result["name"]: {field: result[field] for field in FIELDS} for result in run_benchmark(name)}
            )

    measure([name for name in names if name not in ON_LOCAL_AWS])
    on_local_aws = [name for name in names if name in ON_LOCAL_AWS]
    if on_local_aws:
        with local_deployment(console):
            measure(on_local_aws)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results | measured, indent=2) + "\n")
    console.print(table(measured))
    console.print(f"Written to {RESULTS.relative_to(local_aws.REPOSITORY)}", highlight=False)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run the benchmarks."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=BENCHMARKS, help="run this one (ONLY=)")
    options = parser.parse_args(arguments)
    names = [options.only] if options.only else list(BENCHMARKS)
    return exit_code_of(lambda: bench(Console(width=110), names))


if __name__ == "__main__":
    sys.exit(main())
