"""Finds the delimiter and the header of a CSV in its first rows.

Programs write headers that do not fit the rows: with a delimiter too many or too few at the end, without a name for the
rows' names, or below a title.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from row_batches.document.input_format import InputFormat
from row_batches.files.csv_quotes import LINE_END, QUOTES, Quotes
from row_batches.files.table import refuse

_DELIMITERS = {b",": "comma", b";": "semicolon", b"\t": "tab", b"|": "pipe", b" ": "space"}
_ROWS_SAMPLED = 50


class Dialect(NamedTuple):
    """How a file writes its rows. ``row`` matches a well-formed row."""

    quotes: Quotes
    delimiter: bytes
    line_end: bytes
    row: re.Pattern[bytes]


class Header(NamedTuple):
    """The names of the columns, as many as the rows have cells, and notes for the user on what was detected.

    ``title_lines`` is the number of lines that seem to stand above the table, 0 if there are none.
    """

    names: list[str]
    notes: Sequence[str] = ()
    title_lines: int = 0


class _SampledRow(NamedTuple):
    line: int
    cells: list[bytes]


def count_lines(data: bytes, line_end: bytes) -> int:
    """The number of line ends as an editor counts them: a lone CR counts only if the file has no other kind."""
    return data.count(b"\r" if line_end == b"\r" else b"\n")


def choose_delimiter(
    rows: bytes, named: bytes | None, form: InputFormat, quotes: Quotes, line: int
) -> tuple[bytes, list[str]]:
    """The delimiter of a file that begins with ``rows``, in ``line``, and notes for the user.

    ``named`` is the delimiter that a first line ``sep=;`` names.
    """
    if form.delimiter is not None:
        return form.delimiter.encode(), []
    if named is not None:
        return named, [f"The delimiter is {named.decode()}, as the file's first line says."]
    # R puts names in quotes, and rows have a cell more: their own name.
    has_row_names = form.row_names or rows.startswith(b'"')
    delimiter = _recognise_delimiter(quotes.masked(rows), has_row_names=has_row_names)
    if delimiter == b",":
        return delimiter, _notes_on_other_delimiter(quotes.masked(rows), line)
    return delimiter, [f"The delimiter is {_DELIMITERS[delimiter]}, detected from the first lines of the file."]


def fit_header(header: bytes, line: int, rows: bytes, first_line: int, form: InputFormat, dialect: Dialect) -> Header:
    """The names in the row ``header``, as many as the file's first rows have cells, if that is clear.

    ``header`` is in ``line``, and ``rows`` begin in ``first_line``. Some programs end each row with a delimiter, with
    or without one in the header. The empty cell in the header is then a column without a name. R writes the names of
    rows first, without a name for their column. Raises InvalidInputError if all rows have more cells, because then the
    line is usually a title.
    """
    text = dialect.quotes.text
    cells = dialect.quotes.cells(header, dialect.delimiter)
    names = [text(cell) for cell in cells]
    sampled = _sample_rows(rows, first_line, dialect)
    widths = {len(row.cells) for row in sampled}
    if not widths or not form.header:
        return Header(names)
    if len(widths) > 1:
        return Header(names, title_lines=_lines_above_table(len(names), sampled))
    (width,) = widths
    if width == len(names) + 1 and not any(text(row.cells[-1]) for row in sampled):
        return Header([*names, ""])
    if width == len(names) - 1 and not names[-1]:
        return Header(names[:-1])
    are_named = form.row_names or (
        form.quote == '"' and _has_row_names(cells, [row.cells for row in sampled], dialect.delimiter)
    )
    if width == len(names) + 1 and are_named:
        note = (
            "The header is one cell shorter than the rows. The first cell of each row is read as the row's name, as R "
            "writes it; that column has no name."
        )
        return Header(["", *names], [note])
    if width > len(names) and len(sampled) > 1:
        _refuse_title(names, line, sampled[0], text)
    return Header(names)


def _refuse_title(names: list[str], line: int, row: _SampledRow, text: Callable[[bytes], str]) -> None:
    """Raise InvalidInputError for a header in ``line`` that is shorter than all rows, of which ``row`` is the first."""
    width = len(row.cells)
    one = "cell" if len(names) == 1 else "cells"
    cures = [f"if it is a title, set input_format.skip_lines to {row.line - 1}"]
    if any(_is_number(text(cell)) for cell in row.cells):
        cures[0] += " and input_format.header to false, because the line after it has numbers and no names"
    if width == len(names) + 1:
        cures.append("if the rows begin with their names, as R writes them, set input_format.row_names to true")
    cures.append("else give the header a name for each column")
    value = f"line {line} has {len(names)} {one}, the rows after it {width}"
    refuse(value, "the first line does not fit the rows", "; ".join(cures))


def _sample_rows(rows: bytes, line: int, dialect: Dialect) -> list[_SampledRow]:
    """The first ``_ROWS_SAMPLED`` whole rows; none if one of them is malformed. ``rows`` begin in ``line``."""
    position = 0
    found: list[_SampledRow] = []
    while position < len(rows) and len(found) < _ROWS_SAMPLED:
        if line_end := LINE_END.match(rows, position):
            position = line_end.end()
            line += count_lines(line_end.group(), dialect.line_end)
            continue
        row = dialect.row.match(rows, position)
        if row is None or not (row.end() == len(rows) or LINE_END.match(rows, row.end())):
            return []
        found.append(_SampledRow(line, dialect.quotes.cells(row.group(), dialect.delimiter)))
        line += count_lines(row.group(), dialect.line_end)
        position = row.end()
    return found


def _recognise_delimiter(sample: bytes, *, has_row_names: bool) -> bytes:
    """The delimiter of ``sample``, the first rows of a file without quoted text; the comma if it has one column.

    A delimiter must occur in the header and, unless it is the comma or there are no rows, in a row. If there are
    several candidates, the best one splits the most rows into as many cells as the header, then gives more columns,
    then comes first in ``_DELIMITERS``. A space counts only if it is the only candidate, if there are rows, and if all
    rows agree, because a header of two words is usually the name of one column. With
    ``has_row_names``, rows can have one more than the header.
    """
    rows = [row for row in LINE_END.split(sample) if row]
    header = rows[0] if rows else b""
    best = b","
    best_score = (0, 0)
    for delimiter in list(_DELIMITERS)[:-1]:
        count = header.count(delimiter)
        score = (1 + sum(row.count(delimiter) == count for row in rows[1:]), count)
        occurs = delimiter == b"," or not rows[1:] or any(delimiter in row for row in rows[1:])
        if count and occurs and score > best_score:
            best, best_score = delimiter, score
    spaces = header.count(b" ")
    if best_score == (0, 0) and spaces and len(rows) > 1:
        in_rows = {row.count(b" ") for row in rows[1:]}
        if in_rows == {spaces} or (in_rows == {spaces + 1} and has_row_names):
            return b" "
    return best


def _lines_above_table(columns: int, rows: Sequence[_SampledRow]) -> int:
    """The number of lines before the first of ``rows`` that is as wide as most rows after it; 0 if it is not clear.

    The table is wider than the first line, which has ``columns`` cells.
    """
    widths = Counter(len(row.cells) for row in rows if len(row.cells) > columns)
    if not widths:
        return 0
    width, count = widths.most_common(1)[0]
    first = next(place for place, row in enumerate(rows) if len(row.cells) >= width)
    return rows[first].line - 1 if count > 1 and count * 2 > len(rows) - first else 0


def _notes_on_other_delimiter(sample: bytes, line: int) -> list[str]:
    """A warning if the first line can be a title: only later lines have a delimiter, and all the same number of it.

    It is no error, because the lines can also be the cells of one column. ``sample`` begins in ``line``.
    """
    lines = LINE_END.split(sample)[: _ROWS_SAMPLED + 1]
    for delimiter, name in _DELIMITERS.items():
        counts = [(number, row.count(delimiter)) for number, row in enumerate(lines, line) if row]
        header = next((place for place, (_, count) in enumerate(counts) if count), len(counts))
        rows = {count for _, count in counts[header:]}
        if delimiter != b" " and header and len(rows) == 1 and len(counts) - header > 1:
            last = counts[header][0] - 1
            return [
                f"The file is read as one column, because line {line} has no {name}. If lines up to {last} are a "
                f"title, set input_format.skip_lines to {last}."
            ]
    return []


def _has_row_names(header: list[bytes], rows: list[list[bytes]], delimiter: bytes) -> bool:
    """Whether ``rows``, each with a cell more than the header, begin with their names, as R's ``write.table`` writes.

    R quotes texts and does not quote numbers. It names rows "1", "2" and so on; other names of rows are recognised only
    if spaces separate the cells. Otherwise, the last name of the header can be missing, or the line can be a title.
    """
    text = QUOTES['"'].text
    names, rows_names = list(map(text, header)), [text(row[0]) for row in rows]
    are_counted = rows_names == [str(number) for number in range(1, len(rows) + 1)]
    return (
        len(rows) > 1
        and len(names) > 1
        and all(cell.startswith(b'"') for cell in [*header, *(row[0] for row in rows)])
        and (are_counted or delimiter == b" ")
        and all(len(set(texts)) == len(texts) and all(texts) for texts in (names, rows_names))
        and not any(map(_is_number, names))
        and any(not cell.startswith(b'"') and _is_number(text(cell)) for cell in rows[0][1:])
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in {"nan", "inf", "infinity"}
