"""A run that is being put together: its document, the changes that a person makes to it, and their results.

The document is the whole state. A change takes one and gives another. It leaves everything else unchanged, so parts
that were written by hand stay. ``look`` shows what a run would do with the document, without calling AWS.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from batch_processor_client.errors import ClientError
from batch_processor_client.guesses import declared_columns, declared_output, free_names
from batch_processor_client.samples import Sample
from batch_processor_client.targets import Tried
from batch_processor_client.trials import with_trial
from foundation.errors import DeploymentError, InvalidInputError, MappingError, Problem
from foundation.json_path import path_of_name
from foundation.json_text import parse_json
from row_batches.document.deployment_config import DeploymentConfig
from row_batches.document.effective import complete, schema_of
from row_batches.document.header import problems_against_header, replaced_columns
from row_batches.document.input_document import with_one_name
from row_batches.document.input_format import InputFormat
from row_batches.document.output_format import OutputFormat, OutputFormatName
from row_batches.document.plan import Target
from row_batches.mapping.mapping_in import compile_input_mapping
from row_batches.mapping.mapping_out import compile_output_mapping
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS
from row_batches.mapping.models import InputMapping, OutputMapping
from row_batches.rows.records import RowStatus
from row_batches.targets.kinds import kind_of, parse_document

Document = dict[str, Any]
Cell = tuple[str, str]
"""The text of a mapped column, and its state (``OutColumn.state``)."""
MOST_NODES = 300
"""The most keys of an answer that are shown."""
MOST_LEVELS = 8
MOST_ITEMS = 3
"""The most items of a list that are shown. A path for all of them is offered, too."""
_STEP = re.compile(r"\.?([A-Za-z_]\w*)|\[(\d+)\]")
Part = TypeVar("Part", bound=BaseModel)


@dataclass(frozen=True)
class Known:
    """The known facts while a document is made: the target that it names, and the first rows of its file.

    ``names`` are the columns of a file that is not read. ``before`` is the target that a new choice replaces.
    """

    target: Target | None = None
    sample: Sample | None = None
    names: Sequence[str] = ()
    before: Target | None = None

    @property
    def columns(self) -> Sequence[str]:
        return self.sample.columns if self.sample else self.names


# --- changes


@dataclass(frozen=True)
class Change:
    """A change of a document. ``apply`` changes the document in place and raises ClientError if it cannot be done."""

    name: str
    doc: str
    apply: Callable[[Document, Mapping[str, str], Known], None]


def changed(document: Document, name: str, given: Mapping[str, str], known: Known) -> Document:
    """The document after a change. Raises ClientError for a change that is not known or cannot be done."""
    change = next((one for one in CHANGES if one.name == name), None)
    if change is None:
        raise ClientError(f"There is no change named {name}.")
    new = copy.deepcopy(document)
    change.apply(new, given, known)
    return new


def _set(document: Document, given: Mapping[str, str], _: Known) -> None:
    steps = _steps(given.get("path", ""))
    text, kind = given.get("value", ""), given.get("type", "text")
    if not (text if kind == "character" else text.strip()):
        _remove(document, steps)
        return
    _put(document, steps, VALUES.get(kind, str.strip)(text))


def _number(text: str) -> Any:
    """A number that JSON has, or the text as it is: the document's own checks say what is wrong with it."""
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() else number


VALUES: Mapping[str, Callable[[str], Any]] = {
    "number": _number,
    "flag": lambda text: text == "true",
    "text": str.strip,
    "character": str,
}
"""How a field's text becomes a value, by the type of the field."""


def _steps(path: str) -> list[int | str]:
    """``a.b[0].c`` as steps. Raises ClientError."""
    steps: list[int | str] = []
    place = 0
    while place < len(path):
        found = _STEP.match(path, place)
        if found is None:
            raise ClientError(f"{path} is not a place in the document.")
        steps.append(found[1] if found[2] is None else int(found[2]))
        place = found.end()
    if not steps or isinstance(steps[0], int):
        raise ClientError(f"{path or 'Nothing'} is not a place in the document.")
    return steps


def _put(document: Document, steps: Sequence[int | str], value: Any) -> None:
    """Set a value, and make the objects on its way. Items of lists have to be there."""
    place: Any = document
    for step in steps[:-1]:
        if isinstance(place, dict) and not isinstance(place.get(step), dict | list):
            place[step] = {}
        place = _member(place, step)
    _member(place, steps[-1], missing=True)
    place[steps[-1]] = value


def _member(place: Any, step: int | str, *, missing: bool = False) -> Any:
    if isinstance(place, list) and isinstance(step, int) and step < len(place):
        return place[step]
    if isinstance(place, dict) and isinstance(step, str) and (missing or step in place):
        return place.get(step)
    raise ClientError(f"The document has no place for {step}: it was changed meanwhile. Look at it again.")


def _remove(document: Document, steps: Sequence[int | str]) -> None:
    """Remove a value, and the objects that are empty without it."""
    places: list[Any] = [document]
    for step in steps[:-1]:
        try:
            places.append(_member(places[-1], step))
        except ClientError:
            return
    for place, step in zip(reversed(places), reversed(steps), strict=True):
        if isinstance(place, dict) and isinstance(step, str):
            place.pop(step, None)
        elif isinstance(place, list) and isinstance(step, int) and step < len(place):
            place.pop(step)
        if place:
            return


def _choose_target(document: Document, given: Mapping[str, str], known: Known) -> None:
    """Name the target, map the columns that have the names of its fields, and write those that it declares."""
    if not given.get("value"):
        document.pop("target", None)
        return
    if known.target is None:
        raise ClientError(f"No target is registered as {given['value']!r}.")
    document["target"] = {"type": known.target.type, "name": known.target.name}
    if known.before and _columns(document) == declared_output(known.before, known.columns):
        _remove(document, ["output_mapping", "columns"])
    _guess(document, given, known)


def _guess(document: Document, _: Mapping[str, str], known: Known) -> None:
    """Map the columns that have the names of the target's fields, besides those that are mapped.

    Without columns of the output, those that the target declares are written.
    """
    if known.target is None or not known.columns:
        return
    written = declared_output(known.target, known.columns)
    if written and not _columns(document):
        _put(document, ["output_mapping", "columns"], written)
    mapped = _mapped(document)
    kept = {column: name for column, name in mapped.items() if column in known.columns}
    found = declared_columns(known.target, known.columns, kept)
    if found or kept != mapped:
        _put(document, ["input_mapping", "column_mappings"], {**kept, **found})


def _map(document: Document, given: Mapping[str, str], _: Known) -> None:
    """Send a column as a field; without a column, no longer send the field."""
    name, column = given.get("field", "").strip(), given.get("value", "")
    if not name:
        raise ClientError("Write the name of the field.")
    mapped = {one: what for one, what in _mapped(document).items() if what != name and one != column}
    if column:
        mapped[column] = name
    steps = ["input_mapping", "column_mappings"]
    if mapped:
        _put(document, steps, mapped)
    else:
        _remove(document, steps)


def _mapped(document: Document) -> dict[str, str]:
    """Columns and their fields, as far as the document has them."""
    mapping = document.get("input_mapping")
    mapped = mapping.get("column_mappings") if isinstance(mapping, dict) else None
    return dict(mapped) if isinstance(mapped, dict) else {}


def _add_column(document: Document, given: Mapping[str, str], known: Known) -> None:
    """Add a column of the output. Its name is the last name in its path, made unique."""
    path = given.get("value", "").strip()
    if not path:
        raise ClientError("Write the path of the column, such as $.label.")
    columns = _columns(document)
    used = {*known.columns, *(str(column.get("name")) for column in columns)}
    steps = re.findall(r"[A-Za-z_]\w*|(?<=\[\")[^\"]+(?=\"\])", path) or ["answer"]
    name = next(free_names(steps[-1], used))
    _put(document, ["output_mapping", "columns"], [*columns, {"name": name, "source": path}])


def _move_column(document: Document, given: Mapping[str, str], _: Known) -> None:
    """Put the column with the number ``value`` where the one with the number ``to`` is. Both count from 0."""
    columns = _columns(document)
    try:
        moved = columns.pop(int(given.get("value", "")))
        columns.insert(int(given.get("to", "")), moved)
    except (ValueError, IndexError):
        raise ClientError("There is no such column any more.") from None
    _put(document, ["output_mapping", "columns"], columns)


def _columns(document: Document) -> list[Any]:
    mapping = document.get("output_mapping")
    columns = mapping.get("columns") if isinstance(mapping, dict) else None
    return [column for column in columns if isinstance(column, dict)] if isinstance(columns, list) else []


def _ask_for_trial(document: Document, given: Mapping[str, str], _: Known) -> None:
    """Try this many rows first, and wait for an approval; without a number, run all rows at once."""
    rows = given.get("value", "").strip()
    if rows:
        document.update(with_trial(document, _number(rows)))
    else:
        document.pop("trial", None)


def _choose_format(document: Document, given: Mapping[str, str], _: Known) -> None:
    """Write the output as this format, too, or no longer."""
    name, wanted = given.get("name", ""), given.get("value") == "true"
    types = [one for one in output_formats(document) if one != name or wanted]
    if wanted and name not in types:
        types.append(name)
    if types in ([], ["csv"]):
        _remove(document, ["output_format", "type"])
    else:
        _put(document, ["output_format", "type"], types)


def output_formats(document: Document) -> list[str]:
    """The formats that the document asks for, as far as it can be read; ``csv`` is always among them."""
    part = document.get("output_format")
    form = _part(OutputFormat, part)
    return list(form.types if form else OutputFormat().types)


FORMATS_BESIDE_CSV = tuple(name for name in get_args(OutputFormatName) if name != "csv")

CHANGES = (
    Change("set", "set the value at `path`, or remove it", _set),
    Change("target", "name the target, and map what fits", _choose_target),
    Change("guess", "map what fits the target: columns to its fields, and the output that it declares", _guess),
    Change("map", "send a column as `field`", _map),
    Change("add_column", "add a column of the output", _add_column),
    Change("move_column", "move a column of the output to another place", _move_column),
    Change("trial", "try this many rows first", _ask_for_trial),
    Change("format", "write the output as the format `name`, too", _choose_format),
)


@dataclass(frozen=True)
class Setting:
    """A field of the document that the page has a field for. ``choices`` are pairs of value and title."""

    path: str
    title: str
    type: str = "text"
    choices: tuple[tuple[str, str], ...] = ()
    hint: str = ""

    def value(self, document: Document) -> str:
        """The document's value there, as text; "" if it has none."""
        place: Any = document
        for step in _steps(self.path):
            if not isinstance(place, dict) or step not in place:
                return ""
            place = place[step]
        return place if isinstance(place, str) else json.dumps(place, ensure_ascii=False)


READING = (
    Setting("input_format.encoding", "Encoding", hint="such as cp1252"),
    Setting(
        "input_format.delimiter",
        "Between cells",
        "character",
        choices=((",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "pipe"), (" ", "space"), (":", "colon")),
    ),
    Setting("input_format.sheet", "Sheet", hint="of a workbook"),
    Setting("input_format.skip_lines", "Lines to skip", "number"),
    Setting("input_format.header", "Header", "flag", choices=(("true", "the first line"), ("false", "there is none"))),
)
"""How the file is read. Left empty, it is detected."""
RUNNING = (
    Setting("execution_config.max_concurrency", "Rows in flight", "number", hint="1"),
    Setting("execution_config.rate.rows_per_minute", "Rows a minute", "number", hint="no limit"),
    Setting("execution_config.timeout_seconds", "Seconds a row", "number", hint="300"),
    Setting("execution_config.max_rows", "First rows only", "number", hint="all"),
    Setting("execution_config.stop_after.cost_usd", "Stop at USD", "number", hint="never"),
    Setting("execution_config.stop_after.failed_rows", "Stop at failed rows", "number", hint="never"),
)
"""Settings of the run. The hint is the value that applies if the field is empty."""


# --- what comes of a document


@dataclass(frozen=True)
class Field:
    """A field that the target gets. ``constant``: it has a static value or a transformation, and no column."""

    name: str
    column: str = ""
    description: str = ""
    required: bool = False
    declared: bool = False
    constant: bool = False


@dataclass(frozen=True)
class InputRow:
    """A row of the sample as the target gets it, as JSON; or why it cannot be mapped."""

    row: int
    input: str = ""
    error: str = ""


@dataclass(frozen=True)
class OutColumn:
    """A mapped column of the output, with its cell in the row that was tried."""

    name: str
    source: str
    type: str
    value: str = ""
    state: str = ""
    """``found``, ``missing`` (the answer has nothing there), ``unfit`` (not of the type); "" if no row was tried."""


@dataclass(frozen=True)
class Look:
    """A document as a run would use it. ``problems`` lists everything that is wrong or still missing."""

    document: Document
    problems: list[Problem]
    fields: list[Field]
    unused: list[str]
    inputs: list[InputRow]
    columns: list[OutColumn]
    columns_are_from_schema: bool = False


def read_text(text: str) -> Document:
    """The document of a text; {} of an empty one. Raises ClientError."""
    try:
        document = parse_json(text) if text.strip() else {}
    except ValueError as broken:
        raise ClientError(f"The document is {broken}.") from None
    if not isinstance(document, dict):
        raise ClientError("The document is one JSON object: it begins with { and ends with }.")
    return dict(with_one_name(document))


def text_of(document: Document) -> str:
    """The document as text for a person."""
    return json_text(document)


def json_text(value: Any) -> str:
    """JSON as text for a person."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def texts(value: Any) -> dict[str, str]:
    """The texts of what should be an object of texts."""
    return {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


def input_form(document: Document) -> InputFormat:
    """The document's settings for reading its file; the defaults if they are not valid."""
    return _part(InputFormat, document.get("input_format")) or InputFormat()


def look(document: Document, known: Known, tried: Tried | None = None) -> Look:
    """The document as a run would use it."""
    completed: Any = document
    problems: list[Problem] = []
    try:
        completed = complete(document, DeploymentConfig(), schema_of(known.target)).document
    except DeploymentError as wrong:
        problems.append(Problem("target", "", str(wrong), "correct the schema, or name another target"))
    try:
        config = parse_document(completed)
    except InvalidInputError as invalid:
        problems += invalid.problems
        replaced = frozenset(DEFAULT_METADATA_COLUMNS)
    else:
        problems += problems_against_header(config, known.columns) if known.sample else []
        replaced = replaced_columns(config, known.columns)
    mapping = _part(InputMapping, document.get("input_mapping"))
    fields = list(_fields(mapping or InputMapping(), known))
    problems += [
        Problem("input_mapping", "", f"{known.target.name} needs {one.name}", "choose the column that has it")
        for one in fields
        if known.target and known.sample and mapping and one.required and not one.column and not one.constant
        if not (mapping.is_empty and one.name in known.columns)
    ]
    used = {one.column for one in fields}
    own = _columns(document)
    return Look(
        document=document,
        problems=problems,
        fields=fields,
        unused=[] if mapping and mapping.is_empty else [column for column in known.columns if column not in used],
        inputs=list(_inputs(mapping, known, replaced)),
        columns=out_columns(completed, _cells(completed, known, tried)),
        columns_are_from_schema=not own and bool(_columns(completed)),
    )


def _part(model: type[Part], given: Any) -> Part | None:
    """A part of a document; None if it is not valid. The problems of the whole document say why."""
    try:
        return model.model_validate({} if given is None else given)
    except ValidationError:
        return None


def _fields(mapping: InputMapping, known: Known) -> Iterator[Field]:
    """The fields that the target declares, then the others that it gets."""
    column_of = {name: column for column, name in mapping.column_mappings.items()}
    constant = {*mapping.static_values, *mapping.transformations}
    declared = known.target.input if known.target else {}
    for name, what in declared.items():
        yield Field(name, column_of.get(name, ""), what.description, what.required, True, name in constant)
    for name in dict.fromkeys([*column_of, *mapping.static_values, *mapping.transformations]):
        if name not in declared:
            yield Field(name, column_of.get(name, ""), constant=name in constant)


def _inputs(mapping: InputMapping | None, known: Known, replaced: Collection[str]) -> Iterator[InputRow]:
    if mapping is None or known.sample is None:
        return
    try:
        mapper = compile_input_mapping(mapping, known.columns, replaced)
    except KeyError:
        return  # the problems name the column
    for number, cells in enumerate(known.sample.rows, 1):
        try:
            yield InputRow(number, json.dumps(mapper.map(cells), ensure_ascii=False, indent=2))
        except MappingError as error:
            yield InputRow(number, error=str(error))


def _cells(document: Any, known: Known, tried: Tried | None) -> Mapping[str, Cell]:
    """The cells of the mapped columns in the answer of the tried row; {} without one."""
    mapping = _part(OutputMapping, _section(document))
    if tried is None or tried.status is not RowStatus.SUCCESS or mapping is None or known.target is None:
        return {}
    mapper = compile_output_mapping(mapping)
    mapped = mapper.map(tried.answer, kind_of(known.target).read_kept(tried.answer).payload)
    return cells_of(dict(zip(mapper.names, mapped.values, strict=True)), mapped.missing, mapped.cast_failures)


def _section(document: Any) -> Any:
    return document.get("output_mapping") if isinstance(document, dict) else None


def cells_of(values: Mapping[str, str], missing: Collection[str], unfit: Collection[str]) -> dict[str, Cell]:
    """The cells of mapped columns, each with its state (``OutColumn.state``)."""
    states = {**dict.fromkeys(missing, "missing"), **dict.fromkeys(unfit, "unfit")}
    return {name: (value, states.get(name, "found")) for name, value in values.items()}


def out_columns(document: Any, cells: Mapping[str, Cell]) -> list[OutColumn]:
    """The mapped columns of a document with their cells; as they are written, if one is not valid."""
    mapping = _part(OutputMapping, _section(document))
    if mapping is None:
        columns = _columns(document) if isinstance(document, dict) else []
        return [OutColumn(*(str(one.get(name) or "") for name in ("name", "source", "type"))) for one in columns]
    return [
        OutColumn(one.name, one.source or "", one.type, *cells.get(one.name, ("", "")))
        for one in mapping.mapped_columns
    ]


# --- the keys of an answer


@dataclass(frozen=True)
class Node:
    """A place in an answer: its path, its name there, how deep it is, and the beginning of its value as text."""

    path: str
    label: str
    level: int
    value: str = ""


def nodes_of(answer: Any) -> list[Node]:
    """The places in an answer that a column can have, from the top: up to ``MOST_NODES``, ``MOST_LEVELS`` deep."""
    found: list[Node] = []
    _walk(found, answer, "$", "the whole answer", 0)
    return found


def _walk(found: list[Node], value: Any, path: str, label: str, level: int) -> None:
    if len(found) >= MOST_NODES or level > MOST_LEVELS:
        return
    inner = isinstance(value, dict | list) and bool(value)
    found.append(Node(path, label, level, "" if inner else _short(value)))
    if isinstance(value, dict):
        for name, member in value.items():
            _walk(found, member, path + path_of_name(name)[1:], name, level + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value[:MOST_ITEMS]):
            _walk(found, item, f"{path}[{index}]", f"[{index}]", level + 1)
        if len(value) > 1:
            found.append(Node(f"{path}[*]", f"all {len(value):,}", level + 1))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
