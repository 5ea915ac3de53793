"""Maps a target's answer to the cells of the mapped columns. A mapping is compiled once and runs for each row.

A path that matches nothing gives the ``default``, and so does a null if the column's type has no null. A match that
cannot be cast to the type (``output_types``) also gives the default and counts as a cast failure. A default that is a
text is written unchanged, null is an empty cell, and other values are written as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from foundation.json_path import NO_MATCH, CompiledPath, compile_path
from foundation.json_text import encodable, render_json
from foundation.problems import shown
from row_batches.mapping.answer_keys import AnswerKeys, keys_where_paths_end
from row_batches.mapping.field_paths import FieldPath, field_of, field_paths, keys_of_fields
from row_batches.mapping.models import RESULT_COLUMN, OutputColumn, OutputMapping
from row_batches.mapping.output_types import OUTPUT_TYPE_OF, OutputType, Render

if TYPE_CHECKING:
    from row_batches.extraction.extractor import Extractor


class MappedRow(NamedTuple):
    """The cells of the mapped columns.

    ``cast_failures`` has the columns whose match could not be cast, each with the match as a shortened text.
    ``missing`` are the columns that matched nothing, ``answer_keys`` the keys where their paths end.
    """

    values: list[str]
    cast_failures: dict[str, str]
    missing: Sequence[str] = ()
    answer_keys: AnswerKeys = {}
    extraction: str = ""
    """The method of each extracted field and the missing fields, as JSON; "" without extraction."""
    extracted: bool = False
    """Whether at least one field was extracted."""


class _Place(Enum):
    """Where a column's source is searched. ``$`` is the whole answer, never the extracted fields."""

    ANYWHERE = auto()
    FIELDS = auto()
    ANSWER = auto()


class _Column(NamedTuple):
    at: int
    name: str
    path: CompiledPath
    first: Callable[[Any], Any]
    place: _Place
    render: Render
    null: str
    default: str


class OutputMapper:
    """Maps answers. ``names`` are the mapped columns in order. Safe to use from several threads."""

    __slots__ = ("_columns", "_extractor", "_field_paths", "names")

    def __init__(
        self,
        names: list[str],
        columns: list[_Column],
        extractor: Extractor | None,
        field_paths: Mapping[str, Sequence[FieldPath]],
    ) -> None:
        self.names = names
        self._columns = columns
        self._extractor = extractor
        self._field_paths = field_paths

    def map(self, answer: Any, payload: Any) -> MappedRow:
        """The cells of a row that is SUCCESS.

        Each source is tried on the extracted fields, then on the whole answer, then on the payload, then on
        ``{"agent_output": payload}``. The first match counts. Last, a source is tried inside of the wrappings of an
        answer outside the protocol.
        """
        if not self._columns:
            return _payload_as_json(payload)
        documents = (
            (answer, {"agent_output": payload}) if answer is payload else (answer, payload, {"agent_output": payload})
        )
        extracted = self._extractor.extract(answer, payload) if self._extractor else None
        fields = () if extracted is None else (extracted.fields,)
        places = {_Place.ANYWHERE: (*fields, *documents), _Place.FIELDS: fields, _Place.ANSWER: documents}
        values, cast_failures = self.defaults(), dict[str, str]()
        missing = [column for column in self._columns if not _fill(column, places[column.place], values, cast_failures)]
        wrapped: Sequence[Any] = ()
        if missing and answer is payload:
            from row_batches.extraction.wrappings import within  # noqa: PLC0415 (most answers are not wrapped)

            wrapped = within(answer)
            missing = [
                column
                for column in missing
                if column.place is _Place.FIELDS or not _fill(column, wrapped, values, cast_failures)
            ]
        row = MappedRow(values, cast_failures)
        if extracted is not None:
            row = row._replace(extraction=extracted.text, extracted=bool(extracted.fields))
        if not missing:
            return row
        keys = keys_where_paths_end(
            [column.path.steps for column in missing], (documents[-1], *documents[:-1], *wrapped)
        )
        if extracted is not None and extracted.missing:
            lacking = {field_of(column.path) for column in missing}.intersection(extracted.missing)
            paths = [path for field in extracted.missing if field in lacking for path in self._field_paths[field]]
            keys |= keys_of_fields(paths, extracted.searched, answer)
        return row._replace(missing=[column.name for column in missing], answer_keys=keys)

    def defaults(self) -> list[str]:
        """The cells of a row that is not SUCCESS."""
        return [column.default for column in self._columns] or [""]


def _fill(column: _Column, documents: Sequence[Any], values: list[str], cast_failures: dict[str, str]) -> bool:
    """Put the column's match in the first document that has one into ``values``. False if none has one."""
    found: Any = NO_MATCH
    try:
        for document in documents:
            found = column.first(document)
            if found is not NO_MATCH:
                values[column.at] = column.null if found is None else column.render(found)
                return True
    except ValueError as error:
        cast_failures[column.name] = str(error) if found is NO_MATCH else shown(found)
        return True
    return False


def compile_output_mapping(output_mapping: OutputMapping) -> OutputMapper:
    """A mapper for these columns. Without columns, it has one column ``result`` with the payload as JSON."""
    columns = [_compile(at, column) for at, column in enumerate(output_mapping.mapped_columns)]
    extractor = _compile_extraction(output_mapping) if output_mapping.extraction_methods else None
    paths = field_paths(output_mapping.extraction_methods)
    return OutputMapper([column.name for column in columns] or [RESULT_COLUMN], columns, extractor, paths)


def _compile_extraction(output_mapping: OutputMapping) -> Extractor:
    # Imported late, because most batches extract nothing.
    from row_batches.extraction.extractor import Extractor  # noqa: PLC0415

    return Extractor(output_mapping.extraction_methods, output_mapping.transforms)


def _compile(at: int, column: OutputColumn) -> _Column:
    kind = OUTPUT_TYPE_OF[column.type]
    default = _render_default(column.default)
    null = kind.render(None) if kind.has_null else default
    path = compile_path(column.path)
    place = _Place.ANSWER if path.steps == [] else _Place.ANYWHERE if column.source is not None else _Place.FIELDS
    return _Column(at, column.name, path, path.first, place, _render(kind, column.format), null, default)


def _render(kind: OutputType, format_text: str | None) -> Render:
    if format_text is None or kind.compile_format is None:
        return kind.render
    return kind.compile_format(format_text)


def _payload_as_json(payload: Any) -> MappedRow:
    try:
        return MappedRow([render_json(payload)], {})
    except ValueError:
        return MappedRow([""], {RESULT_COLUMN: shown(payload)})


def _render_default(default: str | float | bool | None) -> str:
    if default is None:
        return ""
    return encodable(default) if isinstance(default, str) else render_json(default)
