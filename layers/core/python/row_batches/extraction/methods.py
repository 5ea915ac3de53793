"""The registry of extraction methods. Each defines where in an answer a field can be, and how to read it there.

To add one, write a class and list it in ``METHODS``. The input document, the schemas of agents, their checks, the
commands and the reference page are derived from it.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, Union, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from foundation.registry import registry
from foundation.validation import Part, matches, refuse
from row_batches.extraction.answer_view import AnswerView, Document
from row_batches.extraction.content_blocks import ToolResult, content_of, find_json, json_of_content
from row_batches.extraction.expressions import Expression, parse_expression

FieldName = Annotated[
    str,
    matches(
        r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}",
        "a field's name has 1 to 255 characters, none of them a control character",
        "shorten or clean the name",
    ),
]


class PathSpec(Part):
    """An expression and a transform of its result. A JMESPath needs this form, because ``|`` is part of JMESPath."""

    path: str
    transform: str | None = None


TRANSFORM = "transform"
Given = str | PathSpec


def _read_given(value: object) -> Given:
    if isinstance(value, PathSpec):
        return value
    if isinstance(value, dict):
        unknown = sorted(map(str, value.keys() - {"path", TRANSFORM}))
        if unknown:
            refuse(f"unknown field {unknown[0]}", "write {path, transform}", at=(unknown[0],))
        path, transform = value.get("path"), value.get(TRANSFORM)
        if isinstance(path, str) and isinstance(transform, str | None):
            _check_expression(path, ("path",))
            return PathSpec(path=path, transform=transform)
    if not isinstance(value, str):
        refuse("neither a text nor {path, transform} of texts", 'write an expression in quotes, such as "$.name"')
    _check_expression(value)
    return value


def _check_expression(text: str, at: tuple[str, ...] = ()) -> None:
    try:
        parse_expression(text)
    except ValueError as error:
        fix = (
            "write a JSONPath such as $.name or a JMESPath such as results[0].title, and after it | parse('Name: (.+)')"
        )
        refuse(f"not an expression of extraction: {error}", fix, at=at)


FieldMappings = Annotated[
    dict[FieldName, Annotated[Given, BeforeValidator(_read_given)]],
    Field(min_length=1, description="field → expression, or `{path, transform}`"),
]
PRINT_OUTPUT = "print_output"
"""The default name of the tool whose input is an agent's structured output."""
STRUCTURED = ("structured_output", "structured_response", "structuredContent")
"""The fields in which answers have structured output. The second is LangGraph's, the third that of MCP's tools:
https://modelcontextprotocol.io/specification/2025-06-18/server/tools"""
ToolName = Annotated[str, Field(min_length=1, max_length=255)]


class ExtractionMethod(Part):
    """An entry in a list of extraction methods. ``method`` is its name."""

    doc: ClassVar[str]
    """The places that it searches, for the reference page."""
    example: ClassVar[Mapping[str, Any]]
    """An example, for the reference page."""
    schema_type: ClassVar[str]
    """The method's name in the schema of an agent."""
    is_structured: ClassVar[bool]
    """Whether it reads structured output of an agent or tool, and not a text."""
    method: str

    @abstractmethod
    def mappings(self) -> Mapping[str, Given]:
        """The fields that it can yield, with their unparsed expressions."""

    @abstractmethod
    def place_of(self, field: str) -> tuple[str, ...]:
        """The place of the field's expression in the method's object, or of its transform if it has one."""

    def expressions(self) -> dict[str, Expression]:
        """The fields that it can yield, with their parsed expressions."""
        return {field: _expression(given) for field, given in self.mappings().items()}

    @abstractmethod
    def documents(self, view: AnswerView) -> Iterable[Document]:
        """The places in an answer to search, the best one first. Empty if the answer has none."""

    @abstractmethod
    def absence(self, view: AnswerView) -> str:
        """The reason why ``documents`` is empty."""

    @staticmethod
    @abstractmethod
    def default_path(field: str) -> str:
        """The path of a field for which the schema gives none."""

    @classmethod
    @abstractmethod
    def of_schema(cls, mappings: Mapping[str, Given], tool: str | None) -> Self:
        """The method for fields of a schema."""


class _Mapped(ExtractionMethod):
    """A method with an expression for each field."""

    field_mappings: FieldMappings

    def mappings(self) -> Mapping[str, Given]:
        return self.field_mappings

    def place_of(self, field: str) -> tuple[str, ...]:
        given = self.field_mappings[field]
        has_own = isinstance(given, PathSpec) and given.transform is not None
        return ("field_mappings", field, TRANSFORM) if has_own else ("field_mappings", field)

    @staticmethod
    def default_path(field: str) -> str:
        return f"$.{field}"

    @classmethod
    def of_schema(cls, mappings: Mapping[str, Given], tool: str | None) -> Self:
        name = {} if tool is None else {"tool_name": tool}
        method = get_args(cls.model_fields["method"].annotation)[0]
        return cls.model_validate({"method": method, "field_mappings": dict(mappings), **name})


class StructuredOutput(_Mapped):
    doc = (
        "the input of the agent's last call of the tool `tool_name`, then `structured_output` (or LangGraph's "
        "`structured_response`, or MCP's `structuredContent`) of the answer, of its payload, or of a JSON text in one "
        "of their fields"
    )
    example = {"tool_name": "print_output", "field_mappings": {"download_speed": "$.speeds.download"}}
    schema_type = "structured"
    is_structured = True
    method: Literal["structured_output"]
    tool_name: ToolName = PRINT_OUTPUT

    def documents(self, view: AnswerView) -> Iterator[Document]:
        return _structured(view, self.tool_name)

    def absence(self, view: AnswerView) -> str:
        used = dict.fromkeys(use.tool for use in view.tool_uses)
        calls = f"calls of {', '.join(used)}" if used else "no calls of tools"
        return f"the answer has neither a call of {self.tool_name} nor structured_output; it has {calls}"


class ToolResultMethod(_Mapped):
    doc = (
        "the results that the agent got from tools, the latest first; only those of `tool_name`, if it is given. `$` "
        "is the result, and `$.content` is its text, or the value of its JSON. A path that matches nothing there is "
        "tried on the JSON in the content. Results that are errors are skipped"
    )
    example = {
        "tool_name": "browser_broadband",
        "field_mappings": {"exchange": r"$.content | parse('Exchange: ([A-Z\s]+)')"},
    }
    schema_type = "tool_result"
    is_structured = False
    method: Literal["tool_result"]
    tool_name: ToolName | None = None

    def documents(self, view: AnswerView) -> Iterator[Document]:
        for result in reversed(self._results(view)):
            where = f"the result of {result.tool or 'a tool'} at {result.where}"
            content = content_of(result.content)
            yield Document(where, {"content": content})
            if (value := json_of_content(result.content)) is not None:
                if value is not content:
                    yield Document(f"the JSON in {where}", {"content": value})
                yield Document(f"the JSON in {where}", value)
            yield Document(where, result.block)

    def _results(self, view: AnswerView) -> list[ToolResult]:
        wanted = self.tool_name
        return [
            result
            for result in view.tool_results
            if not result.failed and (wanted is None or result.tool == wanted or view.is_own(result))
        ]

    def absence(self, view: AnswerView) -> str:
        names = [
            f"{result.tool or 'a tool without a name'}{' (an error)' if result.failed else ''}"
            for result in view.tool_results
        ]
        there = f"it has those of {', '.join(dict.fromkeys(names))}" if names else "it has no results of tools"
        return f"the answer has no result of {self.tool_name or 'a tool'}; {there}"

    @staticmethod
    def default_path(field: str) -> str:  # noqa: ARG004
        return "$.content"


def _check_paths(paths: dict[str, Given]) -> dict[str, Given]:
    default = paths.get(TRANSFORM, "")
    if not isinstance(default, str):
        refuse("not the name of a transform", "write the name of a transform", at=(TRANSFORM,))
    if not paths.keys() - {TRANSFORM}:
        refuse("names no field", "write {field: path}")
    return paths


class JmesPath(ExtractionMethod):
    doc = (
        "the answer, then its payload, then JSON texts in their fields. `transform` beside the fields applies to "
        "fields without a transform"
    )
    example = {"paths": {"exchange": "messages[-1].content[0].text", "transform": "parse_text"}}
    schema_type = "jmespath"
    is_structured = False
    method: Literal["jmespath"]
    paths: Annotated[FieldMappings, AfterValidator(_check_paths)]
    """Fields with their expressions. The key ``transform`` is not a field: it applies to fields without a transform."""

    def mappings(self) -> Mapping[str, Given]:
        default = self.paths.get(TRANSFORM)
        fields = {field: given for field, given in self.paths.items() if field != TRANSFORM}
        if not isinstance(default, str):
            return fields
        return {field: _with_default(given, default) for field, given in fields.items()}

    def place_of(self, field: str) -> tuple[str, ...]:
        given = self.paths[field]
        has_own = isinstance(given, PathSpec) and given.transform is not None
        return ("paths", field, TRANSFORM) if has_own else ("paths", TRANSFORM)

    @staticmethod
    def default_path(field: str) -> str:
        return field

    @classmethod
    def of_schema(cls, mappings: Mapping[str, Given], tool: str | None) -> Self:  # noqa: ARG003 (it has none)
        return cls(method="jmespath", paths=dict(mappings))

    def documents(self, view: AnswerView) -> Iterator[Document]:
        return view.documents()

    def absence(self, view: AnswerView) -> str:  # noqa: ARG002
        return "the answer is empty"


class ResultsArray(_Mapped):
    doc = (
        "the first object with a list `results` (a bare list counts, too) in the answer, its payload, JSON texts in "
        "their fields, structured output, and JSON in messages, the latest first"
    )
    example = {"field_mappings": {"title": "results[0].title"}}
    schema_type = "results_array"
    is_structured = True
    method: Literal["results_array"]

    def documents(self, view: AnswerView) -> Iterator[Document]:
        places = chain(view.documents(), _structured(view, PRINT_OUTPUT), view.documents_in_messages())
        for where, value in places:
            if isinstance(value, dict) and isinstance(value.get("results"), list):
                yield Document(where, value)
            elif isinstance(value, list):
                yield Document(where, {"results": value})

    def absence(self, view: AnswerView) -> str:
        names = dict.fromkeys(name for _, value in view.documents() if isinstance(value, dict) for name in value)
        return f"the answer has no list of results; its fields are {', '.join(names) or 'none'}"[:300]

    @staticmethod
    def default_path(field: str) -> str:
        return f"results[0].{field}"


class Direct(_Mapped):
    doc = "the answer, then its payload, then JSON texts in their fields, then JSON in messages, the latest first"
    example = {"field_mappings": {"exchange": "$.exchange"}}
    schema_type = "direct"
    is_structured = True
    method: Literal["direct"]

    def documents(self, view: AnswerView) -> Iterator[Document]:
        yield from view.documents()
        yield from view.documents_in_messages()

    def absence(self, view: AnswerView) -> str:  # noqa: ARG002
        return "the answer is empty"


def _structured(view: AnswerView, tool: str) -> Iterator[Document]:
    """The structured output of an answer: the input of the tool's last call, then ``structured_output``."""
    used = next((use for use in reversed(view.tool_uses) if use.tool == tool), None)
    if used is not None:
        yield Document(f"the input of {tool} at {used.where}", _value_of(used.input))
    for where, value in view.documents():
        for name in STRUCTURED if isinstance(value, dict) else ():
            if name in value:
                yield Document(f"{name} of {where}", _value_of(value[name]))


def _value_of(value: Any) -> Any:
    """The value of a tool's input, which can be a JSON text."""
    return found if (found := find_json(value)) is not None else value


def _with_default(given: Given, transform: str) -> PathSpec:
    if isinstance(given, str):
        return PathSpec(path=given, transform=transform)
    return given if given.transform is not None else PathSpec(path=given.path, transform=transform)


def _expression(given: Given) -> Expression:
    if isinstance(given, str):
        return parse_expression(given)
    expression = parse_expression(given.path)
    steps = expression.steps if given.transform is None else (*expression.steps, given.transform)
    return Expression(expression.path, steps)


METHODS: tuple[type[ExtractionMethod], ...] = registry(
    ExtractionMethod, StructuredOutput, ToolResultMethod, JmesPath, ResultsArray, Direct
)
METHOD_OF = {get_args(member.model_fields["method"].annotation)[0]: member for member in METHODS}
"""The methods by their names in a list of extraction methods."""
METHOD_OF_SCHEMA_TYPE = {member.schema_type: member for member in METHODS}
"""The methods by their names in the schema of an agent."""

if TYPE_CHECKING:
    AnyMethod = ExtractionMethod
else:
    AnyMethod = Annotated[Union[METHODS], Field(discriminator="method")]  # noqa: UP007
