"""The registry of transforms, which change a value that a method has found.

To add one, add an entry to ``TRANSFORMS``. The checks, the commands and the reference page are derived from it. A file
can define further ones, each a regular expression (``RegexTransform``).
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from foundation.json_text import parse_json
from foundation.problems import did_you_mean, listed
from foundation.regular_expressions import compile_pattern
from foundation.validation import Part, compiles, matches, refuse
from row_batches.extraction.content_blocks import find_json, text_of

Apply = Callable[[Any, str], Any]
"""From a value and the name of its field to another value. Raises ValueError, saying why, when it does not fit."""

MOST_LABEL_CHARACTERS = 400
"""A label ends within this many characters of its line. The name of a field is shorter."""
_LABEL_WRAPPING = " \t*_`#>|-•"
_VALUE_WRAPPING = " \t*`"
_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?")


class Transform(NamedTuple):
    """A named transform."""

    name: str
    apply: Apply
    doc: str


def _parse_text(value: Any, field: str) -> Any:
    """The field's value in a text: of a JSON object, else behind a label, else the text if it is one line."""
    read = _read_text(text_of(value).strip())
    if read.document is not None and field in read.document:
        return read.document[field]
    wanted = _label(field)
    if wanted in read.labelled:
        return read.labelled[wanted]
    if read.document is not None:
        raise ValueError(f"the JSON object in the text has no {field}")
    if read.whole is not None:
        return read.whole
    raise ValueError(f"the text has no line that begins with {wanted}:")


class _Text(NamedTuple):
    """Parts of a text that ``parse_text`` uses: a JSON object, values by label, or its only line without a label."""

    document: dict[str, Any] | None
    labelled: dict[str, str]
    whole: str | None


@lru_cache(maxsize=8)
def _read_text(text: str) -> _Text:
    """Scan a text once for all fields that are read from it. Memory: the last 8 texts."""
    document = find_json(text)
    if not isinstance(document, dict):
        document = None
    elif text[0] == "{":
        return _Text(document, {}, None)
    lines = text.splitlines()
    labelled: dict[str, str] = {}
    for line in lines:
        label, colon, _ = line[:MOST_LABEL_CHARACTERS].partition(":")
        found = line[len(label) + 1 :].strip(_VALUE_WRAPPING) if colon else ""
        if found:
            labelled.setdefault(_label(label), found)
    return _Text(document, labelled, text if len(lines) == 1 and not _is_labelled(lines[0]) else None)


def _label(text: str) -> str:
    return " ".join(text.strip(_LABEL_WRAPPING).replace("_", " ").replace("-", " ").lower().split())


def _is_labelled(line: str) -> bool:
    return re.match(r"[\w *-]{1,40}: ", line) is not None


def _first_line(value: Any, _: str) -> str:
    for line in text_of(value).splitlines():
        if line.strip():
            return line.strip()
    raise ValueError("the text is empty")


def _number(value: Any, _: str) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    match = _NUMBER.search(text_of(value))
    if match is None:
        raise ValueError("the text holds no number")
    text = match[0].replace(",", "")
    number = int(text) if text.lstrip("+-").isdigit() else float(text)
    if math.isinf(number):
        raise ValueError("the number is too large")
    return number


def _json(value: Any, _: str) -> Any:
    if not isinstance(value, str):
        return value
    return found if (found := find_json(value)) is not None else parse_json(value)


TRANSFORMS = (
    Transform(
        "parse_text",
        _parse_text,
        "the field's value in a text: from a JSON object in the text; or after the field's name and a colon at the "
        "start of a line (`Download speed: 67 Mbps`; letter case, `_`, `-` and Markdown do not matter); or the whole "
        "text, if it is one line without such a label",
    ),
    Transform("text", lambda value, _: text_of(value), "the text of content blocks, one per line"),
    Transform("strip", lambda value, _: text_of(value).strip(), "the text without leading and trailing white space"),
    Transform("first_line", _first_line, "the first line that is not blank, without leading and trailing white space"),
    Transform("number", _number, "the first number in the text: `1,234.5` of `about 1,234.5 Mbps`"),
    Transform("lower", lambda value, _: text_of(value).lower(), "the text in lower case"),
    Transform("upper", lambda value, _: text_of(value).upper(), "the text in upper case"),
    Transform("json", _json, "the JSON value in the text, also in a fenced code block"),
)
TRANSFORM_OF = {transform.name: transform for transform in TRANSFORMS}


class RegexTransform(Part):
    """A transform that a file defines: the text of a group in the first match."""

    regex: Annotated[
        str, compiles(compile_pattern, "not a regular expression", "write a pattern within RE2's limits")
    ] = Field(description="RE2 syntax, up to 2,000 characters")
    group: int | None = Field(
        default=None, ge=0, description="the group to take; none: the first, or all of the match without groups"
    )

    @field_validator("group")
    @classmethod
    def _check_group(cls, group: int | None, info: ValidationInfo) -> int | None:
        if group is not None and "regex" in info.data:
            check_group(info.data["regex"], group)
        return group

    def apply(self, value: Any, field: str) -> str:  # noqa: ARG002 (the same for every field)
        return search_text(self.regex, self.group, value)


def check_group(pattern: str, group: int) -> None:
    """Refuse a group that the pattern does not have."""
    groups = compile_pattern(pattern).groups
    if group > groups:
        refuse(
            f"group {group} does not exist: the pattern has {groups} groups",
            "put parentheses around the part to take, or take group 0 for the whole match",
        )


def search_text(pattern: str, group: int | None, value: Any) -> str:
    """The group of the first match in the value's text, without white space at its ends.

    Raises ValueError when there is none.
    """
    compiled = compile_pattern(pattern)
    found = compiled.search(text_of(value), min(compiled.groups, 1) if group is None else group)
    if found is None:
        raise ValueError(f"the pattern {pattern!r} does not match")
    return found.strip()


def _check_names(transforms: dict[str, RegexTransform]) -> dict[str, RegexTransform]:
    for name in transforms:
        if name in TRANSFORM_OF or name == "parse":
            refuse(f"{name} is a built-in transform", "choose another name", at=(name,))
    return transforms


TransformName = Annotated[
    str,
    matches(
        r"[a-z][a-z0-9_]{0,63}",
        "a transform's name has 1 to 64 lower-case letters, digits and _",
        "write a name such as extract_exchange",
    ),
]
Transforms = Annotated[dict[TransformName, RegexTransform], AfterValidator(_check_names)]


def find_transform(name: str, defined: Mapping[str, RegexTransform]) -> Apply:
    """The function of a transform: a built-in one or one of ``defined``.

    Raises ValueError for an unknown name, with the closest known one.
    """
    if name in TRANSFORM_OF:
        return TRANSFORM_OF[name].apply
    if name in defined:
        return defined[name].apply
    known = [*TRANSFORM_OF, *defined]
    raise ValueError(f"unknown transform {name}; {did_you_mean(name, known)}known: {listed(known, 30)}")
