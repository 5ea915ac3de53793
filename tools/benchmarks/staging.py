"""Staging a CSV: speed compared with the standard library's reader and writer, and memory as the file grows.

The peer does less: it does not number rows, check their length, or find a quote inside an unquoted cell. Times are CPU
times on one core, so that other work of the machine does not affect them.
"""

from __future__ import annotations

import csv
import io
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from row_batches.files.csv_reader import Staging

AIM_MB_PER_SECOND = 60
AIM_GROWTH = 1.1
ROUNDS = 5
SPEED_BYTES = 40_000_000
SMALL_BYTES, LARGE_BYTES = 20_000_000, 200_000_000
CHUNK_BYTES = 1024 * 1024
WORDS = ["the", "quick", "brown", "fox", "wireless", "headphones", "noise", "canceling", "30hr", "battery"]
PROGRAM = "from tools.benchmarks.staging import print_peak; print_peak({0})"


def rows(number: int) -> str:
    """So many rows of six columns, about 130 bytes each: every third with quotes, commas and a line end in a cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    for i in range(number):
        words = " ".join(WORDS[(i + j) % len(WORDS)] for j in range(12))
        cell = f'She said "{words}",\nand left\\' if i % 3 == 0 else words
        writer.writerow(
            [f"P{i:06}", WORDS[i % len(WORDS)], cell, i * 3.5, "user@example.com", "é😀" if i % 10 == 0 else ""]
        )
    return text.getvalue()


def file_of(size: int) -> Iterator[bytes]:
    """A CSV of about ``size`` bytes in chunks, made as it is read."""
    block = rows(5_000).encode()
    yield b"id,word,text,price,mail,note\r\n"
    for _ in range(size // len(block)):
        yield from (block[at : at + CHUNK_BYTES] for at in range(0, len(block), CHUNK_BYTES))


def staged_seconds(chunks: list[bytes]) -> float:
    started = time.process_time()
    for _ in Staging(chunks):
        pass
    return time.process_time() - started


def plain_seconds(chunks: list[bytes]) -> float:
    source = io.TextIOWrapper(io.BytesIO(b"".join(chunks)), encoding="utf-8", newline="")
    target = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    started = time.process_time()
    writer = csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in csv.reader(source, strict=True):
        writer.writerow(row)
    target.flush()
    return time.process_time() - started


def speeds(measure: Callable[[list[bytes]], float], chunks: list[bytes]) -> float:
    return sum(map(len, chunks)) / 1e6 / measure(chunks)


def print_peak(size: int) -> None:
    """Stage a file of that size and print the process's peak memory in bytes."""
    for _ in Staging(file_of(size)):
        pass
    if sys.platform == "linux":
        # Not getrusage, whose figure starts from that of the process that made this one.
        status = Path("/proc/self/status").read_text()
        print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(peak if sys.platform == "darwin" else peak * 1024)


def peak_mb(size: int) -> float:
    """Peak memory in MB of a fresh interpreter that stages a file of that size."""
    program = [sys.executable, "-c", PROGRAM.format(size)]
    return int(subprocess.run(program, check=True, capture_output=True, text=True).stdout) / 1e6


def run() -> list[dict[str, Any]]:
    """Speed in MB/s against the peer, and peak memory at 200 MB against that at 20 MB."""
    chunks = list(file_of(SPEED_BYTES))
    ours, peer = [], []
    for _ in range(ROUNDS):
        ours.append(speeds(staged_seconds, chunks))
        peer.append(speeds(plain_seconds, chunks))
    speed, plain_speed = median(ours), median(peer)
    large, small = peak_mb(LARGE_BYTES), peak_mb(SMALL_BYTES)
    return [
        {
            "name": "staging_speed",
            "ours": speed,
            "peer": plain_speed,
            "ratio": speed / plain_speed,
            "aim": AIM_MB_PER_SECOND,
            "met": speed >= AIM_MB_PER_SECOND,
            "unit": "MB/s (ratio of speeds); peer: csv.reader to csv.writer",
            "spread": (max(ours) - min(ours)) / speed,
        },
        {
            "name": "staging_memory",
            "ours": large,
            "peer": small,
            "ratio": large / small,
            "aim": AIM_GROWTH,
            "met": large / small <= AIM_GROWTH,
            "unit": "MB at peak (ratio of memory), a file of 200 MB; peer: the same with 20 MB",
            "spread": None,
        },
    ]
