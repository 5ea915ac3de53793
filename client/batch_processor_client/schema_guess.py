"""Proposes the schema of an agent from saved answers. A person must check and correct it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from batch_processor_client.errors import ClientError
from batch_processor_client.schemas import read_outcome, read_saved
from foundation.json_path import path_of_name
from row_batches.document.agent_schema import AgentSchema
from row_batches.extraction.answer_view import AnswerView
from row_batches.extraction.content_blocks import content_of, find_json, json_of_content
from row_batches.extraction.extractor import Extractor
from row_batches.extraction.methods import METHOD_OF, METHOD_OF_SCHEMA_TYPE, PRINT_OUTPUT

MOST_ANSWERS = 1_000
MOST_FIELDS = 50
MOST_LEVELS = 4
LEAST_SHARE = 0.2
"""The smallest share of answers that have a field. Fields of fewer answers are left out."""
_LABELLED = re.compile(r"[\s*_#>-]*(?P<label>[A-Za-z][A-Za-z0-9 _/-]{0,40}?)\**:\**[ \t]+\S")
_PROTOCOL = frozenset({"messages", "structured_output", "result", "metadata", "stopReason", "usage"})
"""Keys of answers that are not about the row."""


class Guess(BaseModel):
    """``text`` is the proposed file. ``found``: in how many of the ``answers`` it finds each field."""

    model_config = ConfigDict(frozen=True)

    text: str
    answers: int
    found: dict[str, int]


@dataclass
class _Candidate:
    """A field that some answers have. ``places``: the entries of ``extraction`` that find it, and in how many."""

    names: Counter[str] = field(default_factory=Counter)
    places: dict[tuple[tuple[str, str], ...], int] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)


def guess_schema(folder: Path, agent: str | None = None) -> Guess:
    """From the ``*.json`` in a folder, each one answer. Raises ClientError when there is none or nothing in them."""
    paths = sorted(folder.glob("*.json"))[:MOST_ANSWERS]
    if not paths:
        raise ClientError(f"{folder} has no *.json: save some answers there, one a file.")
    answers = [read_outcome(read_saved(path)) for path in paths]
    candidates: dict[frozenset[str], _Candidate] = {}
    for outcome in answers:
        view = AnswerView(outcome.answer, outcome.payload)
        seen: set[tuple[frozenset[str], Any]] = set()
        for name, entry, value in _evidence(view):
            key = _key(name)
            candidate = candidates.setdefault(key, _Candidate())
            place = tuple(sorted(entry.items()))
            if (key, place) not in seen:
                seen.add((key, place))
                candidate.names[name] += 1
                candidate.places[place] = candidate.places.get(place, 0) + 1
                candidate.values.append(value)
    least = LEAST_SHARE * len(answers)
    fields = [_field(one) for one in candidates.values() if max(one.places.values()) >= least][:MOST_FIELDS]
    if not fields:
        raise ClientError(f"No fields were recognised in the answers in {folder}: write the schema by hand.")
    value = {
        "agent": re.sub(r"[^A-Za-z0-9_-]", "-", agent or folder.resolve().name)[:64] or "agent",
        "version": "1",
        "output_format": _format(fields),
        "fields": fields,
    }
    schema = AgentSchema.model_validate(value)
    extractor = Extractor(schema.extraction_methods, schema.transforms)
    found = Counter(name for one in answers for name in extractor.extract(one.answer, one.payload).methods)
    counts = {one["name"]: found[one["name"]] for one in fields}
    return Guess(text=_text(value, counts, len(answers)), answers=len(answers), found=counts)


def _evidence(view: AnswerView) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Name, entry of ``extraction`` and value of everything that could be a field."""
    structured = METHOD_OF["structured_output"].model_validate(
        {"method": "structured_output", "tool_name": PRINT_OUTPUT, "field_mappings": {"all": "$"}}
    )
    for document in structured.documents(view):
        for steps, value in _leaves(document.value):
            yield _name(steps), {"type": "structured", "path": _path(steps)}, value
    for result in view.tool_results:
        tool = {"tool": result.tool} if result.tool else {}
        if result.failed or result.tool == PRINT_OUTPUT:
            continue
        value = json_of_content(result.content)
        if value is None:
            yield from _labelled(content_of(result.content), tool)
        for steps, leaf in _leaves(value):
            yield _name(steps), {"type": "tool_result", **tool, "path": _path(steps)}, leaf
    yield from _of_payload(view)


def _labelled(text: Any, tool: dict[str, str]) -> Iterator[tuple[str, dict[str, str], Any]]:
    for line in text.splitlines() if isinstance(text, str) else ():
        match = _LABELLED.match(line)
        if match is not None:
            label = match["label"].strip()
            pattern = re.sub(r"([^A-Za-z0-9 _/-])", r"\\\1", label) + ": (.+)"
            yield _name([label]), {"type": "tool_result", **tool, "pattern": pattern}, line.partition(":")[2].strip()


def _of_payload(view: AnswerView) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Fields of the payload and of JSON texts, also in messages, and of the first of their results."""
    documents = [document.value for document in view.documents()]
    texts = [value for text in view.texts if (value := find_json(text.text)) is not None]
    for value in (documents[1:] or documents) + texts:
        results = value.get("results") if isinstance(value, dict) else value
        if isinstance(results, list) and results and isinstance(results[0], dict) and "role" not in results[0]:
            for steps, leaf in _leaves(results[0]):
                if len(steps) == 1 and re.fullmatch(r"[A-Za-z_]\w*", str(steps[0]), re.ASCII):
                    yield _name(steps), {"type": "results_array", "path": f"results[0].{steps[0]}"}, leaf
        if isinstance(value, dict):
            own = {name: one for name, one in value.items() if name not in _PROTOCOL and _is_own(one)}
            for steps, leaf in _leaves(own):
                yield _name(steps), {"type": "direct", "path": _path(steps)}, leaf


def _is_own(value: Any) -> bool:
    """Whether it is neither a message nor a JSON text, which are looked into by themselves."""
    is_text = isinstance(value, str) and value.lstrip()[:1] in ("{", "[")
    return not is_text and not (isinstance(value, dict) and "message" in value)


def _leaves(value: Any, steps: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The scalars in objects, with the names that lead there."""
    if isinstance(value, dict) and len(steps) < MOST_LEVELS:
        for name, member in value.items():
            yield from _leaves(member, (*steps, str(name)))
    elif steps and value is not None and not isinstance(value, dict | list):
        yield steps, value


def _path(steps: tuple[str, ...]) -> str:
    return "$" + "".join(path_of_name(step)[1:] for step in steps)


def _name(steps: Any) -> str:
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", "_".join(steps))
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:90]
    return name if re.match("[a-z]", name) else f"field_{name}".rstrip("_")


def _key(name: str) -> frozenset[str]:
    """The same for ``speeds_download`` and ``download_speed``."""
    return frozenset(word.rstrip("s") for word in name.split("_"))


def _field(candidate: _Candidate) -> dict[str, Any]:
    places = sorted(candidate.places, key=lambda place: -candidate.places[place])[:10]
    name, _ = candidate.names.most_common(1)[0]
    order = ("type", "tool", "path", "pattern")
    entries = [{part: dict(place)[part] for part in order if part in dict(place)} for place in places]
    return {"name": name, "type": _type(candidate.values), "extraction": entries}


def _type(values: list[Any]) -> str:
    if all(isinstance(value, bool) for value in values):
        return "boolean"
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return "number" if is_number else "string"


def _format(fields: list[dict[str, Any]]) -> str:
    types = [{entry["type"] for entry in one["extraction"]} for one in fields]
    if all(any(METHOD_OF_SCHEMA_TYPE[name].is_structured for name in one) for one in types):
        return "structured"
    return "mixed" if any("structured" in one for one in types) else "text"


def _text(value: dict[str, Any], counts: dict[str, int], answers: int) -> str:
    lines = [f"# {name}: found in {count:,} of {answers:,} answers" for name, count in counts.items()]
    body = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)
    return "\n".join(["# Guessed: remove what you do not need, and correct names and patterns.", *lines, body])
