"""The rows of a finished output with their typed values, for the formats that are made from ``output.csv``.

The values come from the text of ``output.csv``: mapped columns are read by their output type and metadata columns by
their kind. Original cells stay texts. If the input's cells had types, they come from the staged copy, which has
the same rows. So a run that asks for CSV only does no work for the other formats.

Memory: a block of rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from foundation.errors import DeploymentError
from foundation.lazy_model import LazyModel
from foundation.ports import ObjectStore
from row_batches.document.plan import Plan
from row_batches.files.csv_writer import BOM, RowRenderer
from row_batches.files.staged_copy import parse_staged, staged_header, staged_lines
from row_batches.mapping.cells import CellKind, read_cell, typed
from row_batches.mapping.formulas import unmarked
from row_batches.mapping.metadata_columns import METADATA_COLUMN_OF
from row_batches.mapping.models import RESULT_COLUMN
from row_batches.mapping.output_types import OUTPUT_TYPE_OF

BLOCK_BYTES = 2 * 1024 * 1024
"""Text that is read at once: a block has at least one row and the largest row that follows."""
LONGEST_CELL = 2**31 - 1
"""By default, ``csv`` refuses cells over 128 KiB. An answer can be up to 6 MB."""


class Place(LazyModel):
    """A place in the output: ``row`` is the next row, and the others are the bytes before it in the two objects."""

    row: int = 1
    output_bytes: int
    staged_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the output. ``name`` is unique; ``header`` is the name that the CSV shows.

    ``kind`` is None for an original column. ``place`` is then its number in the input, from 0.
    """

    name: str
    header: str
    kind: CellKind | None
    place: int = -1


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of typed values, and the place after them."""

    rows: list[list[Any]]
    after: Place


class ResultTable:
    """The rows of ``output_key``, an output of this plan that is complete.

    ``failed_key`` is its CSV of failed rows, and ``summary`` gives the run's summary; a remap has neither.
    """

    def __init__(
        self,
        objects: ObjectStore,
        plan: Plan,
        output_key: str,
        tags: dict[str, str],
        failed_key: str | None = None,
        summary: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.objects = objects
        self.tags = tags
        self.failed_key = failed_key
        self.summary = summary
        self.created = plan.execution.started_at
        self.folder = output_key.removesuffix("output.csv")
        self.rows = plan.total_rows
        self.columns = columns_of(plan)
        self.is_typed = plan.typed_input
        self._plan = plan
        self._is_marked = plan.config.output_format.neutralises
        self._output_key = output_key
        header = RowRenderer.of_plan(plan).header_line.encode()
        self.start = Place(
            output_bytes=len(header) + (len(BOM) if plan.config.output_format.bom else 0),
            staged_bytes=len(staged_header(len(plan.columns))),
        )

    def blocks(self, place: Place) -> Iterator[Block]:
        """The rows from ``place`` on. Raises ``DeploymentError`` if the two objects have different rows."""
        staged = self._staged(place) if self.is_typed and self._originals else None
        for text in row_blocks(self.objects.read(self._output_key, start=place.output_bytes)):
            rows = read_rows(text.decode())
            values = self._values(rows)
            staged_bytes = place.staged_bytes
            if staged is not None:
                staged_bytes += self._take_typed(values, list(islice(staged, len(rows))), place.row)
            place = Place(
                row=place.row + len(rows), output_bytes=place.output_bytes + len(text), staged_bytes=staged_bytes
            )
            yield Block(values, place)

    def failed_rows(self) -> Iterator[list[str]]:
        """The rows of the CSV of failed rows, its header first."""
        assert self.failed_key is not None
        for text in row_blocks(self.objects.read(self.failed_key)):
            for row in read_rows(text.decode("utf-8-sig")):
                if self._is_marked:
                    row[-3] = unmarked(row[-3])
                yield row

    @property
    def _originals(self) -> list[tuple[int, int]]:
        """Each original column's number in the output and in the input."""
        return [(at, column.place) for at, column in enumerate(self.columns) if column.kind is None]

    def _values(self, rows: list[list[str]]) -> list[list[Any]]:
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for at, column in enumerate(self.columns):
            kind = column.kind
            if kind is not None:
                cells = map(unmarked, columns[at]) if self._is_marked else columns[at]
                columns[at] = [read_cell(kind, cell) for cell in cells]
        return [list(row) for row in zip(*columns, strict=True)]

    def _staged(self, place: Place) -> Iterator[tuple[int, bytes, int]]:
        """The staged rows from ``place`` on, each with its size in the staged copy, which lacks skipped rows (0)."""
        staged, skipped = self._plan.staged, self._plan.skipped
        # The line end before a row is needed to find it.
        rest = staged_lines(self.objects.read(staged.key, staged.version_id, place.staged_bytes - 1))
        sent = ((row, line, len(line)) for row, line in rest)
        if skipped is None:
            return sent
        lines = staged_lines(self.objects.read(skipped.key, skipped.version_id))
        return merge(sent, ((row, line, 0) for row, line in lines if row >= place.row), key=lambda found: found[0])

    def _take_typed(self, values: list[list[Any]], staged: list[tuple[int, bytes, int]], first: int) -> int:
        """Replace the original cells by their typed values. Returns the size of these rows in the staged copy."""
        if [row for row, _, _ in staged[-1:]] != [first + len(values) - 1]:
            raise DeploymentError(f"{self._plan.staged.key} lacks rows from {first:,} on: was that object replaced?")
        originals = self._originals
        for row, (_, line, _) in zip(values, staged, strict=True):
            cells = parse_staged(line)
            for at, place in originals:
                row[at] = typed(cells[place])
        return sum(size for _, _, size in staged)


def columns_of(plan: Plan) -> list[Column]:
    """The columns of a plan's output, in its order."""
    renderer = RowRenderer.of_plan(plan)
    mapping = plan.config.output_mapping
    mapped = [(column.name, OUTPUT_TYPE_OF[column.type].kind) for column in mapping.mapped_columns]
    metadata = [(name, METADATA_COLUMN_OF[name].kind) for name in mapping.metadata_columns]
    added = [*(mapped or [(RESULT_COLUMN, CellKind.JSON)]), *metadata]
    places = renderer.kept if mapping.include_original else []
    originals = [Column(plan.columns[place], renderer.header[at], None, place) for at, place in enumerate(places)]
    return [*originals, *(Column(name, name, kind) for name, kind in added)]


def read_rows(text: str) -> list[list[str]]:
    """The rows of CSV text that ``csv_writer`` wrote."""
    csv.field_size_limit(LONGEST_CELL)
    return list(csv.reader(io.StringIO(text, newline="")))


def row_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """CSV text that begins with a row, in pieces of whole rows."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= BLOCK_BYTES:
            data = b"".join(parts)
            end = _end_of_rows(data)
            if end:
                yield data[:end]
            parts = [data[end:]]
            # A row that is longer than a block is not searched again for each chunk.
            size = 0
    if rest := b"".join(parts):
        yield rest


def _end_of_rows(data: bytes) -> int:
    """Where the last whole row ends: at a line end with an even number of quotes before it."""
    end = data.rfind(b"\n")
    quotes = data.count(b'"', 0, max(end, 0))
    while end >= 0 and quotes % 2:
        # The line end is inside a cell, which begins at a quote before it.
        quote = data.rfind(b'"', 0, end)
        before = data.rfind(b"\n", 0, quote)
        quotes -= data.count(b'"', max(before, 0), end)
        end = before
    return end + 1
