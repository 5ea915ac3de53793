"""Marks texts that a spreadsheet would read as formulas when it opens a CSV, and removes the mark again.

The mark is a single quote in front (https://owasp.org/www-community/attacks/CSV_Injection). A text that already begins
with such a quote gets one more, so ``unmarked`` gives every text back as it was. Numbers are not marked.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"''*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-](?:[0-9][0-9.,]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?%?")


def marked(cell: str) -> str:
    """The cell with a mark if a spreadsheet would take it for a formula. ``-5.00`` is a number; ``+49 30 1`` is not."""
    if _FORMULA.match(cell) is None or _NUMBER.fullmatch(cell):
        return cell
    return "'" + cell


def unmarked(cell: str) -> str:
    """The cell before ``marked``."""
    return cell[1:] if _MARKED.match(cell) else cell
