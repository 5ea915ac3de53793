"""The registries: what each member has, and what happens when a part is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest

from foundation.registry import registry
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS, METADATA
from row_batches.mapping.output_types import OUTPUT_TYPES
from row_batches.mapping.transformations import TRANSFORMATION_OF, TRANSFORMATIONS, OneColumn, Step, Transformation


class ColumnsRead(dict[str, int]):
    """Where each column's cell is, and which columns were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.read: set[str] = set()

    def __missing__(self, column: str) -> int:
        self.read.add(column)
        return 0


@pytest.mark.parametrize("kind", TRANSFORMATION_OF)
def test_a_transformation_reads_the_columns_that_it_names_and_no_others(kind: str) -> None:
    member = TRANSFORMATION_OF[kind]
    transformation = member.model_validate({"type": kind, "config": member.example})
    index_of = ColumnsRead()

    transformation.compile(index_of)

    assert index_of.read == {column for _, column in transformation.columns()}


def test_a_transformation_without_a_part_is_refused_at_import_and_the_part_is_named() -> None:
    class Model(Transformation):
        """A model alone: the mapper would not know what to do with it."""

        type: Literal["reverse"]
        config: OneColumn

    class Mapped(Transformation):
        doc = "the cell backwards"

        def columns(self) -> Iterator[tuple[str, str]]:
            yield "column", "a"

        def compile(self, index_of: Mapping[str, int]) -> Step:
            return lambda cells, _: cells[0][::-1]

    with pytest.raises(TypeError, match="Model lacks doc, example, columns, compile: every Transformation has its own"):
        registry(Transformation, Model)
    with pytest.raises(TypeError, match="Mapped lacks example, type, config"):
        registry(Transformation, *TRANSFORMATIONS, Mapped)


@pytest.mark.parametrize(
    "members", [TRANSFORMATION_OF, [kind.name for kind in OUTPUT_TYPES], [column.name for column in METADATA]]
)
def test_names_are_used_once(members: Any) -> None:
    assert len(set(members)) == len(list(members))


def test_the_default_metadata_columns_are_the_documented_six() -> None:
    assert (
        *("_execution_id", "_row_id", "_status", "_error_message", "_execution_time_ms", "_timestamp"),
    ) == DEFAULT_METADATA_COLUMNS
