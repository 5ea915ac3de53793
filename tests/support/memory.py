"""The memory of this process alone."""

from __future__ import annotations

from pathlib import Path


def peak_kilobytes() -> int:
    """Highest resident memory since this program began (``VmHWM`` of Linux's /proc/self/status).

    Not ``ru_maxrss``: it keeps the peak of the process that started this one, when that was larger.
    """
    return _kilobytes("VmHWM:")


def size_kilobytes() -> int:
    """Address space of this process now, which is what ``RLIMIT_AS`` limits."""
    return _kilobytes("VmSize:")


def _kilobytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise RuntimeError(f"This system does not tell {name.rstrip(':')} in /proc/self/status.")
