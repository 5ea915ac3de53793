"""Maps the cells of a row to the input of the target. Compiled once, run for every row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from foundation.errors import MappingError
from row_batches.mapping.cells import value_of
from row_batches.mapping.formulas import unmarked
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS
from row_batches.mapping.models import InputMapping
from row_batches.mapping.transformations import Documents, FallibleTransformation, Step, Transformation


class InputMapper:
    """Maps rows of one CSV. Safe to use from several threads."""

    __slots__ = ("_copied", "_marked", "_static", "_steps")

    def __init__(
        self,
        copied: list[tuple[str, int]],
        static: dict[str, Any],
        steps: list[tuple[str, Step]],
        marked: Sequence[int] = (),
    ) -> None:
        self._marked = marked
        self._copied = copied
        self._static = static
        self._steps = steps

    @property
    def fields(self) -> frozenset[str]:
        """The names in every row's input."""
        copied, steps = (field for field, _ in self._copied), (field for field, _ in self._steps)
        return frozenset([*copied, *self._static, *steps])

    @property
    def constants(self) -> dict[str, Any]:
        """The fields that have the same value in every row's input."""
        computed = {field for field, _ in self._steps}
        return {field: value for field, value in self._static.items() if field not in computed}

    def map(self, cells: Sequence[str]) -> dict[str, Any]:
        """The target's input. Raises MappingError with field, transformation, column and reason, never with a cell.

        If several write the same field, a transformation overrides a static value, which overrides a column mapping.
        """
        if self._marked:
            cells = list(cells)
            for index in self._marked:
                cells[index] = unmarked(cells[index])
        fields: dict[str, Any] = {field: value_of(cells[index]) for field, index in self._copied}
        if self._static:
            fields.update(self._static)
        if self._steps:
            documents: Documents = {}
            for field, step in self._steps:
                fields[field] = step(cells, documents)
        return fields


def compile_input_mapping(
    mapping: InputMapping,
    columns: Sequence[str],
    replaced: Collection[str] = DEFAULT_METADATA_COLUMNS,
    marked: Collection[str] = (),
) -> InputMapper:
    """Compile the mapping for a CSV with the header ``columns``, checked with ``problems_against_header`` before.

    ``replaced`` are the columns that are not mapped: ``replaced_columns`` of the whole config. ``marked`` are columns
    whose cells lose the mark of ``formulas`` on the way to the target. Raises KeyError for a column that the header
    lacks.
    """
    index_of = {name: index for index, name in enumerate(columns) if name not in replaced}
    places = [index for name, index in index_of.items() if name in marked]
    if mapping.is_empty:
        return InputMapper(list(index_of.items()), {}, [], places)
    copied = [(field, index_of[column]) for column, field in mapping.column_mappings.items()]
    steps = [(field, _compile(field, item, index_of)) for field, item in mapping.transformations.items()]
    return InputMapper(copied, dict(mapping.static_values), steps, places)


def _compile(field: str, transformation: Transformation, index_of: Mapping[str, int]) -> Step:
    step = transformation.compile(index_of)
    if not isinstance(transformation, FallibleTransformation):
        return step
    columns = ", ".join(repr(column) for _, column in transformation.columns())
    has_default, default = transformation.has_default, transformation.default

    def fallible(cells: Sequence[str], documents: Documents) -> Any:
        try:
            return step(cells, documents)
        except ValueError as error:
            if has_default:
                return default
            raise MappingError(f"field {field!r} ({transformation.type} of column {columns}): {error}") from None

    return fallible
