"""Collects the mistakes of a CSV, so that one message names the first places of each kind."""

from __future__ import annotations

from foundation.errors import InvalidInputError, Problem
from row_batches.files.csv_quotes import Quotes
from row_batches.files.table import MAX_ROW_BYTES, PATH, PLACES_NAMED, SHORTEN


class Mistakes:
    """The places of the mistakes so far, by kind. Reading stops when ``enough`` places of one kind are known."""

    def __init__(self, quotes: Quotes) -> None:
        self.quotes = quotes
        self.problems: list[Problem] = []
        self.ragged: list[str] = []
        self.spaces: list[str] = []
        self.bare_quotes: list[str] = []
        self.unclosed: list[str] = []
        self.not_utf8: list[str] = []
        self.nul: list[str] = []
        self.too_long: list[str] = []
        self.columns = 0
        self.title_lines = 0
        """The lines that seem to stand above the table, such as a title."""
        self.has_surplus = False
        """Whether a row has more cells with content than there are columns."""
        self.stop = False

    def _kinds(self) -> list[tuple[list[str], str, str]]:
        quote, sign = self.quotes.name, self.quotes.sign.decode()
        return [
            (
                self.ragged,
                f"rows have more or fewer cells (number in brackets) than the header, which has {self.columns}",
                self._cure_of_ragged(),
            ),
            (
                self.spaces,
                f"there are spaces between the delimiter and a {quote}, so the quote is inside the cell",
                "remove these spaces, or set input_format.quote to none to read spaces and quotes as content",
            ),
            (
                self.bare_quotes,
                f"there is a {quote} inside an unquoted cell, or text after a closing quote",
                f"put the whole cell in {quote}s and double the quotes inside it: {sign}5{sign}{sign} pipe{sign}; or "
                "set input_format.quote to none if cells are not quoted",
            ),
            (
                self.unclosed,
                f"a {quote} is opened and never closed",
                "close it, or double it inside a quoted cell, or set input_format.quote to none if cells "
                "are not quoted",
            ),
            (
                self.not_utf8,
                "the file is not UTF-8",
                "save it with the encoding UTF-8, or set input_format.encoding_errors to replace",
            ),
            (self.nul, "the file holds NUL characters", "remove them; a file full of them is UTF-16: save it as UTF-8"),
            (
                self.too_long,
                f"a row is longer than {MAX_ROW_BYTES:,} bytes as JSON (or a quote in it is never closed)",
                SHORTEN,
            ),
        ]

    def _cure_of_ragged(self) -> str:
        title = ""
        if self.title_lines:
            lines = f"line {self.title_lines} is" if self.title_lines == 1 else f"lines 1 to {self.title_lines} are"
            title = f"if {lines} no part of the table, set input_format.skip_lines to {self.title_lines}; else "
        if self.has_surplus:
            return f"{title}give every row one cell for each column, and put a cell with the delimiter in double quotes"
        return f"{title}set input_format.ragged to pad, which adds empty cells at the end of short rows"

    def __bool__(self) -> bool:
        return bool(self.problems) or any(places for places, _, _ in self._kinds())

    @property
    def enough(self) -> bool:
        return self.stop or any(len(places) >= PLACES_NAMED for places, _, _ in self._kinds())

    def raise_if_any(self) -> None:
        if self:
            named = [Problem(PATH, ", ".join(places), message, fix) for places, message, fix in self._kinds() if places]
            raise InvalidInputError([*self.problems, *named])
