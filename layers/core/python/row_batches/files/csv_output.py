"""The output as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from row_batches.files.result_table import ResultTable
from row_batches.files.writer import Progress, Writer


class CsvOutput(Writer):
    """``output.csv``. It is written from the finished rows themselves, and the other formats are made from it."""

    name: ClassVar = "csv"
    doc: ClassVar = "`output.csv`, which is always written; all values are text"
    file: ClassVar = "output.csv"

    def problem(self, rows: int, columns: Sequence[str]) -> None:
        """None: any output fits."""

    def write(self, table: ResultTable, progress: Progress) -> Iterator[Progress]:  # noqa: ARG002 (it is there)
        yield progress.model_copy(update={"done": True})
