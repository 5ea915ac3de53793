"""Ends functions that use more memory than they have, as Lambda does.

Lambda kills such a function; the invocation's error is `Runtime.OutOfMemory`, while any other kill is
`Runtime.ExitError`. https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html

What counts is the process's own memory, as the kernel shows it, not the pages of files that it has mapped: those can be
dropped, so Lambda's limit does not count them either. A function is looked at ten times a second, so it may pass its
limit for a moment. Where the kernel has no `/proc`, as on macOS, nothing is limited.
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
    """Looks at the workers that are given to it, and kills what passes its limit."""

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
        """Kill every worker that has passed its limit."""
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            process = worker._proc
            if process is not None and own_bytes(process.pid) > worker.memory_bytes:
                worker.out_of_memory = True
                process.kill()

    def run(self) -> None:
        """Look again and again, in a thread of its own."""
        while True:
            time.sleep(LOOK_SECONDS)
            self.look()


def own_bytes(pid: int) -> int:
    """The memory of a process without the files that it has mapped; 0 where that is not known."""
    try:
        _size, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * PAGE_BYTES


WATCH = MemoryWatch()
