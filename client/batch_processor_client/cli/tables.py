"""Tables that fit the terminal: what identifies a row stays whole, long cells are cut, and what matters least goes.

Where the output is no terminal, nothing is cut or left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table

MOST_WIDTH = 40
"""The most characters of a column that can be cut."""
BETWEEN = 3
"""Characters between two columns."""
ENDLESS = 1_000_000
"""The width of an output that is no terminal."""


@dataclass(frozen=True)
class Column:
    """A column. Without ``least`` it is never cut; with it, it is cut to no fewer characters than these.

    ``folds``: it goes on in the next line instead of being cut. ``rank``: where there is no room, columns with the
    highest rank are left out first; those with rank 0 never are.
    """

    title: str
    right: bool = False
    least: int | None = None
    folds: bool = False
    rank: int = 0

    def natural(self, cells: Iterable[str]) -> int:
        """The width that shows all cells, up to ``MOST_WIDTH`` if they are cut."""
        width = max(map(cell_len, (self.title, *cells)))
        return width if self.least is None or self.folds else min(width, MOST_WIDTH)


class FittedTable:
    """A table for any terminal. ``rows`` have a text for each column; it is shown as it is, without markup."""

    def __init__(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        self._columns = columns
        self._rows = [list(row) for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width if console.is_terminal else ENDLESS
        shown = self._shown(room)
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for at, width in shown.items():
            column = self._columns[at]
            table.add_column(
                escape(column.title),
                width=width,
                no_wrap=not column.folds,
                overflow="fold" if column.folds else "ellipsis",
                justify="right" if column.right else "left",
            )
        for row in self._rows:
            table.add_row(*(escape(row[at]) for at in shown))
        yield from console.render(table, options.update(width=sum(shown.values()) + BETWEEN * len(shown)))

    def _shown(self, room: int) -> dict[int, int]:
        """The number of each column that is shown, and its width."""
        natural = [column.natural(row[at] for row in self._rows) for at, column in enumerate(self._columns)]
        least = [
            width if column.least is None else min(width, max(column.least, cell_len(column.title)))
            for column, width in zip(self._columns, natural, strict=True)
        ]
        shown = list(range(len(self._columns)))
        while sum(least[at] + BETWEEN for at in shown) > room:
            last = max(shown, key=lambda at: (self._columns[at].rank, at))
            if not self._columns[last].rank:
                break
            shown.remove(last)
        widths = {at: least[at] for at in shown}
        left = room - sum(width + BETWEEN for width in widths.values())
        # The room that is left goes to the columns that are cut, the narrowest first.
        while left > 0 and (cut := [at for at in shown if widths[at] < natural[at]]):
            widths[min(cut, key=lambda at: widths[at])] += 1
            left -= 1
        return widths
