"""Ends functions that use more memory than they have, as Lambda does.

Lambda kills such a function; the invocation's error is `Runtime.OutOfMemory`, while any other kill is
`Runtime.ExitError`. https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html

Only the process's own memory counts, as the kernel shows it. Pages of mapped files can be dropped, so Lambda's limit
does not count them either. Memory is measured ten times a second, so a function can exceed its limit for a moment.
Without `/proc`, as on macOS, there is no limit.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Protocol

LOOK_SECONDS = 0.1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Measured(Protocol):
    """A worker while it serves an invocation."""

    memory_bytes: int
    out_of_memory: bool
    _proc: subprocess.Popen[bytes] | None


class MemoryWatch:
    """Measures the memory of registered workers, and kills those that exceed their limit."""

    def __init__(self) -> None:
        self._workers: set[Measured] = set()
        self._lock = threading.Lock()

    def add(self, worker: Measured) -> None:
        with self._lock:
            self._workers.add(worker)

    def discard(self, worker: Measured) -> None:
        with self._lock:
            self._workers.discard(worker)

    def look(self) -> None:
        """Kill every worker that exceeds its limit."""
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            process = worker._proc
            if process is not None and own_bytes(process.pid) > worker.memory_bytes:
                worker.out_of_memory = True
                process.kill()

    def run(self) -> None:
        """Measure repeatedly, in a separate thread."""
        while True:
            time.sleep(LOOK_SECONDS)
            self.look()


def own_bytes(pid: int) -> int:
    """The memory of a process without its mapped files; 0 if unknown."""
    try:
        _size, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * PAGE_BYTES


WATCH = MemoryWatch()
