"""Stages a file in a process of its own, to measure its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.files.opening import open_input
from row_batches.files.table import InputFile
from tests.support.memory import peak_kilobytes


@dataclass(frozen=True)
class Staged:
    """The number of rows, or the refusal; peak memory in MB and CPU time in seconds, with those of the imports."""

    rows: int
    refusal: str
    peak_mb: float
    seconds: float


def staged_alone(path: Path) -> Staged:
    """Stage the file as ``validate_input`` does, reading it in chunks of 1 MiB."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, "-m", "tests.support.staging", str(path)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    return Staged(**json.loads(done.stdout))


def main() -> None:
    path = Path(sys.argv[1])

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk

    rows, refusal = 0, ""
    try:
        staging = open_input(InputFile(chunks, InputFormat(), size=path.stat().st_size))
        for _ in staging:
            pass
        rows = staging.total_rows
    except InvalidInputError as error:
        refusal = str(error)
    print(json.dumps(asdict(Staged(rows, refusal, peak_kilobytes() / 1024, time.process_time()))))


if __name__ == "__main__":
    main()
