"""The staged copy of a user's file, which Step Functions reads instead of the file.

The native reader deletes lone backslashes, drops extra cells, pads short rows, and fails on a repeated header
(https://docs.aws.amazon.com/step-functions/latest/dg/example-csv-parse-dist-map.html). The staged copy avoids all of
that. Its header is ``r,c1..cN``, where ``r`` is the 1-based row number; every cell is quoted, and lines end with LF. In
a cell, a CR is written as ``\\r``, because AWS does not document how the native reader handles it, and a backslash is
doubled. Then quotes and backslashes are doubled for the reader. ``unescaped`` undoes what the reader leaves of this.
A cell of a typed file that is not text begins with ``\\j``, followed by its value as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from row_batches.mapping.cells import JsonCell

_ESCAPE = re.compile(r"\\[\\r]")
_ROW_START = re.compile(rb'\n"(\d+)","')
_STAGED_CELL = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')


def escaped(cell: str) -> str:
    """Encode a user's cell in the form in which the native reader passes it to a child."""
    if isinstance(cell, JsonCell):
        return "\\j" + escaped(cell.json)
    return cell.replace("\\", "\\\\").replace("\r", "\\r")


def unescaped(cell: str) -> str:
    """Decode the user's cell from the form in which the native reader passes it to a child."""
    if "\\" not in cell:
        return cell
    if cell.startswith("\\j"):
        return JsonCell(unescaped(cell[2:]))
    return _ESCAPE.sub(lambda found: "\r" if found.group() == "\\r" else "\\", cell)


def staged_header(columns: int) -> bytes:
    """The first line of the staged copy of a file with ``columns`` columns."""
    return ("r," + ",".join(f"c{i}" for i in range(1, columns + 1)) + "\n").encode()


def staged_cells(cells: Iterable[str]) -> str:
    """The cells of a row as its line in the staged copy has them, after the row number."""
    return ",".join(map(staged_cell, cells))


def staged_cell(cell: str) -> str:
    """A cell as a line of the staged copy has it, in its quotes."""
    quoted = escaped(cell).replace("\\", "\\\\").replace('"', '""')
    return f'"{quoted}"'


def staged_lines(
    chunks: Iterable[bytes], ranges: Iterable[tuple[int, int]] | None = None
) -> Iterator[tuple[int, bytes]]:
    """The rows of a staged copy as ``(row, line with its line end)``: all, or those of ``ranges``.

    ``ranges`` are pairs of first and last row, ascending, without overlap. Rows between them are skipped without being
    parsed, and reading stops after the last. The copy must have the first row of each range; other rows that it lacks
    are skipped.
    """
    # In a staged copy, a line end followed by one quote and a digit is always the start of a row: inside a
    # cell, quotes are doubled, and the quote that ends a cell is followed by a comma or a line end.
    source = filter(None, chunks)
    data = b""
    for chunk in source:
        data += chunk
        if b"\n" in data:
            break
    data = data[data.find(b"\n") :]
    if ranges is None:
        yield from _every_line(data, source)
        return
    for first, last in ranges:
        mark = b'\n"%d","' % first
        while (start := data.find(mark)) < 0:
            chunk = next(source, b"")
            if not chunk:
                return
            data = data[-len(mark) :] + chunk if len(data) > len(mark) else data + chunk
        position = start
        row = first
        while row <= last:
            following = _ROW_START.search(data, position + 1)
            while following is None and (chunk := next(source, b"")):
                data = data[position:] + chunk
                position = 0
                following = _ROW_START.search(data, 1)
            if following is None:
                yield row, data[position + 1 :]
                return
            yield row, data[position + 1 : following.start() + 1]
            position = following.start()
            row = int(following[1])
        data = data[position:]


def whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a staged copy, in chunks that end where a row ends. Memory: a chunk and a row."""
    carry = b""
    for chunk in chunks:
        data = carry + chunk
        # The last row can go on in the next chunk, so it waits for it.
        end = max((found.start() + 1 for found in _ROW_START.finditer(data, max(0, len(carry) - 32))), default=0)
        if end:
            yield data[:end]
        carry = data[end:]
    if carry:
        yield carry


def _every_line(data: bytes, source: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """All rows in ``data`` and the chunks after it. Their numbers can have gaps, because a copy can lack rows."""
    row = _ROW_START.search(data)
    while row is None:
        chunk = next(source, b"")
        if not chunk:
            return
        data += chunk
        row = _ROW_START.search(data)
    while row is not None:
        following = _ROW_START.search(data, row.end())
        while following is None and (chunk := next(source, b"")):
            data = data[row.start() :] + chunk
            row = _ROW_START.match(data)
            assert row is not None
            following = _ROW_START.search(data, row.end())
        end = len(data) if following is None else following.start() + 1
        yield int(row[1]), data[row.start() + 1 : end]
        row = following


def picked_lines(chunks: Iterable[bytes], rows: Iterable[int]) -> Iterator[tuple[int, int, bytes]]:
    """Some ``rows`` of a staged copy, ascending: the row, the place of its line in bytes, and the line.

    The rows between them are not parsed, whatever their numbers. Ends at a row that the copy lacks.
    """
    source = filter(None, chunks)
    data, before, position = b"", 0, 0
    """``before`` is the number of bytes before ``data``."""
    for row in rows:
        mark = b'\n"%d","' % row
        while (start := data.find(mark, position)) < 0:
            chunk = next(source, b"")
            if not chunk:
                return
            kept = data[max(position, len(data) - len(mark)) :]
            before, data, position = before + len(data) - len(kept), kept + chunk, 0
        while (following := _ROW_START.search(data, start + 1)) is None:
            chunk = next(source, b"")
            before, data, start = before + start, data[start:] + chunk, 0
            if not chunk:
                break
        position = len(data) if following is None else following.start()
        line = data[start + 1 :] if following is None else data[start + 1 : position + 1]
        yield row, before + start + 1, line


def read_staged(
    chunks: Iterable[bytes], ranges: Iterable[tuple[int, int]] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a staged copy as ``(row, cells)``, cells as in the user's file. ``ranges`` as in ``staged_lines``."""
    for row, line in staged_lines(chunks, ranges):
        yield row, parse_staged(line)


def staged_items(chunks: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """The rows of a staged copy as the native reader gives them to a child: ``{"r": "1", "c1": "...", ...}``."""
    for _, line in staged_lines(chunks):
        row, *cells = _cells(line)
        yield {"r": row, **{f"c{number}": cell for number, cell in enumerate(cells, 1)}}


def parse_staged(line: bytes) -> list[str]:
    """The cells of one line of a staged copy, without its row number, as in the user's file."""
    return [unescaped(cell) for cell in _cells(line)[1:]]


def _cells(line: bytes) -> list[str]:
    """The cells of a line as the native reader reads them, the row number first."""
    return [cell.replace('""', '"').replace("\\\\", "\\") for cell in _STAGED_CELL.findall(line.decode())]
