"""The output as JSON Lines: an object in each line, with typed values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import orjson

from row_batches.files.result_file import ResultFile
from row_batches.files.result_table import ResultTable
from row_batches.files.writer import Progress, Writer
from row_batches.mapping.cells import JsonCell


class JsonLinesOutput(Writer):
    """``output.jsonl``. Written in parts like the CSV. Columns without a name, or with a repeated one, have the names
    that address them."""

    name: ClassVar = "jsonl"
    doc: ClassVar = "`output.jsonl`: a JSON object in each line, with typed values; empty cells are `null`"
    file: ClassVar = "output.jsonl"

    def problem(self, rows: int, columns: Sequence[str]) -> None:
        """None: any output fits."""

    def write(self, table: ResultTable, progress: Progress) -> Iterator[Progress]:
        place = progress.place
        if progress.files:
            file = ResultFile(table.objects, progress.files[0])
        else:
            file = ResultFile.start(table.objects, table.folder + self.file, table.tags)
        names = [column.name for column in table.columns]
        for block in table.blocks(place):
            file.append(b"".join([json_line(dict(zip(names, row, strict=True))) for row in block.rows]))
            place = block.after
            if file.upload_full_part():
                yield progress.model_copy(update={"place": place, "files": [file.state]})
        file.upload_last_part()
        if file.is_in_parts:  # else the next call writes it anew: the release before continues only from parts
            yield progress.model_copy(update={"place": place, "files": [file.state]})
        file.complete()
        yield progress.model_copy(update={"place": place, "proofs": [file.proof], "done": True})


def json_line(row: dict[str, Any]) -> bytes:
    """An object with typed values (``mapping.cells``), and its line end."""
    return orjson.dumps(row, _default, orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_SUBCLASS)


def _default(value: Any) -> Any:
    """Write a value's own JSON, with all digits of a number."""
    if isinstance(value, JsonCell):
        return orjson.Fragment(value.json)
    raise TypeError
