"""Writes ``output.csv`` and ``failed_rows.csv`` as RFC 4180 text: their columns and the order of the columns.

The files are UTF-8 with LF line ends, and have a BOM only if the document asks for one. Only cells with a comma, a
quote, a CR or an LF are quoted; spaces at a cell's ends need no quotes (RFC 4180, 2.4: "Spaces are considered part of a
field"). Original cells that a spreadsheet would take for a formula (``=1+1``) are not changed, because original values
never are; open untrusted files as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from row_batches.document.batch_config import BatchConfig
from row_batches.document.header import replaced_columns
from row_batches.document.plan import Plan
from row_batches.mapping.formulas import marked
from row_batches.mapping.metadata_columns import METADATA_COLUMN_OF, RowFacts

ERROR_MESSAGE = "_error_message"
IDENTITY = ("_execution_id", "_row_id")
"""The last columns of ``failed_rows.csv``. They tell its rows from those of other executions when it comes back."""
BOM = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""

_QUOTE, _TWO_QUOTES = '"', '""'
_needs_quotes = re.compile('[",\r\n]').search
# A name with one of these is quoted, so that a reader that detects the delimiter from the header, like csv_reader,
# finds the comma. A BOM at the start of a name would be taken for the file's BOM.
_name_needs_quotes = re.compile('[",\r\n;\t| ]|^\ufeff').search


def render_row(cells: Sequence[str]) -> str:
    """One line of CSV with its line end, from at least one cell.

    NUL and lone surrogates become U+FFFD, because our reader refuses them; an answer's JSON can contain both. Original
    cells contain neither.
    """
    line = ",".join([f'"{cell.replace(_QUOTE, _TWO_QUOTES)}"' if _needs_quotes(cell) else cell for cell in cells])
    if not line:
        return '""\n'  # one empty cell; an empty line would not be a row
    if not line.isascii() or "\0" in line:
        line = _writable(line)
    return line + "\n"


def render_header(names: Sequence[str]) -> str:
    """The header line, with its line end."""
    quoted = [f'"{name.replace(_QUOTE, _TWO_QUOTES)}"' if _name_needs_quotes(name) else name for name in names]
    return (_writable(",".join(quoted)) or '""') + "\n"  # An empty line would not be a header.


def output_header(config: BatchConfig, columns: Sequence[str], written: Sequence[str] = ()) -> list[str]:
    """The names of the output's columns: original, mapped, metadata. ``columns`` and ``written`` as in RowRenderer."""
    return RowRenderer(config, columns, written).header


class RowRenderer:
    """Turns finished rows into lines of ``output.csv`` and ``failed_rows.csv``. One serves all rows of a plan.

    ``header`` and ``failed_header`` are the columns' names. The input's ``replaced_columns`` are dropped; this
    execution's columns of the same names, if any, take their place. So an output and its failed rows can be submitted
    again unchanged.

    ``kept`` are the numbers, from 0, of the input's own columns.

    With ``formulas: neutralise``, what the target wrote is marked where a spreadsheet would take it for a formula.

    ``columns`` are the names that address the input's columns. ``written`` are the names in its header, which the
    output repeats; () if they are the same.
    """

    def __init__(self, config: BatchConfig, columns: Sequence[str], written: Sequence[str] = ()) -> None:
        mapping = config.output_mapping
        replaced = replaced_columns(config, columns)
        self.kept = [i for i, name in enumerate(columns) if name not in replaced]
        self._all_kept = len(self.kept) == len(columns)
        self._include_original = mapping.include_original
        self._neutralises = config.output_format.neutralises
        metadata = mapping.metadata_columns
        self._metadata_cells = [METADATA_COLUMN_OF[name].cell for name in metadata]
        originals = [(written or columns)[i] for i in self.kept]
        self.header = [
            *(originals if mapping.include_original else []),
            *config.output_columns,
            *metadata,
        ]
        self.failed_header = [*originals, ERROR_MESSAGE, *IDENTITY]

    @classmethod
    def of_plan(cls, plan: Plan) -> RowRenderer:
        return cls(plan.config, plan.columns, plan.header)

    def original_cells(self, cells: Sequence[str]) -> Sequence[str]:
        """The cells of the user's own columns."""
        return cells if self._all_kept else [cells[i] for i in self.kept]

    def render(self, cells: Sequence[str], mapped: Sequence[str], facts: RowFacts) -> str:
        """A line of the output. ``cells`` is the whole input row; ``mapped`` has the order of the config's columns."""
        originals = self.original_cells(cells) if self._include_original else ()
        if self._neutralises:
            mapped = [marked(cell) for cell in mapped]
            facts = facts._replace(error_message=marked(facts.error_message))
        return render_row([*originals, *mapped, *[cell(facts) for cell in self._metadata_cells]])

    def render_failed(self, cells: Sequence[str], error_message: str) -> str:
        """A line of ``failed_rows.csv`` without ``IDENTITY``: the original cells and why the row failed."""
        message = marked(error_message) if self._neutralises else error_message
        return render_row([*self.original_cells(cells), message])

    @property
    def header_line(self) -> str:
        return render_header(self.header)

    @property
    def failed_header_line(self) -> str:
        return render_header(self.failed_header)


def identified(line: str, execution: str, row: int) -> str:
    """A line of ``failed_rows.csv`` with ``IDENTITY``. An execution's name needs no quotes. Stored rows lack these
    cells, because those of an earlier release do."""
    return f"{line[:-1]},{execution},{row}\n"


def _writable(line: str) -> str:
    try:
        line.encode()
    except UnicodeEncodeError:
        # Encoding as UTF-16 joins the two halves of a surrogate pair to one character again.
        line = line.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return line.replace("\0", "\ufffd")
