"""Checks an output against its proof and its input, line by line.

If a line is not the expected one, the check looks for the place where lines and proof agree again. So it names the rows
that were changed, removed, doubled or moved, and continues after them. It reads bytes, not cells: a changed quote does
not make the rest of the file one cell.

Memory: ``LOOK_BYTES`` and the longest line, the proofs of ``LOOK_ROWS`` rows, ``MOST_FINDINGS`` findings.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from row_batches.rows.proof_rows import (
    ROW_CHARACTERS,
    UNKNOWN,
    RowProof,
    input_hash,
    read_proofs,
    short_hash,
)

LOOK_BYTES = 4 * 1024 * 1024
LOOK_ROWS = 200
LOOK_LINES = 1_000
"""How far after a wrong line the check looks for the place where lines and proof agree again."""
MOST_FINDINGS = 100
"""After this many findings, the check stops, because the output is a different one."""
ROWS_REMEMBERED = 1_000
MOST_CELL_BYTES = 16 * 1024 * 1024
"""A cell can hold a whole answer of 6 MB, quoted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong. ``row`` is 0 if it belongs to no row."""

    row: int
    what: str

    def __str__(self) -> str:
        return f"row {self.row:,}: {self.what}" if self.row else self.what


@dataclass
class Part:
    """The size in bytes of a part of an object, and its SHA-256."""

    bytes: int
    sha256: str


class Bytes:
    """A stream of bytes with a look ahead."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._data = b""
        self._at = 0

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer at the end."""
        if len(self._data) - self._at < size:
            parts = [self._data[self._at :]]
            have = len(parts[0])
            while have < size and (chunk := next(self._chunks, b"")):
                parts.append(chunk)
                have += len(chunk)
            self._data, self._at = b"".join(parts), 0
        return self._data[self._at : self._at + size]

    def skip(self, size: int) -> None:
        self.peek(size)
        self._at += size


def hashed_parts(chunks: Iterable[bytes], parts: Sequence[Part], wrong: Callable[[], object]) -> Iterator[bytes]:
    """The chunks. Calls ``wrong`` if their bytes are not those of ``parts``, at the latest when they end."""
    left = deque(parts)
    digest = hashlib.sha256()
    room = left[0].bytes if left else 0
    is_right = True
    for chunk in chunks:
        at = 0
        while is_right and at < len(chunk):
            if not left:
                is_right = False
                break
            piece = chunk[at : at + room]
            digest.update(piece)
            at += len(piece)
            room -= len(piece)
            if not room:
                is_right = digest.hexdigest() == left.popleft().sha256
                digest = hashlib.sha256()
                room = left[0].bytes if left else 0
        yield chunk
    if not is_right or any(part.bytes for part in left):
        wrong()


class ProofRows:
    """The rows of ``proof_rows.b64``, with a look ahead."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._bytes = Bytes(chunks)
        self._ahead: deque[RowProof] = deque()

    def peek(self, count: int) -> list[RowProof]:
        """The next ``count`` rows; fewer at the end, or before data that is not a proof."""
        if len(self._ahead) < count:
            # Whole blocks, because it is asked for each row.
            size = max(count - len(self._ahead), LOOK_ROWS) * ROW_CHARACTERS
            lines = self._bytes.peek(size)
            self._bytes.skip(len(lines))
            try:
                self._ahead.extend(read_proofs(lines))
            except ValueError:
                return list(self._ahead)[:count]
        return [self._ahead[at] for at in range(min(count, len(self._ahead)))]

    def skip(self, count: int) -> None:
        for _ in range(count):
            self._ahead.popleft()


@dataclass
class Checked:
    """The result of a check. ``rows`` is the number of rows that were found in the output, each where it belongs.

    ``compared`` rows were compared with the input, ``unknown`` rows have no hash of their input in the proof.
    ``unchanged`` says whether the cells of the input were compared with those in the output.
    """

    total_rows: int
    rows: int = 0
    compared: int = 0
    unknown: int = 0
    unchanged: bool = False
    findings: list[Finding] = field(default_factory=list)

    def add(self, row: int, what: str) -> None:
        self.findings.append(Finding(row, what))

    @property
    def is_over(self) -> bool:
        return len(self.findings) >= MOST_FINDINGS


class OutputCheck:
    """Compares the lines of an output with ``proof_rows.b64``, and with the rows of the input if there are some.

    ``first_line`` is the size and the hash of the output's first line. ``original_columns`` are the places in the input
    of the output's first columns.
    """

    def __init__(
        self,
        total_rows: int,
        output: Iterable[bytes],
        proofs: Iterable[bytes],
        inputs: Iterator[Sequence[str]] | None,
        *,
        first_line: Part,
        original_columns: Sequence[int],
    ) -> None:
        self.checked = Checked(total_rows, unchanged=inputs is not None and bool(original_columns))
        self._output = Bytes(output)
        self._proofs = ProofRows(proofs)
        self._inputs = inputs
        self._first_line = first_line
        self._originals = original_columns
        self._row = 1
        self._seen: deque[tuple[bytes, int]] = deque(maxlen=ROWS_REMEMBERED)
        self._missing: dict[bytes, int] = {}
        """The rows that are not where they belong, by the hash of their line."""
        self._changed: dict[int, tuple[bytes, bytes]] = {}
        """The rows that have another line in their place, with the hashes of both: expected and found."""
        self._others: list[tuple[int, bytes]] = []
        """Lines that belong to no row at their place, each with the row before it."""

    def run(self) -> Checked:
        first = self._output.peek(self._first_line.bytes)
        if hashlib.sha256(first).hexdigest() != self._first_line.sha256:
            self.checked.add(0, "the first line of the output, with the names of the columns, was changed")
            first = self._first_line_now()
        self._output.skip(len(first))
        while (expected := self._proofs.peek(1)) and not self.checked.is_over:
            proof = expected[0]
            line = self._output.peek(proof.size)
            if short_hash(line) == proof.output:
                self._take(line, proof)
            elif not self._find_again():
                self._give_up()
                break
        else:
            self._rest()
        self._explain()
        return self.checked

    def _first_line_now(self) -> bytes:
        """The first line of an output whose first line was changed: in place, or to another length."""
        text = self._output.peek(LOOK_BYTES)
        first_row = self._proofs.peek(1)
        if first_row and _is_at(text, self._first_line.bytes, first_row[0]):
            return text[: self._first_line.bytes]
        return text[: text.find(b"\n") + 1]

    def _take(self, line: bytes, proof: RowProof) -> None:
        self._output.skip(len(line))
        self._proofs.skip(1)
        self._seen.append((proof.output, self._row))
        self.checked.rows += 1
        self._compare(line, proof)
        self._row += 1

    # --- the input

    def _compare(self, line: bytes | None, proof: RowProof) -> None:
        """Compare a row with the input. ``line`` is None if the row's line is missing or was changed."""
        if proof.input == UNKNOWN:
            self.checked.unknown += 1
        if self._inputs is None:
            return
        cells = next(self._inputs, None)
        if cells is None:
            self.checked.add(self._row, "the input has no such row")
            self._inputs = None
            return
        self.checked.compared += 1
        if proof.input not in (UNKNOWN, input_hash(cells)):
            self.checked.add(self._row, "the input's row is not the one that the run read")
        elif line is not None and self._originals and not self._has_cells(line, cells):
            self.checked.add(self._row, "the output has other cells than the input")

    def _has_cells(self, line: bytes, cells: Sequence[str]) -> bool:
        written = next(csv.reader(io.StringIO(line.decode(), newline="")))
        return written[: len(self._originals)] == [cells[place] for place in self._originals]

    # --- lines that are not where they belong

    def _find_again(self) -> bool:
        """Find the place where lines and proof agree again, and note what is before it. False if there is none."""
        proofs = self._proofs.peek(LOOK_ROWS)
        text = self._output.peek(LOOK_BYTES + max(proof.size for proof in proofs))
        place = _next_agreement(text, proofs)
        if place is None:
            return False
        rows, size = place
        lines = text[:size]
        if rows == 1 and size:
            self._changed[self._row] = proofs[0].output, short_hash(lines)
        else:
            if lines:
                self._others.append((self._row - 1, lines))
            for number, proof in enumerate(proofs[:rows]):
                self._missing[proof.output] = self._row + number
        for proof in proofs[:rows]:
            self._compare(None, proof)
            self._row += 1
        self._proofs.skip(rows)
        self._output.skip(size)
        if len(self._missing) + len(self._others) + len(self._changed) >= MOST_FINDINGS:
            self._explain()
        return True

    def _give_up(self) -> None:
        """Note how the output ends, because lines and proof do not agree again."""
        after = self.checked.total_rows - self._row
        if self._output.peek(1):
            self.checked.add(self._row, "from here on, the output is another one")
        else:
            self.checked.add(self._row, f"it and the {after:,} rows after it are missing")

    def _rest(self) -> None:
        """Note what is after the last row."""
        if self.checked.is_over:
            return
        if self._row <= self.checked.total_rows:
            self.checked.add(self._row, "the proof ends before this row")
        if rest := self._output.peek(LOOK_BYTES):
            self._others.append((self._row - 1, rest))
        if self._inputs is not None and next(self._inputs, None) is not None:
            self.checked.add(0, f"the input has more than {self.checked.total_rows:,} rows")

    def _explain(self) -> None:
        """Turn missing and surplus rows into findings. A moved row is both."""
        seen = dict(self._seen)
        row_of = {expected: row for row, (expected, _) in self._changed.items()}
        for row, (_, found) in self._changed.items():
            other = row_of.get(found) or seen.get(found)
            self.checked.add(row, f"row {other:,} is in its place" if other else "it was changed")
        for row_before, lines in self._others:
            before = row_before
            for line in _lines(lines):
                what = short_hash(line)
                if what in self._missing:
                    self.checked.add(self._missing.pop(what), f"it is not in its place, but after row {before:,}")
                elif what in seen:
                    self.checked.add(seen[what], f"it is in the output twice, again after row {before:,}")
                else:
                    self.checked.add(before, f"after it, there is a line that no row has ({len(line):,} bytes)")
                before = seen.get(what, before)
        for row in self._missing.values():
            self.checked.add(row, "it is missing")
        self._missing, self._others, self._changed = {}, [], {}
        self.checked.findings.sort(key=lambda finding: finding.row)


def _next_agreement(text: bytes, proofs: Sequence[RowProof]) -> tuple[int, int] | None:
    """How many rows and bytes to skip until a line is the expected one again; None if it is not found.

    Most often one line was changed in place, so that is tried first. The place with the fewest skipped lines and rows
    counts.
    """
    first = proofs[0].size
    if len(proofs) == 1:  # the last row: what is left of the output is its line, or it is missing
        return 1, len(text)
    if _is_at(text, first, proofs[1]):
        return 1, first
    starts = [0]
    while len(starts) < LOOK_LINES and (end := text.find(b"\n", starts[-1])) >= 0:
        starts.append(end + 1)
    for distance in range(1, len(starts) + len(proofs)):
        for rows in range(min(distance, len(proofs) - 1) + 1):
            at = distance - rows
            if at < len(starts) and _is_at(text, starts[at], proofs[rows]):
                return rows, starts[at]
    return None


def _is_at(text: bytes, start: int, proof: RowProof) -> bool:
    end = start + proof.size
    return text[end - 1 : end] == b"\n" and short_hash(text[start:end]) == proof.output


def _lines(text: bytes) -> Iterator[bytes]:
    """Lines of CSV: a line end inside of quotes does not end a line."""
    line = b""
    for part in text.splitlines(keepends=True):
        line += part
        if line.count(b'"') % 2 == 0 and line.endswith(b"\n"):
            yield line
            line = b""
    if line:
        yield line
