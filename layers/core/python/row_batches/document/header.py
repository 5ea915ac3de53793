"""Checks an input document against the CSV's header, and finds the columns that the output replaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foundation.errors import Problem
from foundation.problems import closest, listed, path_of, shown
from row_batches.document.batch_config import BatchConfig
from row_batches.document.invisible import invisible_characters, visible
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS, METADATA_COLUMNS

FAILED_ROWS_END = ("_error_message", "_execution_id", "_row_id")
"""The last columns of ``failed_rows.csv``. In an output, ``_error_message`` comes after the other two."""


def replaced_columns(config: BatchConfig, columns: Sequence[str]) -> frozenset[str]:
    """The input's columns that are not the user's own. They are not mapped, and the output replaces them.

    Columns with the name of a default metadata column are always among them. An input with ``_execution_id`` or
    ``_row_id`` is an earlier output; its columns with the name of a mapped column, or of a metadata column on request,
    are replaced too, unless ``input_mapping`` uses them. So an output can be submitted again unchanged, and a column of
    the user is not replaced only because another one is called ``_timestamp``.

    ``failed_rows.csv``, recognised by its last columns, has no mapped columns, so only its metadata is replaced.
    """
    metadata = frozenset(columns) & frozenset(DEFAULT_METADATA_COLUMNS)
    if not metadata & {"_execution_id", "_row_id"} or tuple(columns[-3:]) == FAILED_ROWS_END:
        return metadata
    used = {column for _, column in config.input_mapping.columns_used()}
    return metadata | (frozenset(columns) & frozenset([*config.output_columns, *METADATA_COLUMNS])) - used


def problems_against_header(config: BatchConfig, columns: Sequence[str]) -> list[Problem]:
    """The problems that are found with the CSV's header: unknown columns, templates that name none, and mapped columns
    with an original name.

    The limit of 1,000 columns is not checked here, because it only applies to ``output_mapping.columns``. The CSV can
    have more columns; they are copied without being mapped.
    """
    replaced = replaced_columns(config, columns)
    originals = [column for column in columns if column not in replaced]
    known = set(originals)
    problems = []
    for path, column in config.input_mapping.columns_used():
        if column not in known:
            nearest = next((name for name in originals if visible(name) == visible(column)), None)
            invisible = invisible_characters(nearest) if nearest else ""
            nearest = nearest or closest(column, originals)
            fix = f"did you mean {shown(nearest)}?" if nearest else f"the CSV has: {listed(originals)}"
            if invisible:
                fix += f" The header has {invisible} in this name: copy the name from the file, or clean the header"
            is_metadata = column in DEFAULT_METADATA_COLUMNS
            message = "a metadata column is never mapped" if is_metadata else "the CSV has no such column"
            problems.append(Problem(path, shown(column), message, fix))
    for field, transformation in config.input_mapping.transformations.items():
        if constant := transformation.constant():
            message = "it names no column, so every row would get the same text"
            fix = "write {name} for a column, in single braces; or put the text into static_values"
            path = path_of("input_mapping", "transformations", field, "config")
            problems.append(Problem(path, shown(constant), message, fix))
    if config.output_mapping.include_original:
        for path, name in _output_names(config):
            if name in known:
                problems.append(
                    Problem(
                        path,
                        shown(name),
                        "the CSV has a column of this name, and original columns are included",
                        "choose another name, or set output_mapping.include_original to false",
                    )
                )
    return problems


def _output_names(config: BatchConfig) -> Iterator[tuple[str, str]]:
    """Pairs of (path in the document, name) for the columns that the output adds to the original ones."""
    for index, name in enumerate(config.output_columns):
        mapped = config.output_mapping.columns
        yield f"output_mapping.columns[{index}].name" if mapped else "output_mapping.columns", name
    yield from (("output_mapping.add_metadata", name) for name in config.output_mapping.metadata_columns)
