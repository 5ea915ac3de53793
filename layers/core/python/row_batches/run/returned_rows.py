"""Reads the earlier plan of an input that is an output, or the failed rows, of an earlier execution.

The earlier execution's plan and staged input are kept for ``work_retention_days``. After that, nothing is compared.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from foundation.errors import ObjectNotFoundError
from foundation.ports import ObjectStore
from foundation.problems import listed, shown
from row_batches.document.batch_config import EXECUTION_NAME
from row_batches.document.plan import Keys, Plan
from row_batches.files.spreadsheet import change_of
from row_batches.files.staged_copy import parse_staged, read_staged, staged_lines

MOST_ROWS = 10_000
MOST_CELL_CHARACTERS = 20_000_000
"""The first rows are compared, up to these bounds. They are in memory."""
MOST_EARLIER_BYTES = 1_000_000_000
"""An earlier input that is larger is not read again for this."""
PLACES_NAMED = 5


@dataclass
class _Changed:
    """The cells of a column that changed in one way."""

    cells: int = 0
    rows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class ReturnedRows:
    """The staged rows ``key`` of an input, which ``earlier`` wrote."""

    objects: ObjectStore
    earlier: Plan
    key: str
    version_id: str
    columns: Sequence[str]

    @property
    def marked_columns(self) -> list[str]:
        """The columns that the earlier execution, or one before it, wrote with ``formulas: neutralise``."""
        config = self.earlier.config
        marked = {*self.earlier.marked_columns, *(config.output_columns if config.output_format.neutralises else ())}
        return [column for column in self.columns if column in marked]

    def warnings(self, replaced: Collection[str]) -> list[str]:
        """A warning for each kind of change that a spreadsheet made in a user's column. Cells are never shown."""
        own = [name for name in self.columns if name in self.earlier.columns and name not in replaced]
        if "_row_id" not in self.columns or not own or self.earlier.staged.size_bytes > MOST_EARLIER_BYTES:
            return []
        changes = self._changes(own)
        return [
            f"A spreadsheet changed column {shown(column)}: {change}. Cells: {changed.cells:,}; rows of "
            f"{self.earlier.execution.name}: {listed([str(row) for row in changed.rows], PLACES_NAMED)}. If you do not "
            "want this, download the file again and import its columns as text."
            for (column, change), changed in changes.items()
        ]

    def _changes(self, own: Sequence[str]) -> dict[tuple[str, str], _Changed]:
        places = [(name, self.columns.index(name), self.earlier.columns.index(name)) for name in own]
        returned = self._returned([place for _, place, _ in places])
        changes: dict[tuple[str, str], _Changed] = defaultdict(_Changed)
        staged = self.earlier.staged
        for row, line in staged_lines(self.objects.read(staged.key, staged.version_id)):
            after = returned.pop(row, None)
            if after is None:
                continue
            before = parse_staged(line)
            for (name, _, place), cell in zip(places, after, strict=True):
                if cell != before[place] and (change := change_of(before[place], cell)):
                    changed = changes[name, change]
                    changed.cells += 1
                    changed.rows += [row] if len(changed.rows) < PLACES_NAMED else []
            if not returned:
                break
        return changes

    def _returned(self, places: Sequence[int]) -> dict[int, list[str]]:
        """The first rows with their cells at ``places``, by their number in the earlier execution."""
        execution, number = self.columns.index("_execution_id"), self.columns.index("_row_id")
        rows: dict[int, list[str]] = {}
        characters = 0
        for _, cells in read_staged(self.objects.read(self.key, self.version_id)):
            if cells[execution] == self.earlier.execution.name and re.fullmatch("[0-9]{1,12}", cells[number]):
                kept = [cells[place] for place in places]
                characters += sum(map(len, kept))
                rows[int(cells[number])] = kept
            if len(rows) >= MOST_ROWS or characters > MOST_CELL_CHARACTERS:
                break
        return rows


def find_returned(objects: ObjectStore, key: str, version_id: str, columns: Sequence[str]) -> ReturnedRows | None:
    """The input whose staged copy is ``key`` if it comes from an earlier execution whose plan is still there."""
    if "_execution_id" not in columns:
        return None
    _, cells = next(read_staged(objects.read(key, version_id)), (0, []))
    name = cells[columns.index("_execution_id")] if cells else ""
    if re.fullmatch(EXECUTION_NAME, name) is None:
        return None
    try:
        plan = Plan.model_validate_json(objects.get(Keys(name).plan))
    except ObjectNotFoundError:
        return None
    return ReturnedRows(objects, plan, key, version_id, columns)
