"""Mapping in: from the cells of a row to the input of the target. Compiled once, run per row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from foundation.errors import MappingError
from foundation.json_text import parse_json
from foundation.regular_expressions import compile_pattern
from row_batches.mapping.json_path import NO_MATCH, compile_path
from row_batches.mapping.models import (
    METADATA_COLUMNS,
    ConcatTransformation,
    InputMapping,
    JsonPathTransformation,
    RegexTransformation,
    TemplateTransformation,
    Transformation,
)
from row_batches.mapping.template_text import parse_template

Documents = dict[int, Any]
"""The parsed JSON cells of one row, by column: several paths into one cell parse it once."""
Step = Callable[[Sequence[str], Documents], Any]


class InputMapper:
    """Maps rows of one CSV. Safe to use from several threads."""

    __slots__ = ("_copied", "_static", "_steps")

    def __init__(self, copied: list[tuple[str, int]], static: dict[str, Any], steps: list[tuple[str, Step]]) -> None:
        self._copied = copied
        self._static = static
        self._steps = steps

    def map(self, cells: Sequence[str]) -> dict[str, Any]:
        """The target's input. Raises MappingError: field, transformation, column and reason, never a cell.

        When two write one field, transformations win over static values, and those over column mappings.
        """
        fields: dict[str, Any] = {field: cells[index] for field, index in self._copied}
        if self._static:
            fields.update(self._static)
        if self._steps:
            documents: Documents = {}
            for field, step in self._steps:
                fields[field] = step(cells, documents)
        return fields


def compile_input_mapping(
    mapping: InputMapping, columns: Sequence[str], replaced: Collection[str] = METADATA_COLUMNS
) -> InputMapper:
    """``columns`` is the CSV's header, in which ``problems_against_header`` has found nothing (else KeyError).

    ``replaced`` are the names that are not mapped: ``replaced_columns`` of the whole config.
    """
    index_of = {name: index for index, name in enumerate(columns) if name not in replaced}
    if mapping.is_empty:
        return InputMapper(list(index_of.items()), {}, [])
    copied = [(field, index_of[column]) for column, field in mapping.column_mappings.items()]
    steps = [(field, _compile(field, item, index_of)) for field, item in mapping.transformations.items()]
    return InputMapper(copied, dict(mapping.static_values), steps)


def _compile(field: str, transformation: Transformation, index_of: dict[str, int]) -> Step:
    match transformation:
        case ConcatTransformation():
            return _concat(transformation, index_of)
        case TemplateTransformation():
            return _template(transformation, index_of)
        case JsonPathTransformation():
            return _json_path(field, transformation, index_of)
        case RegexTransformation():
            return _regex(field, transformation, index_of)


def _concat(transformation: ConcatTransformation, index_of: dict[str, int]) -> Step:
    indexes = [index_of[column] for column in transformation.config.columns]
    join = transformation.config.separator.join
    return lambda cells, _: join([cells[index] for index in indexes])


def _template(transformation: TemplateTransformation, index_of: dict[str, int]) -> Step:
    config = transformation.config
    template = parse_template(config.template)
    indexes = [index_of[config.variables.get(name, name)] for name in template.names]
    # Printf with nothing but %s: one pass in C, and what is put in is not looked at again.
    text = "%s".join(literal.replace("%", "%%") for literal in template.literals)
    return lambda cells, _: text % tuple([cells[index] for index in indexes])


def _json_path(field: str, transformation: JsonPathTransformation, index_of: dict[str, int]) -> Step:
    config = transformation.config
    index = index_of[config.column]
    first = compile_path(config.path).first
    has_default, default = transformation.has_default, transformation.default

    def step(cells: Sequence[str], documents: Documents) -> Any:
        try:
            if index in documents:
                document = documents[index]
            else:
                document = documents[index] = parse_json(cells[index])
            found = first(document)
        except ValueError as error:
            reason = str(error)
        else:
            if found is not NO_MATCH:
                return found
            reason = f"{config.path} matches nothing"
        if has_default:
            return default
        raise MappingError(_message(field, transformation.type, config.column, reason))

    return step


def _regex(field: str, transformation: RegexTransformation, index_of: dict[str, int]) -> Step:
    config = transformation.config
    index = index_of[config.column]
    pattern, group = compile_pattern(config.pattern), config.group

    def step(cells: Sequence[str], _: Documents) -> Any:
        found = pattern.search(cells[index], group)
        if found is not None:
            return found
        if transformation.has_default:
            return transformation.default
        raise MappingError(_message(field, transformation.type, config.column, "the pattern does not match"))

    return step


def _message(field: str, kind: str, column: str, reason: str) -> str:
    return f"field {field!r} ({kind} of column {column!r}): {reason}"
