"""Writing ``output.csv`` and ``failed_rows.csv``: which columns, in which order, and RFC 4180 text.

UTF-8 without BOM, LF line ends, quotes only around cells with a comma, a quote, a CR or an LF; spaces at a cell's
ends need none (RFC 4180, 2.4: "Spaces are considered part of a field"). Cells that a spreadsheet would take for a
formula (``=1+1``) stay as they are: original values are never changed, so open a file of untrusted origin as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from row_batches.document.batch_config import BatchConfig
from row_batches.document.header import replaced_columns
from row_batches.document.plan import Plan
from row_batches.mapping.metadata_columns import METADATA_COLUMN_OF, RowFacts

ERROR_MESSAGE = "_error_message"

_needs_quotes = re.compile('[",\r\n]').search
# A name with one of these is quoted, so that a reader that recognises the delimiter from the header, as csv_reader
# does, finds the comma; a leading BOM in a name would be taken for the file's.
_name_needs_quotes = re.compile('[",\r\n;\t| ]|^\ufeff').search


def render_row(cells: Sequence[str]) -> str:
    """One line of CSV with its line end. At least one cell.

    Characters that no CSV of ours could hold again, NUL and lone surrogates (an answer's JSON may contain both), become
    U+FFFD. An original cell has neither.
    """
    line = ",".join([f'"{cell.replace(_Q, _QQ)}"' if _needs_quotes(cell) else cell for cell in cells])
    if not line:
        return '""\n'  # one empty cell: an empty line would be no row
    if not line.isascii() or "\0" in line:
        line = _writable(line)
    return line + "\n"


def render_header(names: Sequence[str]) -> str:
    """The header line, with its line end."""
    quoted = [f'"{name.replace(_Q, _QQ)}"' if _name_needs_quotes(name) else name for name in names]
    return (_writable(",".join(quoted)) or '""') + "\n"  # one column without a name: an empty line would be no header


def output_header(config: BatchConfig, columns: Sequence[str], written: Sequence[str] = ()) -> list[str]:
    """The names of the output's columns: original, mapped, metadata. ``columns`` and ``written`` as in RowRenderer."""
    return RowRenderer(config, columns, written).header


class RowRenderer:
    """Turns finished rows into lines of ``output.csv`` and ``failed_rows.csv``. Build one a plan, use it for every row.

    ``header`` and ``failed_header`` are the columns' names. The input's ``replaced_columns`` are dropped: those of
    this execution take their place, or nothing does. So an output, and its failed rows, can be submitted again as they
    are.

    ``columns`` are the names under which the input's columns are addressed; ``written`` the names that stand in its
    header, () for the same. The output repeats the latter.
    """

    def __init__(self, config: BatchConfig, columns: Sequence[str], written: Sequence[str] = ()) -> None:
        mapping = config.output_mapping
        replaced = replaced_columns(config, columns)
        self._kept = [i for i, name in enumerate(columns) if name not in replaced]
        self._all_kept = len(self._kept) == len(columns)
        self._include_original = mapping.include_original
        metadata = mapping.metadata_columns
        self._metadata_cells = [METADATA_COLUMN_OF[name].cell for name in metadata]
        originals = [(written or columns)[i] for i in self._kept]
        self.header = [
            *(originals if mapping.include_original else []),
            *config.output_columns,
            *metadata,
        ]
        self.failed_header = [*originals, ERROR_MESSAGE]

    @classmethod
    def of_plan(cls, plan: Plan) -> RowRenderer:
        return cls(plan.config, plan.columns, plan.header)

    def original_cells(self, cells: Sequence[str]) -> Sequence[str]:
        """The cells of the user's own columns."""
        return cells if self._all_kept else [cells[i] for i in self._kept]

    def render(self, cells: Sequence[str], mapped: Sequence[str], facts: RowFacts) -> str:
        """A line of the output. ``cells``: all of the input row; ``mapped``: in the order of the config's columns."""
        originals = self.original_cells(cells) if self._include_original else ()
        return render_row([*originals, *mapped, *[cell(facts) for cell in self._metadata_cells]])

    def render_failed(self, cells: Sequence[str], error_message: str) -> str:
        """A line of ``failed_rows.csv``: the original cells and why the row failed."""
        return render_row([*self.original_cells(cells), error_message])

    @property
    def header_line(self) -> str:
        return render_header(self.header)

    @property
    def failed_header_line(self) -> str:
        return render_header(self.failed_header)


_Q = '"'
_QQ = '""'


def _writable(line: str) -> str:
    try:
        line.encode()
    except UnicodeEncodeError:
        # Through UTF-16, halves that belong together become one character again.
        line = line.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return line.replace("\0", "\ufffd")
