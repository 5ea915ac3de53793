"""Guesses the document of a run from its target and the header of its file, so that a first run needs no JSON."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from pydantic import BaseModel, ConfigDict

from batch_processor_client.errors import ClientError
from foundation.problems import closest, listed
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import Target
from row_batches.files.several import NamedFile, open_files

ROWS_READ = 1_000
"""Rows that are read for the columns of a file: those of JSON are the keys of its objects, which can lack some."""


class Guess(BaseModel):
    """A document without the address of its file, and what it sends of each row.

    ``fields`` are the fields that the target gets, each with its column; empty: each column under its own name.
    ``unused`` are columns that are not sent, ``missing`` optional fields of the target without a column.
    ``columns`` are the columns that the output gets, each with its path in the answer; empty: those of
    ``output_schema``, and without one a single column with the whole answer.
    """

    model_config = ConfigDict(frozen=True)

    document: dict[str, Any]
    fields: dict[str, str]
    unused: list[str]
    missing: list[str]
    columns: dict[str, str] = {}
    output_schema: str | None = None


class FileHeader(BaseModel):
    """The columns of a file, as a run names them, and whether a row follows."""

    model_config = ConfigDict(frozen=True)

    columns: list[str]
    has_rows: bool


def read_header(files: Sequence[NamedFile]) -> FileHeader:
    """Read the header as a run reads it. Raises InvalidInputError for files that a run refuses."""
    staging = open_files(files, InputFormat(), max_rows=ROWS_READ)
    for _ in staging:
        pass
    return FileHeader(columns=list(staging.columns), has_rows=staging.total_rows > 0)


def parse_columns(text: str) -> dict[str, str]:
    """``body=text,id`` as column to field: a column without ``=`` keeps its name. Raises ClientError.

    A pair whose column has a comma is in double quotes, as in a CSV: ``"Paid, EUR=paid",id``.
    """
    pairs: dict[str, str] = {}
    try:
        parts = next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise ClientError(f"COLUMNS={text}: {error}. Close each quote, and write the pairs on one line.") from None
    for part in filter(None, map(str.strip, parts)):
        column, _, field = part.rpartition("=") if "=" in part else (part, "", part)
        if not column.strip() or part.endswith("="):
            raise ClientError(
                f"COLUMNS={text}: write column=field, with commas between: COLUMNS=body=text,id=id. "
                "Write a pair with a comma in quotes."
            )
        pairs[column.strip()] = field.strip() or column.strip()
    return pairs


def guess_document(
    target: Target,
    columns: Sequence[str],
    given: Mapping[str, str] | None = None,
    max_concurrency: int | None = None,
) -> Guess:
    """The document that sends each row's columns to the target.

    ``given`` maps columns to fields and comes first. Then each field that the registry declares takes the column of the
    same name, ignoring letter case, spaces and signs. Without a declaration and without ``given``, every column is sent
    under its own name. The output gets the columns that the registry declares. Raises ClientError if a given column is
    not in the file, or a required field has no column.
    """
    given = dict(given or {})
    for column in given:
        if column not in columns:
            nearest = closest(column, columns)
            hint = f" Did you mean {nearest}?" if nearest else ""
            hint += " Write a pair with a comma in quotes." if nearest and "," in nearest else ""
            raise ClientError(f"The file has no column {column}.{hint} It has {listed(columns)}.")
    mapped = {**given, **declared_columns(target, columns, given)}
    fields = {field: column for column, field in mapped.items()}
    missing = [name for name in target.input if name not in fields]
    required = [name for name in missing if target.input[name].required]
    if required:
        raise ClientError(
            f"{target.name} needs {listed(required)}, and the file has {listed(columns)}. "
            f"Say which column it is: COLUMNS=<column>={required[0]}."
        )
    document: dict[str, Any] = {"target": {"type": target.type, "name": target.name}}
    if mapped:
        document["input_mapping"] = {"column_mappings": mapped}
    written = declared_output(target, columns)
    if written:
        document["output_mapping"] = {"columns": written}
    if max_concurrency is not None:
        document["execution_config"] = {"max_concurrency": max_concurrency}
    unused = [column for column in columns if mapped and column not in mapped]
    paths = {column["name"]: column["source"] for column in written}
    return Guess(
        document=document,
        fields=fields,
        unused=unused,
        missing=missing,
        columns=paths,
        output_schema=target.output_schema,
    )


def declared_columns(target: Target, columns: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The columns that have the name of a declared field, column to field, besides those that are ``given``."""
    free = [column for column in columns if column not in given]
    exact = {name: name for name in target.input if name in free and name not in given.values()}
    alike = {_plain(column): column for column in reversed(free) if column not in exact}
    found = dict(exact)
    for name in target.input:
        column = alike.get(_plain(name))
        if column is not None and name not in found.values() and name not in given.values():
            found[column] = name
    return found


def declared_output(target: Target, columns: Collection[str]) -> list[dict[str, str]]:
    """The columns of the output that the registry declares, as in ``output_mapping.columns``.

    One that has the name of a column of the file gets a number: ``text_2``.
    """
    used, written = set(columns), []
    for declared in target.output:
        name = next(free_names(declared.name, used))
        used.add(name)
        column = {"name": name, "source": declared.path}
        written.append(column if declared.type == "string" else {**column, "type": declared.type})
    return written


def free_names(name: str, used: Collection[str]) -> Iterator[str]:
    """The name and those with a number after it, ``name_2``, as far as they are not used."""
    candidates = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return (candidate for candidate in candidates if candidate not in used)


def _plain(name: str) -> str:
    """A name for comparison, without letter case, spaces and signs: ``Ticket ID`` is ``ticketid``."""
    return re.sub(r"[\W_]+", "", name.casefold())
