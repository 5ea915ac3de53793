"""Counts rows in which a mapped column matches nothing, and the keys that the answers have instead.

Memory: a number for each mapped column, and up to ``MOST_PLACES`` places with up to ``MOST_KEYS`` keys each.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

from foundation.json_path import compile_path
from foundation.lazy_model import LazyModel
from foundation.problems import listed
from row_batches.mapping.answer_keys import MOST_KEYS, AnswerKeys, closest_path, keys_at
from row_batches.mapping.field_paths import FieldPath, ending_of, field_of, field_paths
from row_batches.mapping.models import OutputColumn, OutputMapping
from row_batches.rows.records import RowRecord, RowStatus

MOST_PLACES = 50
MOST_WARNINGS = 20
KEYS_NAMED = 12


class Unmatched(NamedTuple):
    """A mapped column whose ``source`` matched in ``matched`` of ``rows`` answers.

    For an extracted field, ``source`` is its expression, and ``method`` the extraction method that has it.

    ``keys`` are what the answers have at ``place``, where the path ends, most frequent first; ``closest`` is the path
    with the closest of them, "" when none is close.
    """

    column: str
    source: str
    matched: int
    rows: int
    place: str
    keys: list[str]
    closest: str
    method: str = ""

    @property
    def warning(self) -> str:
        """The warning about many answers, such as ``Column sentiment: $.sentimnet matched 0 of 300; the answers …``."""
        have = f"; the answers have{self._keys}" if self.keys else ""
        hint = f". Did you mean {self.closest}?" if self.closest else ""
        return f"Column {self.column}: {self._searched} matched {self.matched:,} of {self.rows:,}{have}{hint}"

    @property
    def message(self) -> str:
        """The message about one answer, such as ``column sentiment: $.sentimnet matches nothing, the answer has …``."""
        have = f", the answer has{self._keys}" if self.keys else ""
        hint = f" (did you mean {self.closest}?)" if self.closest else ""
        return f"column {self.column}: {self._searched} matches nothing{have}{hint}"

    @property
    def _searched(self) -> str:
        return f"{self.source} ({self.method})" if self.method else self.source

    @property
    def _keys(self) -> str:
        at = "" if self.place == "$" else f" at {self.place}"
        return f"{at} {listed(self.keys, KEYS_NAMED)}"


class Blanks(LazyModel):
    """Sums over rows: rows that lack each column, rows that failed because of it, and the keys at each place."""

    failed: int = 0
    missing: dict[str, int] = {}
    keys: dict[str, dict[str, int]] = {}

    @classmethod
    def of_rows(cls, records: Iterable[RowRecord]) -> Self:
        """The sums of finished rows."""
        blanks = cls()
        for record in records:
            if "missing" in record:
                blanks.add(record["missing"], record.get("answer_keys", {}), record["status"])
        return blanks

    def add(self, missing: Iterable[str], answer_keys: Mapping[str, Iterable[str]], status: RowStatus) -> None:
        """Count what one row lacks."""
        self.failed += status != RowStatus.SUCCESS
        for column in missing:
            self.missing[column] = self.missing.get(column, 0) + 1
        for place, keys in answer_keys.items():
            if place in self.keys or len(self.keys) < MOST_PLACES:
                counts = self.keys.setdefault(place, {})
                for key in keys:
                    if key in counts or len(counts) < MOST_KEYS:
                        counts[key] = counts.get(key, 0) + 1

    def unmatched(self, mapping: OutputMapping, succeeded: int) -> Iterator[Unmatched]:
        """The columns that matched nothing in some rows, in the order of the mapping.

        ``succeeded`` is the number of rows that have succeeded so far.
        """
        places = {place: [key for key, _ in Counter(counts).most_common()] for place, counts in self.keys.items()}
        return unmatched_columns(mapping, succeeded + self.failed, self.missing, places)

    def mostly_empty(self, mapping: OutputMapping, succeeded: int) -> list[Unmatched]:
        """The columns that matched in none of the answers, or in fewer than half."""
        return [column for column in self.unmatched(mapping, succeeded) if 2 * column.matched < column.rows]

    def warnings(self, mapping: OutputMapping, succeeded: int) -> list[str]:
        """The warnings about columns that are mostly empty: the first ``MOST_WARNINGS``, and a count of the rest."""
        empty = self.mostly_empty(mapping, succeeded)
        warnings = [column.warning for column in empty[:MOST_WARNINGS]]
        if len(empty) > MOST_WARNINGS:
            warnings.append(f"{len(empty) - MOST_WARNINGS:,} more columns matched in fewer than half of the answers")
        return warnings


def unmatched_columns(
    mapping: OutputMapping, rows: int, missing: Mapping[str, int], places: AnswerKeys
) -> Iterator[Unmatched]:
    """The columns that ``missing`` counts, in the order of the mapping."""
    paths = field_paths(mapping.extraction_methods)
    for column in mapping.mapped_columns:
        count = missing.get(column.name, 0)
        if count:
            path = compile_path(column.path)
            place, keys = keys_at(path.steps, places)
            closest = closest_path(column.path, path.steps, place, keys)
            unmatched = Unmatched(column.name, column.path, rows - count, rows, place, keys, closest)
            yield _as_field(unmatched, column, paths.get(field_of(path) or "", []), places)


def _as_field(unmatched: Unmatched, column: OutputColumn, paths: Sequence[FieldPath], places: AnswerKeys) -> Unmatched:
    """The same with the expression of the field that the column names: the one that has a closest path, else the first.

    A column with a ``source`` of its own is searched in the answer, too, so it changes only for a closest path.
    """
    found = [(path, ending) for path in paths if (ending := ending_of(path, places)) is not None]
    best = next(((path, ending) for path, ending in found if ending.closest), None)
    if best is None and column.source is None:
        best = next(iter(found), None)
        if best is None and paths:
            return unmatched._replace(source=paths[0].text, method=paths[0].method)
    if best is None:
        return unmatched
    path, ending = best
    return unmatched._replace(source=path.text, method=path.method, **ending._asdict())
