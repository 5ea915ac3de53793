"""Reads the YAML files that people write, with the line of each value, and checks them against a model.

Terraform reads the same files by ``yamldecode``. Values that YAML 1.1, YAML 1.2 and Terraform read differently
(``yes``, ``010``, ``12:30``, dates) are refused, so that a file has one meaning. The file is data: tags, merge keys
and repeated keys are refused, and the expansion of anchors is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import ValidationError

from batch_processor_client.errors import ClientError
from foundation.errors import Problem
from foundation.model_problems import Location, ModelProblems
from foundation.problems import path_of
from foundation.validation import Part

MOST_BYTES = 256 * 1024
MOST_VALUES = 20_000
"""After anchors are expanded."""
MOST_LEVELS = 50

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = re.compile("true|True|TRUE"), re.compile("false|False|FALSE")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_AMBIGUOUS = re.compile(
    r"[yYnN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF"
    r"|[-+]?0[0-9_]+|[-+]?0[box][0-9a-fA-F_]+|[-+]?[0-9][0-9_]*_[0-9_.]*|[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?"
)

Model = TypeVar("Model", bound=Part)


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A mistake in a file. ``line`` counts from 1."""

    file: str
    line: int
    problem: Problem

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.problem}"


class FileProblemsError(ClientError):
    """Raised when a file is wrong; names every mistake with its line and the fix."""

    def __init__(self, problems: Iterable[FileProblem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The content of a file as plain dicts, lists and scalars, with the line of each key and item by location."""

    name: str
    value: Any
    lines: Mapping[Location, int]

    def line_of(self, location: Location) -> int:
        """The line of the innermost part of the location that the file has."""
        return next(
            (self.lines[location[:end]] for end in range(len(location), -1, -1) if location[:end] in self.lines), 1
        )

    def check(self, model: type[Model], what: str) -> Model:
        """The file as the model; an empty file is an empty object. ``what``: how a problem names the file's root.

        Raises FileProblemsError.
        """
        try:
            return model.model_validate({} if self.value is None else self.value)
        except ValidationError as invalid:
            found = ModelProblems(model, what).located(invalid)
        problems = [FileProblem(self.name, self.line_of(located.location), located.problem) for located in found]
        raise FileProblemsError(sorted(problems, key=lambda problem: problem.line))


def read_yaml(path: Path, name: str = "") -> YamlFile:
    """The content of a file, which problems call ``name``, by default its own name.

    Raises FileProblemsError for a file that is not YAML or is refused, ClientError for one that cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}.") from None
    return parse_yaml(name or path.name, content)


def parse_yaml(name: str, content: bytes) -> YamlFile:
    """The content of a file of this name. Raises FileProblemsError if it is not YAML or is refused."""
    if len(content) > MOST_BYTES:
        _refuse(name, 1, f"the file has {len(content):,} bytes", f"keep it to {MOST_BYTES:,} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        _refuse(name, line, "the file is not UTF-8", "save it as UTF-8")
    try:
        node = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        fix = "correct it; indent with spaces, quote texts that begin with a special character"
        _refuse(name, mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}", fix)
    except yaml.YAMLError as error:
        _refuse(name, 1, f"not YAML: {getattr(error, 'reason', error)}", "remove control characters from the file")
    except RecursionError:
        _refuse(name, 1, "nested too deep", f"keep to {MOST_LEVELS} levels")
    builder = _Builder(name)
    value = None if node is None else builder.value_of(node, ())
    return YamlFile(name, value, builder.lines)


def _refuse(name: str, line: int, message: str, fix: str, path: Location = (), value: str = "") -> NoReturn:
    place = path_of(*path) or "the file"
    raise FileProblemsError([FileProblem(name, line, Problem(place, value, message, fix))]) from None


class _Composer(yaml.SafeLoader):
    """Nodes without any interpretation: ``_Builder`` reads the scalars."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (the loader's own attribute)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, f"tags such as {event.tag} are not allowed", event.start_mark)
        return super().compose_node(parent, index)


def _reads_as_no_text(text: str) -> bool:
    return any(kind.fullmatch(text) for kind in (_AMBIGUOUS, _NULL, _TRUE, _FALSE, _WHOLE, _NUMBER))


class _Builder:
    """Turns nodes into values, and notes their lines. Aliases are expanded, which ``MOST_VALUES`` bounds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = MOST_VALUES
        self.lines: dict[Location, int] = {}

    def value_of(self, node: yaml.Node, at: Location) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(at, line)
        self._left -= 1
        if self._left < 0:
            message = f"the file has more than {MOST_VALUES:,} values once its anchors are expanded"
            _refuse(self._name, self.lines.get(at[:1], line), message, "write less, and use fewer aliases")
        if len(at) > MOST_LEVELS:
            _refuse(self._name, line, "nested too deep", f"keep to {MOST_LEVELS} levels", at[:3])
        if isinstance(node, yaml.MappingNode):
            return {key: self.value_of(value, (*at, key)) for key, value in self._members(node, at)}
        if isinstance(node, yaml.SequenceNode):
            return [self.value_of(item, (*at, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, at, line)

    def _members(self, node: yaml.MappingNode, at: Location) -> list[tuple[str, yaml.Node]]:
        members: dict[str, yaml.Node] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                _refuse(self._name, line, "a key is not a text", "write a name before the colon", at)
            if key.value == "<<" and key.style is None:
                _refuse(self._name, line, "merge keys are not allowed", "write the fields out", at)
            if key.style is None and _reads_as_no_text(key.value):
                _refuse(
                    self._name, line, "YAML readers interpret this key differently", "put it in quotes", at, key.value
                )
            if key.value in members:
                _refuse(self._name, line, "the key is used twice", "keep one of them", (*at, key.value))
            self.lines[(*at, key.value)] = line
            members[key.value] = value
        return list(members.items())

    def _scalar(self, node: yaml.Node, at: Location, line: int) -> Any:
        text = str(node.value)
        if node.style is not None:  # type: ignore[attr-defined]  # a scalar's: quoted, or a block
            return text
        if _AMBIGUOUS.fullmatch(text):
            message = "YAML readers interpret this value differently"
            fix = "write true or false, a plain decimal number, or put a text in quotes"
            _refuse(self._name, line, message, fix, at, text)
        if _NULL.fullmatch(text):
            return None
        if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
            return _TRUE.fullmatch(text) is not None
        if _WHOLE.fullmatch(text) and len(text) < 20:
            return int(text)
        return float(text) if _NUMBER.fullmatch(text) else text
