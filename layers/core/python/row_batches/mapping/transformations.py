"""The registry of transformations, which turn cells into a field of the target's input.

To add one, write a class and list it in ``TRANSFORMATIONS``. The input document, its checks, the mapper and the
reference page are derived from it.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union, get_args

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer
from pydantic_core.core_schema import ValidationInfo

from foundation.json_path import NO_MATCH, compile_path
from foundation.json_text import parse_json
from foundation.problems import path_of
from foundation.registry import registry
from foundation.regular_expressions import compile_pattern
from foundation.validation import Part, compiles, refuse
from row_batches.mapping.cells import JsonCell
from row_batches.mapping.fields import ColumnName, FieldName, Json, JsonPath
from row_batches.mapping.template_text import parse_template

Documents = dict[int, Any]
"""The parsed JSON cells of one row, by column index, so that several paths into one cell parse it once."""
Step = Callable[[Sequence[str], Documents], Any]
"""Computes the field's value from the cells of a row. Raises ValueError with the reason if the cells give none."""


class Transformation(Part):
    """A transformation in the input document. ``type`` is its name; each type has its own model for ``config``."""

    doc: ClassVar[str]
    """The value that it gives, for the reference page."""
    example: ClassVar[Mapping[str, Any]]
    """A ``config``, for the reference page."""
    type: str
    config: Part

    @abstractmethod
    def columns(self) -> Iterator[tuple[str, str]]:
        """Pairs of (path in ``config``, column) for each column that it reads."""

    def constant(self) -> str:
        """The text that it gives every row, which is surely a mistake; "" if it reads a column."""
        return ""

    @abstractmethod
    def compile(self, index_of: Mapping[str, int]) -> Step:
        """The step for a row. ``index_of`` maps every column that the step reads to the index of its cell."""


class FallibleTransformation(Transformation):
    """A transformation with a step that can raise. The field's value is then ``default``, if given (also null)."""

    default: Json = None

    @property
    def has_default(self) -> bool:
        return "default" in self.model_fields_set

    @model_serializer(mode="wrap")
    def _leave_out_default_not_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return fields if self.has_default else {name: value for name, value in fields.items() if name != "default"}


class OneColumn(Part):
    column: ColumnName


class ConcatConfig(Part):
    columns: Annotated[list[ColumnName], Field(min_length=1)]
    separator: str = " "


class Concat(Transformation):
    doc = "the cells of `columns`, joined with `separator`"
    example = {"columns": ["first name", "last name"]}
    type: Literal["concat"]
    config: ConcatConfig

    def columns(self) -> Iterator[tuple[str, str]]:
        return ((f"columns[{i}]", column) for i, column in enumerate(self.config.columns))

    def compile(self, index_of: Mapping[str, int]) -> Step:
        indexes = [index_of[column] for column in self.config.columns]
        join = self.config.separator.join
        return lambda cells, _: join([cells[index] for index in indexes])


class TemplateConfig(Part):
    """``variables`` maps a name in the template to a column. Any other name is itself a column."""

    template: Annotated[
        str, compiles(parse_template, "not a template", "write {name} for a column, {{ and }} for literal braces")
    ]
    variables: dict[FieldName, ColumnName] = {}


class Template(Transformation):
    doc = (
        "the text with each `{name}` replaced by a cell: of the column in `variables` (name → column), or of the "
        "column with that name. `{{` and `}}` are literal braces. Inserted text is not expanded again"
    )
    example = {"template": "About {name}: {text}", "variables": {"name": "title"}}
    type: Literal["template"]
    config: TemplateConfig

    def columns(self) -> Iterator[tuple[str, str]]:
        variables = self.config.variables
        yield from ((path_of("variables", name), column) for name, column in variables.items())
        names = dict.fromkeys(parse_template(self.config.template).names)
        yield from (("template", name) for name in names if name not in variables)

    def constant(self) -> str:
        return "" if parse_template(self.config.template).names else self.config.template

    def compile(self, index_of: Mapping[str, int]) -> Step:
        template = parse_template(self.config.template)
        indexes = [index_of[self.config.variables.get(name, name)] for name in template.names]
        # A printf template with only %s is one pass in C, and inserted text is not expanded again.
        text = "%s".join(literal.replace("%", "%%") for literal in template.literals)
        return lambda cells, _: text % tuple([cells[index] for index in indexes])


class JsonPathConfig(OneColumn):
    path: JsonPath


class JsonPathTransformation(FallibleTransformation):
    doc = (
        "the match of an RFC 9535 JSONPath in the cell, which must hold JSON. A path that can match several values "
        "gives the list of all matches"
    )
    example = {"column": "details", "path": "$.items[0].id"}
    type: Literal["jsonpath"]
    config: JsonPathConfig

    def columns(self) -> Iterator[tuple[str, str]]:
        yield "column", self.config.column

    def compile(self, index_of: Mapping[str, int]) -> Step:
        path = self.config.path
        index = index_of[self.config.column]
        first = compile_path(path).first

        def step(cells: Sequence[str], documents: Documents) -> Any:
            if index in documents:
                document = documents[index]
            else:
                cell = cells[index]
                document = documents[index] = cell.value if isinstance(cell, JsonCell) else parse_json(cell)
            found = first(document)
            if found is NO_MATCH:
                raise ValueError(f"{path} matches nothing")
            return found

        return step


class RegexConfig(OneColumn):
    pattern: Annotated[
        str, compiles(compile_pattern, "not a regular expression", "write a pattern within RE2's limits")
    ]
    group: Annotated[int, Field(ge=0)] = 1

    @field_validator("group")
    @classmethod
    def _check_group(cls, group: int, info: ValidationInfo) -> int:
        pattern = info.data.get("pattern")
        if pattern is not None and group > (groups := compile_pattern(pattern).groups):
            refuse(
                f"group {group} does not exist: the pattern has {groups} groups",
                "put parentheses around the part to take, or set group to 0 for the whole match",
            )
        return group


class Regex(FallibleTransformation):
    doc = "the text of the group in the first match. The pattern has RE2 syntax and up to 2,000 characters"
    example = {"column": "text", "pattern": "No ([0-9]+)"}
    type: Literal["regex"]
    config: RegexConfig

    def columns(self) -> Iterator[tuple[str, str]]:
        yield "column", self.config.column

    def compile(self, index_of: Mapping[str, int]) -> Step:
        index = index_of[self.config.column]
        pattern, group = compile_pattern(self.config.pattern), self.config.group

        def step(cells: Sequence[str], _: Documents) -> Any:
            found = pattern.search(cells[index], group)
            if found is None:
                raise ValueError("the pattern does not match")
            return found

        return step


class Upper(Transformation):
    doc = "the cell in capital letters"
    example = {"column": "country"}
    type: Literal["upper"]
    config: OneColumn

    def columns(self) -> Iterator[tuple[str, str]]:
        yield "column", self.config.column

    def compile(self, index_of: Mapping[str, int]) -> Step:
        index = index_of[self.config.column]
        return lambda cells, _: cells[index].upper()


TRANSFORMATIONS: tuple[type[Transformation], ...] = registry(
    Transformation, Concat, Template, JsonPathTransformation, Regex, Upper
)
TRANSFORMATION_OF = {get_args(member.model_fields["type"].annotation)[0]: member for member in TRANSFORMATIONS}
"""The transformations by their name in the input document."""

if TYPE_CHECKING:
    AnyTransformation = Transformation
else:
    AnyTransformation = Annotated[Union[TRANSFORMATIONS], Field(discriminator="type")]  # noqa: UP007
