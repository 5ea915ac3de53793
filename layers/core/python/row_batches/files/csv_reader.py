"""Converts the UTF-8 text of a user's CSV to its staged copy (``staged_copy``).

It accepts byte order marks; LF, CRLF or CR; comma, semicolon, tab, pipe or space between cells, or the delimiter of a
first line ``sep=;`` or of ``input_format``; quoting as in RFC 4180. Empty lines are skipped, so a one-column file must
write an empty cell as ``""``. Cells are never changed: a line end, a backslash or a formula inside a cell reaches the
target and the output unchanged.

It is fast because it does nothing per cell. It splits text at its quotes, so every second piece is outside quotes;
there, delimiters and line ends can be replaced directly. It works on blocks of whole rows. Only if a check fails in a
block, it examines that block row by row, to report the mistake and its line. The standard library's ``csv`` is slower
and silently accepts a quote inside an unquoted cell; the tests compare the two.
Memory: a few times the larger of 32 KB, the longest row (200 KB at most) and a chunk, whatever the size of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import itemgetter

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.files.column_names import addressed, naming_warnings
from row_batches.files.csv_header import Dialect, choose_delimiter, count_lines, fit_header
from row_batches.files.csv_mistakes import Mistakes
from row_batches.files.csv_quotes import LINE_END, QUOTES
from row_batches.files.file_text import FileText
from row_batches.files.staged_copy import staged_header
from row_batches.files.table import (
    MAX_COLUMNS,
    MAX_FILE_BYTES,
    MAX_ROW_BYTES,
    Place,
    refuse,
    row_json_bytes,
    too_large,
    too_many_columns,
)

_SAMPLE_BYTES = 65_536
_BOM = b"\xef\xbb\xbf"
_SEPARATOR_LINE = re.compile(rb'"?sep=([,;\t| :^~])"?(?:\r\n|\r|\n)', re.IGNORECASE)
"""A first line that tells Excel the delimiter."""
_FIRST_BYTE = itemgetter(slice(0, 1))
_LAST_BYTE = itemgetter(slice(-1, None))


class Staging:
    """The conversion of a CSV to its staged copy. Iterate once to get the copy in chunks of up to about 100 KB.

    ``chunks`` are the UTF-8 bytes of the file, of any size. Raises InvalidInputError for a file without a usable
    header. The iteration raises InvalidInputError with the first lines of each kind of mistake. With ``max_rows``, it
    ends after so many rows; later rows are neither read nor checked. ``source_warnings`` returns the warnings of what
    produced the text.

    ``header`` has the names in the file; ``columns`` has the names that address the columns (``column_names``).
    ``delimiter`` is the character between cells. ``total_rows`` and ``size_bytes`` (of the staged copy) are complete
    after the iteration.
    """

    typed = False
    header: list[str]
    columns: list[str]
    delimiter: str
    total_rows: int
    size_bytes: int

    def __init__(
        self,
        chunks: Iterable[bytes],
        form: InputFormat | None = None,
        max_rows: int | None = None,
        source_warnings: Callable[[], list[str]] = list,
    ) -> None:
        self.total_rows = 0
        self.size_bytes = 0
        self._form = form or InputFormat()
        self._max_rows = max_rows
        self._source_warnings = source_warnings
        self._notes: list[str] = []
        self._padded_rows = 0
        self._first_padded_line = 0
        self._text = chunks if isinstance(chunks, FileText) else None
        self._chunks = iter(chunks)
        self._is_resumed = False
        self._line = 1
        self._offset = 0
        self._line_end = b"\n"
        self._quotes = QUOTES[self._form.quote]
        self._mistakes = Mistakes(self._quotes)
        self.header = []
        self.columns = []
        self._read_header()

    @property
    def encoding(self) -> str:
        """The encoding of the part of the file that was read."""
        return "utf-8" if self._text is None else self._text.encoding

    @property
    def warnings(self) -> list[str]:
        """Notes on what was detected or changed without the user asking for it; complete after the iteration."""
        warnings = [*self._source_warnings(), *self._notes]
        if self._form.header:
            warnings += naming_warnings(self.header, self.columns)
        if self._padded_rows:
            warnings.append(
                f"Empty cells were added to {self._padded_rows:,} rows that have fewer cells than the header, the "
                f"first in line {self._first_padded_line:,}."
            )
        return warnings

    def __iter__(self) -> Iterator[bytes]:
        if not self._is_resumed:
            header = staged_header(len(self.columns))
            self.size_bytes = len(header)
            yield header
        for block in self._blocks():
            staged = self._stage(block)
            self._line += self._lines(block)
            self._offset += len(block)
            if self._mistakes.enough:
                break
            self.size_bytes += len(staged)
            if self.size_bytes > MAX_FILE_BYTES:
                self._mistakes.problems.append(too_large("the staged copy of the file", self.size_bytes))
                break
            if staged:
                yield staged
            if self.total_rows == self._max_rows:
                break
        self._mistakes.raise_if_any()

    # --- places, for a file that takes several calls

    def place(self) -> Place | None:
        self._mistakes.raise_if_any()
        if self._text is None:
            return None
        return {
            "offset": self._offset,
            "text": self._text.kind,
            "line": self._line,
            "rows": self.total_rows,
            "size": self.size_bytes,
            "padded": self._padded_rows,
            "first_padded": self._first_padded_line,
        }

    def resume(self, place: Place) -> None:
        assert self._text is not None
        self._is_resumed = True
        self._rest = b""
        self._chunks = self._text.resume(place["offset"], place["text"])
        self._offset, self._line = place["offset"], place["line"]
        self.total_rows, self.size_bytes = place["rows"], place["size"]
        self._padded_rows, self._first_padded_line = place["padded"], place["first_padded"]

    # --- header

    def _read_header(self) -> None:
        sample, start, separator, final = self._read_sample()
        self._line += self._lines(sample[:start])
        self._offset += start
        sample = sample[start:]
        if not sample:
            fix = "give it a header line with the names of its columns"
            message = "the file has no line after those to skip" if self._form.skip_lines else "the file is empty"
            refuse("", message, fix)
        rows = sample if final else sample[: self._quotes.end_of_last_row(sample)]
        named = separator[1] if separator else None
        delimiter, notes = choose_delimiter(rows or sample, named, self._form, self._quotes, self._line)
        self._notes += notes
        self.delimiter = delimiter.decode()
        self._row = self._quotes.row_of(delimiter)
        self._delimiter = delimiter
        self._no_structure = bytes(set(range(256)) - set(delimiter + b"\r\n"))
        match = self._row.match(sample)
        assert match is not None
        header = match.group()
        complete = (final and match.end() == len(sample)) or LINE_END.match(sample, match.end())
        if not complete or not _is_text(header):
            self._examine(sample, final=final)
        elif len(header) > MAX_ROW_BYTES:
            self._mistakes.too_long.append(f"line {self._line}")
        self._mistakes.raise_if_any()
        line_end = LINE_END.match(sample, match.end())
        rest = line_end.end() if line_end else len(sample)
        dialect = Dialect(self._quotes, delimiter, self._line_end, self._row)
        first_line = self._line + self._lines(sample[:rest])
        fitted = fit_header(header, self._line, rows[rest:], first_line, self._form, dialect)
        self.header = fitted.names
        self._notes += fitted.notes
        self._mistakes.title_lines = fitted.title_lines
        if self._form.header:
            if len(self.header) > 1 and not any(name.strip() for name in self.header):
                self._notes.append(
                    f"Line {self._line} has no names. If the header comes after it, set input_format.skip_lines to "
                    f"{self._line}."
                )
            self._line += self._lines(sample[:rest])
            self._offset += rest
            self._rest = sample[rest:]
        else:
            self.header = addressed([""] * len(self.header))
            self._rest = sample
        columns = addressed(self.header)
        self._keys_bytes = self._json_size(MAX_FILE_BYTES, [b""] * len(columns))
        if len(columns) > MAX_COLUMNS:
            raise InvalidInputError([too_many_columns(len(columns))])
        # A row in a block of this size cannot pass MAX_ROW_BYTES: in JSON, a byte becomes six at most (``\\u0001``).
        self._block_bytes = (MAX_ROW_BYTES - self._keys_bytes) // 6
        self.columns = columns
        self._mistakes.columns = len(columns)

    def _read_sample(self) -> tuple[bytes, int, re.Match[bytes] | None, bool]:
        """The file's first bytes, the index of the header, the ``sep=`` line, and whether the bytes are the whole file.

        If they are not, they have at least one whole row from the header on, or more bytes than any row can have.
        """
        sample = b""
        while True:
            chunk = next(self._chunks, b"")
            sample += chunk
            while sample.startswith(_BOM):
                sample = sample[len(_BOM) :]
                self._offset += len(_BOM)
            if chunk and len(sample) <= _SAMPLE_BYTES:
                continue
            if line_end := LINE_END.search(sample):
                self._line_end = line_end.group()
            separator = _SEPARATOR_LINE.match(sample)
            start = self._header_start(sample, separator)
            size = len(sample) - start
            is_whole = size > _SAMPLE_BYTES and self._quotes.end_of_last_row(sample[start:])
            if not chunk or size > MAX_ROW_BYTES or is_whole:
                return sample, start, separator, not chunk

    def _header_start(self, sample: bytes, separator: re.Match[bytes] | None) -> int:
        """The index where the header begins: after the lines to skip or a ``sep=`` line, and after blank lines."""
        start = separator.end() if separator and not self._form.skip_lines else 0
        for _ in range(self._form.skip_lines):
            line_end = LINE_END.search(sample, start)
            start = line_end.end() if line_end else len(sample)
        return len(sample) - len(sample[start:].lstrip(b"\r\n"))

    # --- rows

    def _blocks(self) -> Iterator[bytes]:
        """Split the rest of the file into blocks of whole rows: up to ``_block_bytes``, or one longer row."""
        carry = b""
        for chunk in chain([self._rest], self._chunks):
            position = 0
            while position < len(chunk):
                step = max(self._block_bytes - len(carry), self._block_bytes // 2)
                data = carry + chunk[position : position + step]
                position += step
                end = self._quotes.end_of_last_row(data)
                if not end and len(data) > MAX_ROW_BYTES:
                    # Longer than any valid row. An unclosed quote must not load the whole file into memory.
                    self._examine(data, final=False)
                    return
                if end:
                    yield data[:end]
                carry = data[end:]
        if carry:
            yield carry

    def _stage(self, block: bytes) -> bytes:
        """The staged form of some whole rows. Empty if there are none, or if a check failed (see ``_mistakes``)."""
        if self._max_rows is not None:
            block = self._quotes.first_rows(block, self._max_rows - self.total_rows)
        staged = self._staged(block)
        padded = block
        if staged is None and self._form.ragged == "pad":
            padded = self._padded(block)
            staged = self._staged(padded)
        if staged is None or len(padded) > self._block_bytes:
            self._examine(block if staged is None else padded, final=True)
            if self._mistakes:
                return b""
        assert staged is not None
        return staged

    def _staged(self, block: bytes) -> bytes | None:
        """The staged form of some whole rows; None if a check failed."""
        pieces = self._quotes.pieces(block.replace(b"\\", b"\\\\" * 2))
        if b"\r" in block:
            pieces[1::2] = [piece.replace(b"\r", b"\\\\r") for piece in pieces[1::2]]
        # From here on, NUL stands for a quoted piece. (A file that contains NUL is refused.)
        outside, rows, regular = self._regular_rows(b"\0".join(pieces[0::2]))
        if not regular or not self._quotes_stand_right(pieces) or not _is_text(block):
            return None
        self.total_rows += rows
        if not rows:
            return b""
        cells = outside.removesuffix(b"\n").replace(b"%", b"%%").replace(self._delimiter, b'","')
        unnumbered = b'"%d","' + cells.replace(b"\n", b'"\n"%d","') + b'"\n'
        staged = unnumbered % tuple(range(self.total_rows - rows + 1, self.total_rows + 1))
        if len(pieces) == 1:
            return staged
        # Two adjacent quoted pieces are one cell with a quote inside.
        pieces[0::2] = [piece or self._quotes.doubled for piece in staged.split(b"\0")]
        return b"".join(pieces)

    def _padded(self, block: bytes) -> bytes:
        """The block with empty cells added to rows that have too few, and surplus empty cells removed."""
        lines = []
        position = 0
        width = len(self.columns)
        while position < len(block):
            if line_end := LINE_END.match(block, position):
                position = line_end.end()
                continue
            row = self._row.match(block, position)
            if row is None or not (row.end() == len(block) or LINE_END.match(block, row.end())):
                return block
            cells = self._quotes.cells(row.group(), self._delimiter)
            if len(cells) < width:
                self._padded_rows += 1
                self._first_padded_line = self._first_padded_line or self._line + self._lines(block[:position])
                cells += [b""] * (width - len(cells))
            elif not any(map(self._quotes.text, cells[width:])):
                cells = cells[:width]
            lines.append(self._delimiter.join(cells) + self._line_end)
            position = row.end()
        return b"".join(lines)

    def _regular_rows(self, outside: bytes) -> tuple[bytes, int, bool]:
        """The text outside quotes with LF line ends and no blank lines, its row count, and whether all rows fit."""
        skeleton = outside.translate(None, self._no_structure)
        row = self._delimiter * (len(self.columns) - 1)
        rows = skeleton.count(self._line_end)
        # In a file with one column, a blank line would look like a row.
        if row and skeleton == (row + self._line_end) * rows and outside.endswith(self._line_end):
            if self._line_end == b"\r\n":
                outside = outside.replace(b"\r", b"")
            elif self._line_end == b"\r":
                outside = outside.replace(b"\r", b"\n")
            return outside, rows, True
        outside = outside.replace(b"\r\n", b"\n").replace(b"\r", b"\n").strip(b"\n")
        outside = re.sub(rb"\n{2,}", b"\n", outside) + b"\n" if outside else b""
        skeleton = outside.translate(None, self._no_structure)
        rows = skeleton.count(b"\n")
        return outside, rows, skeleton == (row + b"\n") * rows

    def _quotes_stand_right(self, pieces: list[bytes]) -> bool:
        """Whether quotes begin and end exactly where cells do. ``pieces`` is the text split at its quotes."""
        if len(pieces) % 2 == 0:
            return False
        # The text between two quoted pieces is either empty (a doubled quote) or runs from the end of one cell to the
        # start of another. If all cells are quoted, there are few different such texts.
        between = set(pieces[2:-1:2])
        before = set(map(_LAST_BYTE, between | set(pieces[0:-1:2][:1])))
        after = set(map(_FIRST_BYTE, between | set(pieces[2::2][-1:])))
        return before | after <= {b"", b"\n", b"\r", self._delimiter}

    def _examine(self, data: bytes, *, final: bool) -> None:
        """Examine ``data`` row by row and note the mistakes. ``final``: the data ends at the end of a row.

        Before the header is read, only the header's row is examined.
        """
        mistakes = self._mistakes
        position = 0
        line = self._line
        row = self.total_rows
        while position < len(data) and not mistakes.enough:
            if line_end := LINE_END.match(data, position):
                position = line_end.end()
                line += self._lines(line_end.group())
                continue
            row += 1
            whole = self._quotes.raw_row.match(data, position)  # up to the line end, or to an unclosed quote
            right = self._row.match(data, position)  # the well-formed part
            assert whole is not None
            assert right is not None
            raw = whole.group()
            unclosed = data[whole.end() : whole.end() + 1] == self._quotes.sign
            if right.end() < whole.end() or unclosed:
                self._note_quote(data, position, right.end(), line, final=final)
                # After a stray quote, inside and outside are swapped, so further mistakes would be false.
                mistakes.stop |= unclosed or self._lines(raw) > 0
            elif whole.end() == len(data) and not final:
                mistakes.too_long.append(f"line {line}")
                mistakes.stop = True
            elif self.columns:
                cells = self._quotes.cells(raw, self._delimiter)
                if not self._fits(cells):
                    mistakes.ragged.append(f"line {line} ({len(cells)})")
                    mistakes.has_surplus |= any(map(self._quotes.text, cells[len(self.columns) :]))
                elif len(raw) * 6 > MAX_ROW_BYTES - self._keys_bytes and self._json_size(row, cells) > MAX_ROW_BYTES:
                    mistakes.too_long.append(f"line {line}")
            self._note_text(raw, line, self._offset + position)
            if not self.columns:
                return
            line += self._lines(raw)
            position = whole.end()

    def _json_size(self, row: int, cells: list[bytes]) -> int:
        """The size in bytes of the JSON object that the native reader makes of a staged row."""
        return row_json_bytes(row, map(self._quotes.text, cells))

    def _fits(self, cells: list[bytes]) -> bool:
        width = len(self.columns)
        if self._form.ragged == "pad":
            return not any(map(self._quotes.text, cells[width:]))
        return len(cells) == width

    def _lines(self, data: bytes) -> int:
        return count_lines(data, self._line_end)

    def _note_quote(self, data: bytes, row_start: int, position: int, line: int, *, final: bool) -> None:
        """Note a misplaced quote at ``position``, or text after a closing quote."""
        there = f"line {line + self._lines(data[row_start:position])}"
        before = data[row_start:position].rpartition(self._delimiter)[2]
        starts_cell = position == row_start or data[position - 1 : position] == self._delimiter
        if not starts_cell and not before.strip(b" "):
            self._mistakes.spaces.append(there)
        elif not starts_cell:
            self._mistakes.bare_quotes.append(there)
        elif final:
            self._mistakes.unclosed.append(there)
        else:
            self._mistakes.too_long.append(there)

    def _note_text(self, raw: bytes, line: int, offset: int) -> None:
        """Note bytes that are not UTF-8, and NUL."""
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            there = f"line {line + self._lines(raw[: error.start])}"
            self._mistakes.not_utf8.append(f"{there} (byte {offset + error.start:,} of the file)")
        nul = raw.find(b"\0")
        if nul >= 0:
            self._mistakes.nul.append(f"line {line + self._lines(raw[:nul])}")


def _is_text(block: bytes) -> bool:
    if b"\0" in block:
        return False
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True
