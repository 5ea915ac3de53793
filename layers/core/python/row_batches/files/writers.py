"""The registry of output formats.

To add one, write a ``Writer`` and list it in ``WRITERS``. ``output_format.type`` and the reference page use that list.
"""

from __future__ import annotations

from typing import get_args

from foundation.registry import registry
from row_batches.document.output_format import OutputFormatName
from row_batches.files.csv_output import CsvOutput
from row_batches.files.jsonl_output import JsonLinesOutput
from row_batches.files.parquet_output import ParquetOutput
from row_batches.files.writer import Writer
from row_batches.files.xlsx_output import XlsxOutput

WRITERS: tuple[Writer, ...] = tuple(
    kind() for kind in registry(Writer, CsvOutput, XlsxOutput, JsonLinesOutput, ParquetOutput)
)
WRITER_OF = {writer.name: writer for writer in WRITERS}
if WRITER_OF.keys() != set(get_args(OutputFormatName)):
    raise TypeError("OutputFormatName and WRITERS have to list the same formats")
