"""Reads the lines of an output object in chunks. The chunks do not depend on the sizes of the reads."""

from __future__ import annotations

from collections.abc import Iterator

CHUNK_RECORDS = 800
CHUNK_BYTES = 8 * 1024 * 1024
"""A chunk ends at one of these limits, whichever comes first."""
MOST_LINE_BYTES = 16 * 1024 * 1024
"""The longest line that is read. The rest of a longer line is dropped, so its record fails."""


def chunks(ranges: Iterator[bytes], offset: int) -> Iterator[tuple[list[bytes], int]]:
    """The lines of an object from ``offset`` on, some at a time, each time with the offset after the last of them.

    The same offset always gives the same chunks. Blank lines are left out; the last line needs no line break.
    """
    lines: list[bytes] = []
    begin = end = offset
    for line, after in _lines(ranges, offset):
        end = after
        if line.strip():
            lines.append(line)
        if len(lines) == CHUNK_RECORDS or end - begin >= CHUNK_BYTES:
            yield lines, end
            lines, begin = [], end
    if end > begin:
        yield lines, end


def _lines(ranges: Iterator[bytes], offset: int) -> Iterator[tuple[bytes, int]]:
    """Each line without its line break, up to ``MOST_LINE_BYTES``, and the offset after it."""
    rest, dropped = b"", 0
    for data in ranges:
        begin = 0
        while (end := data.find(b"\n", begin)) >= 0:
            offset += len(rest) + dropped + end - begin + 1
            yield (rest + data[begin:end])[:MOST_LINE_BYTES], offset
            rest, dropped, begin = b"", 0, end + 1
        rest += data[begin:]
        dropped += max(0, len(rest) - MOST_LINE_BYTES)
        rest = rest[:MOST_LINE_BYTES]
    if rest:
        yield rest, offset + len(rest) + dropped
