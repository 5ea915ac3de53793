"""The configuration of a batch: fields come from its document, else from the deployment, else from the defaults.

If neither says how answers are read, the schema of the target does. It also gives columns to a batch that has none.
A field of the document replaces the deployment's as a whole: fields are not merged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from foundation.errors import DeploymentError, Problem
from foundation.model_problems import ModelProblems
from row_batches.document.agent_schema import AgentSchema
from row_batches.document.deployment_config import FILE, DeploymentConfig
from row_batches.document.plan import EXTRACTION, SchemaVersion, Source, Target

DYNAMODB_ONLY = ("ttl_days", "enable_compression")
"""Fields of ``execution_config`` that only rows in DynamoDB can have. A deployment's default is for those alone."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A document with what the deployment and the target's schema add to it.

    ``sources``: of fields, by path; others have their default. ``schema`` is None when nothing of it was added.
    """

    document: Any
    sources: Mapping[str, Source]
    schema: AgentSchema | None = None

    def with_origins(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems. If a value does not come from the document, its problem says where it comes from."""
        origins = {Source.DEPLOYMENT: f"the deployment's, from {FILE}"}
        if self.schema is not None:
            origins[Source.SCHEMA] = f"that of the schema {self.schema.agent}, version {self.schema.version}"
        added = {path: origins[source] for path, source in self.sources.items() if source in origins}
        return [_with_origin(problem, added) for problem in problems]


def _with_origin(problem: Problem, added: Mapping[str, str]) -> Problem:
    origin = next((origin for path, origin in added.items() if problem.path.startswith(path)), None)
    return problem._replace(message=f"{problem.message}; the value is {origin}") if origin else problem


def complete(document: Any, deployment: DeploymentConfig, schema: AgentSchema | None = None) -> Completed:
    """Add what the document leaves out. ``schema`` is that of its target.

    What is not an object stays as it is: the document's own checks refuse it.
    """
    if not isinstance(document, dict):
        return Completed(document, {})
    sources: dict[str, Source] = {}
    execution, mapping = (_section(document, name) for name in ("execution_config", "output_mapping"))
    parts: dict[str, Any] = {}
    if execution is not None:
        added = {name: value for name, value in deployment.execution_defaults.items() if name not in execution}
        if (execution | added).get("storage_mode") != "dynamodb":
            added = {name: value for name, value in added.items() if name not in DYNAMODB_ONLY}
        parts["execution_config"] = _part("execution_config", execution, added, sources)
    target = _section(document, "target") or {}
    applied = None
    if mapping is not None and isinstance(target.get("name"), str):
        has_own = mapping.get("extraction_methods") is not None
        added = {} if has_own else deployment.extraction_of(target["name"])
        source = Source.DEPLOYMENT
        if not added and (added := of_schema(mapping, schema)):
            source, applied = Source.SCHEMA, schema
        added = without_own_transforms(added, mapping)
        parts["output_mapping"] = _part("output_mapping", mapping, added, sources, source, only=EXTRACTION)
    return Completed(document | {name: part for name, part in parts.items() if part}, sources, applied)


def of_schema(mapping: Mapping[str, Any], schema: AgentSchema | None) -> dict[str, Any]:
    """The additions of a schema to an ``output_mapping``: its columns, and its methods unless the mapping has some."""
    if schema is None or mapping.get("extraction_methods") is not None:
        return {}
    added = schema.output_mapping()
    return {name: value for name, value in added.items() if name != "columns"} if mapping.get("columns") else added


def without_own_transforms(added: Mapping[str, Any], mapping: Mapping[str, Any]) -> dict[str, Any]:
    """The additions to an ``output_mapping``. Transforms of the mapping replace the added ones."""
    return {name: value for name, value in added.items() if name != "transforms" or not mapping.get(name)}


def schema_of(target: Target | None) -> AgentSchema | None:
    """The schema that is registered with the target. Raises DeploymentError when it is not valid."""
    if target is None or not target.output_schema_document:
        return None
    try:
        return AgentSchema.model_validate_json(target.output_schema_document)
    except ValidationError as invalid:
        problems = "; ".join(map(str, ModelProblems(AgentSchema, "schema").of(invalid)))
        raise DeploymentError(
            f"The schema {target.output_schema} of the target {target.name} is not valid: {problems}. Correct "
            f"schemas/{target.output_schema}.yaml, look with make schema-check, and apply."
        ) from None


def schema_version(target: Target, schema: AgentSchema) -> SchemaVersion:
    """The entry of an applied schema in the plan and the summary."""
    text = target.output_schema_document or ""
    return SchemaVersion(agent=schema.agent, version=schema.version, sha256=hashlib.sha256(text.encode()).hexdigest())


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """A section; empty when it is left out, None when it is no object."""
    section = document.get(name)
    if section is None:
        return {}
    return section if isinstance(section, dict) else None


def _part(
    name: str,
    own: dict[str, Any],
    added: dict[str, Any],
    sources: dict[str, Source],
    source: Source = Source.DEPLOYMENT,
    only: Iterable[str] = (),
) -> dict[str, Any]:
    sources |= {f"{name}.{field}": Source.DOCUMENT for field in own if not only or field in only}
    sources |= {f"{name}.{field}": source for field in added}
    return own | added
