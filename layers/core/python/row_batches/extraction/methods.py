"""The registry of extraction methods. Each defines where in an answer a field can be, and how to read it there.

To add one, write a class and list it in ``METHODS``. The input document, the schemas of agents, their checks, the
commands and the reference page are derived from it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, Union, get_args

from pydantic import Field, PlainValidator

from foundation.problems import shown
from foundation.registry import registry
from foundation.validation import Part, matches, refuse
from row_batches.extraction.answer_view import AnswerView, Document
from row_batches.extraction.content_blocks import ToolResult, content_of, json_in, json_of_content
from row_batches.extraction.expressions import Expression, ExpressionText, parse_expression

FieldName = Annotated[
    str,
    matches(
        r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}",
        "a field's name has 1 to 255 characters, none of them a control character",
        "shorten or clean the name",
    ),
]
FieldMappings = Annotated[dict[FieldName, ExpressionText], Field(min_length=1, description="field → expression")]
PRINT_OUTPUT = "print_output"
"""The default name of the tool whose input is an agent's structured output."""
ToolName = Annotated[str, Field(min_length=1, max_length=255)]


class ExtractionMethod(Part):
    """An entry in a list of extraction methods. ``method`` is its name."""

    doc: ClassVar[str]
    """The places that it searches, for the reference page."""
    example: ClassVar[Mapping[str, Any]]
    """An example, for the reference page."""
    schema_type: ClassVar[str]
    """Its name in the schema of an agent."""
    method: str

    @abstractmethod
    def expressions(self) -> Mapping[str, Expression]:
        """The fields that it can yield, with their expressions."""

    @abstractmethod
    def place_of(self, field: str) -> tuple[str, ...]:
        """Where the field stands in the method's own object."""

    @abstractmethod
    def documents(self, view: AnswerView) -> Iterable[Document]:
        """The places in an answer to search, the best one first. Empty if the answer has none."""

    @abstractmethod
    def absence(self, view: AnswerView) -> str:
        """The reason why ``documents`` is empty."""

    @classmethod
    @abstractmethod
    def of_schema(cls, fields: Mapping[str, str], tool: str | None) -> Self:
        """The method for the fields of a schema: their expressions, in which "" is the method's own default."""


class _Mapped(ExtractionMethod):
    """A method with an expression for each field."""

    field_mappings: FieldMappings

    def expressions(self) -> Mapping[str, Expression]:
        return {field: parse_expression(text) for field, text in self.field_mappings.items()}

    def place_of(self, field: str) -> tuple[str, ...]:
        return "field_mappings", field


class StructuredOutput(_Mapped):
    doc = (
        "the input of the agent's last call of the tool `tool_name`, then `structured_output` of the answer, of its "
        "payload, or of a JSON text in one of their fields"
    )
    example = {"tool_name": "print_output", "field_mappings": {"download_speed": "$.speeds.download"}}
    schema_type = "structured"
    method: Literal["structured_output"]
    tool_name: ToolName = PRINT_OUTPUT

    def documents(self, view: AnswerView) -> Iterator[Document]:
        return _structured(view, self.tool_name)

    def absence(self, view: AnswerView) -> str:
        used = dict.fromkeys(use.tool for use in view.tool_uses)
        calls = f"calls of {', '.join(used)}" if used else "no calls of tools"
        return f"the answer has neither a call of {self.tool_name} nor structured_output; it has {calls}"

    @classmethod
    def of_schema(cls, fields: Mapping[str, str], tool: str | None) -> Self:
        given = {} if tool is None else {"tool_name": tool}
        return cls(method="structured_output", field_mappings=_with_own_name(fields), **given)


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

    @classmethod
    def of_schema(cls, fields: Mapping[str, str], tool: str | None) -> Self:
        mappings = {field: _with_path(text, "$.content") for field, text in fields.items()}
        return cls(method="tool_result", tool_name=tool, field_mappings=mappings)


class PathSpec(Part):
    """A path with its transform."""

    path: ExpressionText
    transform: str | None = None


TRANSFORM = "transform"
"""The key in ``paths`` that is no field: the transform of the fields that have none of their own."""


def _read_paths(value: object) -> dict[str, str | PathSpec]:
    if not isinstance(value, dict):
        refuse("not an object", "write {field: path}")
    paths: dict[str, str | PathSpec] = {}
    for name, given in value.items():
        paths[name] = _read_path(name, given)
    if not paths.keys() - {TRANSFORM}:
        refuse("names no field", "write {field: path}")
    return paths


def _read_path(name: object, given: object) -> str | PathSpec:
    if not isinstance(name, str) or not 1 <= len(name) <= 255 or not name.isprintable():
        refuse("a field's name has 1 to 255 printable characters", "shorten or clean the name", at=(str(name),))
    if isinstance(given, PathSpec):
        return given
    is_object = isinstance(given, dict) and isinstance(given.get("path"), str) and name != TRANSFORM
    transform = given.get(TRANSFORM) if isinstance(given, dict) else None
    unknown = sorted(map(str, given.keys() - {"path", TRANSFORM})) if isinstance(given, dict) else []
    if unknown:
        refuse(f"unknown field {unknown[0]}", "write {path, transform}", at=(name, unknown[0]))
    if not (is_object or isinstance(given, str)) or not isinstance(transform, str | None):
        what = "the name of a transform" if name == TRANSFORM else "an expression, or {path, transform}"
        refuse(f"not {what} (got {shown(given)})", f"write {what}", at=(name,))
    if name == TRANSFORM:
        return str(given)
    text = given["path"] if isinstance(given, dict) else str(given)
    try:
        parse_expression(text)
    except ValueError as error:
        fix = "write a JMESPath such as messages[-1].content[0].text, or a JSONPath that starts with $"
        refuse(f"not a path: {error}", fix, at=(name, "path") if isinstance(given, dict) else (name,))
    return PathSpec(path=text, transform=transform) if isinstance(given, dict) else text


class JmesPath(ExtractionMethod):
    doc = (
        "the answer, then its payload, then JSON texts in their fields. `transform` beside the fields applies to "
        "fields without a transform"
    )
    example = {"paths": {"exchange": "messages[-1].content[0].text", "transform": "parse_text"}}
    schema_type = "jmespath"
    method: Literal["jmespath"]
    paths: Annotated[dict[str, str | PathSpec], PlainValidator(_read_paths, json_schema_input_type=dict[str, Any])] = (
        Field(description="field → path, or `{path, transform}`")
    )

    def expressions(self) -> Mapping[str, Expression]:
        default = self.paths.get(TRANSFORM)
        found = {}
        for field, given in self.paths.items():
            if field != TRANSFORM:
                text, own = (given.path, given.transform) if isinstance(given, PathSpec) else (given, None)
                transform = own or default
                expression = parse_expression(text)
                steps = (*expression.steps, transform) if isinstance(transform, str) else expression.steps
                found[field] = Expression(expression.path, steps)
        return found

    def place_of(self, field: str) -> tuple[str, ...]:
        own = self.paths[field]
        return ("paths", field, TRANSFORM) if isinstance(own, PathSpec) and own.transform else ("paths", TRANSFORM)

    def documents(self, view: AnswerView) -> Iterator[Document]:
        return view.documents()

    def absence(self, view: AnswerView) -> str:  # noqa: ARG002
        return "the answer is empty"

    @classmethod
    def of_schema(cls, fields: Mapping[str, str], tool: str | None) -> Self:  # noqa: ARG003 (refused before)
        return cls(method="jmespath", paths=dict(_with_own_name(fields, "")))


class ResultsArray(_Mapped):
    doc = (
        "the first object with a list `results` (a bare list counts, too) in the answer, its payload, JSON texts in "
        "their fields, structured output, and JSON in messages, the latest first"
    )
    example = {"field_mappings": {"title": "results[0].title"}}
    schema_type = "results_array"
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

    @classmethod
    def of_schema(cls, fields: Mapping[str, str], tool: str | None) -> Self:  # noqa: ARG003 (refused before)
        return cls(method="results_array", field_mappings=_with_own_name(fields, "results[0]."))


class Direct(_Mapped):
    doc = "the answer, then its payload, then JSON texts in their fields, then JSON in messages, the latest first"
    example = {"field_mappings": {"exchange": "$.exchange"}}
    schema_type = "direct"
    method: Literal["direct"]

    def documents(self, view: AnswerView) -> Iterator[Document]:
        yield from view.documents()
        yield from view.documents_in_messages()

    def absence(self, view: AnswerView) -> str:  # noqa: ARG002
        return "the answer is empty"

    @classmethod
    def of_schema(cls, fields: Mapping[str, str], tool: str | None) -> Self:  # noqa: ARG003 (refused before)
        return cls(method="direct", field_mappings=_with_own_name(fields))


def _structured(view: AnswerView, tool: str) -> Iterator[Document]:
    """The structured output of an answer: the input of the tool's last call, then ``structured_output``."""
    used = next((use for use in reversed(view.tool_uses) if use.tool == tool), None)
    if used is not None:
        yield Document(f"the input of {tool} at {used.where}", _value_of(used.input))
    for where, value in view.documents():
        if isinstance(value, dict) and "structured_output" in value:
            yield Document(f"structured_output of {where}", _value_of(value["structured_output"]))


def _value_of(value: Any) -> Any:
    """The value of a tool's input, which can be a JSON text."""
    return found if (found := json_in(value)) is not None else value


def _with_own_name(fields: Mapping[str, str], start: str = "$.") -> dict[str, str]:
    """A field without a path is looked for under its own name."""
    return {field: _with_path(text, f"{start}{field}") for field, text in fields.items()}


def _with_path(text: str, path: str) -> str:
    return f"{path}{text}" if text.startswith(" |") or not text else text


METHODS: tuple[type[ExtractionMethod], ...] = registry(
    ExtractionMethod, StructuredOutput, ToolResultMethod, JmesPath, ResultsArray, Direct
)
METHOD_OF = {get_args(member.model_fields["method"].annotation)[0]: member for member in METHODS}
"""By the name in a list of extraction methods."""
METHOD_OF_SCHEMA_TYPE = {member.schema_type: member for member in METHODS}
"""By the name in the schema of an agent."""

if TYPE_CHECKING:
    AnyMethod = ExtractionMethod
else:
    AnyMethod = Annotated[Union[METHODS], Field(discriminator="method")]  # noqa: UP007
