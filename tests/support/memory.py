"""The peak memory of this process alone."""

from __future__ import annotations

from pathlib import Path


def peak_kilobytes() -> int:
    """Highest resident memory since this program began (``VmHWM`` of Linux's /proc/self/status).

    Not ``ru_maxrss``: it keeps the peak of the process that started this one, when that was larger.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError("This system does not tell a process's peak memory in /proc/self/status.")
