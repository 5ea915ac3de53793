"""Splits the text of a CSV into rows and cells, by the character that quotes cells or without any."""

from __future__ import annotations

import re

LINE_END = re.compile(rb"\r\n|\r|\n")


class Quotes:
    """The rules of a file whose cells can be quoted: ``sign`` comes before and after such a cell, and is doubled in it.

    ``raw_row`` matches a row up to its line end, or up to a quote that is never closed. ``doubled`` is how the staged
    copy writes a doubled ``sign``.
    """

    def __init__(self, sign: bytes) -> None:
        self.sign = sign
        self.doubled = b'""' if sign == b'"' else sign
        self.name = "double quote" if sign == b'"' else "single quote"
        self.raw_row = re.compile(b"(?:[^" + sign + rb"\r\n]++|" + self._quoted() + b")*+")
        self._quoted_text = re.compile(self._quoted())

    def _quoted(self) -> bytes:
        return self.sign + b"[^" + self.sign + b"]*+" + self.sign

    def row_of(self, delimiter: bytes) -> re.Pattern[bytes]:
        """Matches a well-formed row."""
        sign, mark = self.sign, re.escape(delimiter)
        inside = b"[^" + sign + b"]*+"
        quoted = sign + inside + b"(?:" + sign * 2 + inside + b")*+" + sign
        cell = b"(?:" + quoted + b"|[^" + sign + rb"\r\n" + mark + b"]*+)"
        return re.compile(cell + b"(?:" + mark + cell + b")*+")

    def masked(self, text: bytes) -> bytes:
        """The text with each quoted part replaced by a letter."""
        return self._quoted_text.sub(b"x", text)

    def pieces(self, text: bytes) -> list[bytes]:
        """The text split at its quotes, so that every second piece was quoted.

        The staged copy quotes with double quotes, so those in the pieces are doubled.
        """
        return (text if self.sign == b'"' else text.replace(b'"', b'""')).split(self.sign)

    def cells(self, row: bytes, delimiter: bytes) -> list[bytes]:
        """The cells of a well-formed row, still quoted as in the file."""
        if self.sign not in row:
            return row.split(delimiter)
        pieces = row.split(self.sign)
        marked = self.sign.join(piece if i % 2 else piece.replace(delimiter, b"\0") for i, piece in enumerate(pieces))
        return marked.split(b"\0") if b"\0" not in row else row.split(delimiter)

    def text(self, cell: bytes) -> str:
        """The value of a cell. Bytes that are not UTF-8 are refused elsewhere; here they keep about the same size."""
        text, sign = cell.decode("utf-8", "replace"), self.sign.decode()
        return text[1:-1].replace(sign * 2, sign) if text.startswith(sign) else text

    def end_of_last_row(self, data: bytes) -> int:
        """The index after the last line end outside quotes; 0 if there is none."""
        # A CR at the very end can be the first half of a CRLF, so the row ends only when the next bytes are known.
        end = len(data) - data.endswith(b"\r")
        quotes = data.count(self.sign, 0, end)
        while True:
            line_end = max(data.rfind(b"\n", 0, end), data.rfind(b"\r", 0, end))
            if line_end < 0:
                return 0
            quotes -= data.count(self.sign, line_end, end)
            if quotes % 2 == 0:
                return line_end + 1
            end = data.rfind(self.sign, 0, line_end)
            quotes -= 1

    def first_rows(self, block: bytes, count: int) -> bytes:
        """The first ``count`` rows of a block."""
        if block.count(b"\n") + block.count(b"\r") <= count:
            return block
        position = 0
        while position < len(block):
            row = self.raw_row.match(block, position)
            assert row is not None
            if row.end() > position:
                if not count:
                    break
                count -= 1
            line_end = LINE_END.match(block, row.end())
            if line_end is None:
                return block
            position = line_end.end()
        return block[:position]


class NoQuotes(Quotes):
    """The rules of a file in which no character quotes cells: quotes are content."""

    def __init__(self) -> None:
        super().__init__(b'"')
        self.raw_row = re.compile(rb"[^\r\n]*+")

    def row_of(self, delimiter: bytes) -> re.Pattern[bytes]:
        cell = rb"[^\r\n" + re.escape(delimiter) + b"]*+"
        return re.compile(cell + b"(?:" + re.escape(delimiter) + cell + b")*+")

    def masked(self, text: bytes) -> bytes:
        return text

    def pieces(self, text: bytes) -> list[bytes]:
        return [text.replace(b'"', b'""')]

    def cells(self, row: bytes, delimiter: bytes) -> list[bytes]:
        return row.split(delimiter)

    def text(self, cell: bytes) -> str:
        return cell.decode("utf-8", "replace")

    def end_of_last_row(self, data: bytes) -> int:
        end = len(data) - data.endswith(b"\r")
        return max(data.rfind(b"\n", 0, end), data.rfind(b"\r", 0, end)) + 1


QUOTES = {'"': Quotes(b'"'), "'": Quotes(b"'"), "none": NoQuotes()}
"""The rules for each value of ``input_format.quote``."""
