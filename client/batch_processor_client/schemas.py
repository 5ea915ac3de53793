"""Operations on the schemas of agents' outputs, ``schemas/<agent>.yaml``. They need no deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from batch_processor_client.errors import ClientError
from batch_processor_client.yaml_files import FileProblem, FileProblemsError, YamlFile, parse_yaml, read_yaml
from foundation.errors import Problem
from foundation.json_text import parse_json
from foundation.problems import closest, listed
from row_batches.document.agent_schema import MAX_SCHEMA_BYTES, AgentSchema, schema_hash
from row_batches.extraction.extractor import Extractor
from row_batches.mapping.mapping_out import compile_output_mapping
from row_batches.mapping.models import OutputMapping
from row_batches.targets.answer import parse_answer
from row_batches.targets.protocol import Outcome, read_agent_answer, read_tool_answer

FOLDER = Path("schemas")
LOCK = "schemas.lock.json"
"""By agent and version the ``schema_hash`` of the file. Terraform reads it, too."""
MOST_BYTES = 20 * 1024 * 1024
"""The largest saved answer that is read."""

Lock = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """A schema that is valid, with its hash."""

    path: Path
    schema: AgentSchema
    sha256: str


class Attempted(BaseModel):
    """The result of one extraction for one field: found at ``where``, or not found for ``reason``."""

    model_config = ConfigDict(frozen=True)

    field: str
    method: str
    found: bool
    value: Any = None
    where: str = ""
    reason: str = ""


class Tried(BaseModel):
    """A schema on one answer. ``cells`` are the columns of the row; ``refused`` says why the row would fail instead.

    ``is_text``: the answer is not JSON, or is a JSON text.
    """

    model_config = ConfigDict(frozen=True)

    agent: str
    version: str
    cells: dict[str, str]
    methods: dict[str, str]
    missing: list[str]
    attempts: list[Attempted]
    refused: str = ""
    is_text: bool = False


def read_schema(path: Path) -> SchemaFile:
    """Raises FileProblemsError naming every mistake in the file, its line and the fix."""
    file = read_yaml(path)
    schema = file.check(AgentSchema, path.name)
    problems = list(_problems_of_name(path, file, schema)) + list(_problems_of_size(file))
    if problems:
        raise FileProblemsError(problems)
    return SchemaFile(path, schema, schema_hash(file.value))


def parse_schema(text: str, name: str = "the schema") -> AgentSchema:
    """The schema in a YAML or JSON text. Raises FileProblemsError naming every mistake, its line and the fix."""
    file = parse_yaml(name, text.encode())
    schema = file.check(AgentSchema, name)
    problems = list(_problems_of_size(file))
    if problems:
        raise FileProblemsError(problems)
    return schema


def _problems_of_name(path: Path, file: YamlFile, schema: AgentSchema) -> Iterator[FileProblem]:
    if schema.agent != path.stem:
        fix = f"rename the file to {schema.agent}.yaml, or correct agent"
        problem = Problem("agent", schema.agent, f"the file is {path.name}", fix)
        yield FileProblem(path.name, file.line_of(("agent",)), problem)


def _problems_of_size(file: YamlFile) -> Iterator[FileProblem]:
    size = len(json.dumps(file.value).encode())
    if size > MAX_SCHEMA_BYTES:
        fix = "shorten descriptions and patterns"
        yield FileProblem(file.name, 1, Problem("the file", f"{size:,} bytes", f"more than {MAX_SCHEMA_BYTES:,}", fix))


def check_schemas(folder: Path = FOLDER) -> list[SchemaFile]:
    """All schemas of a folder. Raises FileProblemsError naming every mistake in all of them.

    A schema that is not locked under its version, or was locked with another content, is a mistake too.
    """
    schemas, problems = _read_all(folder)
    lock = _read_lock(folder)
    problems += [problem for schema in schemas for problem in _problems_of_lock(schema, lock)]
    if problems:
        raise FileProblemsError(problems)
    return schemas


def lock_schemas(folder: Path = FOLDER) -> list[str]:
    """Add versions that are new to the lock file; ``<agent> <version>`` of each.

    Raises FileProblemsError when a schema is wrong, or has changed under a version that is locked.
    """
    schemas, problems = _read_all(folder)
    lock = _read_lock(folder)
    new = [one for one in schemas if one.schema.version not in lock.get(one.schema.agent, {})]
    problems += [problem for one in schemas if one not in new for problem in _problems_of_lock(one, lock)]
    if problems:
        raise FileProblemsError(problems)
    for one in new:
        lock.setdefault(one.schema.agent, {})[one.schema.version] = one.sha256
    if new:
        (folder / LOCK).write_text(json.dumps(lock, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return [f"{one.schema.agent} {one.schema.version}" for one in new]


def _read_all(folder: Path) -> tuple[list[SchemaFile], list[FileProblem]]:
    if not folder.is_dir():
        raise ClientError(f"{folder} is not a folder.")
    schemas: list[SchemaFile] = []
    problems: list[FileProblem] = []
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        if path.suffix == ".yml":
            problem = Problem("the file", path.name, "Terraform reads *.yaml only", f"rename it to {path.stem}.yaml")
            problems.append(FileProblem(path.name, 1, problem))
            continue
        try:
            schemas.append(read_schema(path))
        except FileProblemsError as wrong:
            problems += wrong.problems
    return schemas, problems


def _read_lock(folder: Path) -> Lock:
    path = folder / LOCK
    try:
        lock = parse_json(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise ClientError(f"{path} cannot be read: {error}. Restore it from version control.") from None
    hashes = [versions for versions in lock.values() if isinstance(versions, dict)] if isinstance(lock, dict) else []
    if not isinstance(lock, dict) or len(hashes) < len(lock):
        raise ClientError(f"{path} is not a lock file of schemas. Restore it from version control.")
    return lock


def _problems_of_lock(one: SchemaFile, lock: Lock) -> Iterator[FileProblem]:
    version = one.schema.version
    locked = lock.get(one.schema.agent, {}).get(version)
    line = read_yaml(one.path).line_of(("version",))
    if locked is None:
        problem = Problem("version", version, f"not in {LOCK}", "run make schema-lock and commit the file")
        yield FileProblem(one.path.name, line, problem)
    elif locked != one.sha256:
        fix = "give it a new version and run make schema-lock, or take the change back"
        problem = Problem("version", version, "the schema is not the one that was locked under this version", fix)
        yield FileProblem(one.path.name, line, problem)


def try_schema(agent: str, answer: Path, folder: Path = FOLDER) -> Tried:
    """The fields that an agent's schema extracts from a saved answer, from where, and why other methods did not."""
    path = folder / f"{agent}.yaml"
    if not path.exists():
        known = sorted(one.stem for one in folder.glob("*.yaml"))
        nearest = closest(agent, known)
        hint = f" Did you mean {nearest}?" if nearest else ""
        raise ClientError(f"There is no schema {path}.{hint} There are: {listed(known) or 'none'}.")
    return try_answer(read_schema(path).schema, read_saved(answer))


def try_answer(schema: AgentSchema, answer: Any) -> Tried:
    """The fields that a schema extracts from an answer (``read_saved``, ``parse_answer``), as ``try_schema``."""
    outcome = read_outcome(answer)
    mapping = OutputMapping.model_validate(schema.output_mapping())
    extractor = Extractor(schema.extraction_methods, schema.transforms)
    extracted = extractor.extract(outcome.answer, outcome.payload)
    mapper = compile_output_mapping(mapping)
    attempts = [
        Attempted(**{name: value for name, value in attempt._asdict().items() if name != "position"})
        for attempt in extractor.explain(outcome.answer, outcome.payload)
    ]
    return Tried(
        agent=schema.agent,
        version=schema.version,
        cells=dict(zip(mapper.names, mapper.map(outcome.answer, outcome.payload).values, strict=True)),
        methods=extracted.methods,
        missing=extracted.missing,
        attempts=attempts,
        refused=outcome.error_message,
        is_text=isinstance(answer, str),
    )


def read_saved(path: Path) -> Any:
    """The answer in a file, as a run reads it: one that is not JSON is its text. Raises ClientError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ClientError(f"{path} has more than {MOST_BYTES:,} bytes, more than any answer of a target can have.")
        return parse_answer(path.read_bytes()).value
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}.") from None


def read_outcome(answer: Any) -> Outcome:
    """The answer as a run reads it. Its form tells whether a tool or an agent gave it."""
    if isinstance(answer, dict) and answer.get("type") == "tool_result":
        return read_tool_answer(answer, str(answer.get("tool_use_id")))
    return read_agent_answer(answer)
