"""The configuration that holds for a batch: its own document, else the deployment's, else the default.

A field of the document replaces the deployment's as a whole: there is no merging inside a field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from foundation.errors import Problem
from row_batches.document.deployment_config import FILE, DeploymentConfig
from row_batches.document.plan import EXTRACTION, Source

DYNAMODB_ONLY = ("ttl_days", "enable_compression")
"""Fields of ``execution_config`` that only rows in DynamoDB can have. A deployment's default is for those alone."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A document with what the deployment adds to it. ``sources``: of fields, by path; others have their default."""

    document: Any
    sources: Mapping[str, Source]

    def told(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems; those of the deployment's values say so."""
        added = tuple(path for path, source in self.sources.items() if source is Source.DEPLOYMENT)
        return [
            replace(problem, message=f"{problem.message}; the value is the deployment's, from {FILE}")
            if problem.path.startswith(added)
            else problem
            for problem in problems
        ]


def complete(document: Any, deployment: DeploymentConfig) -> Completed:
    """Add what the document leaves out. What is not an object stays as it is: the document's own checks refuse it."""
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
    if mapping is not None and isinstance(target.get("name"), str):
        has_own = mapping.get("extraction_methods") is not None
        added = {} if has_own else deployment.extraction_of(target["name"])
        parts["output_mapping"] = _part("output_mapping", mapping, added, sources, only=EXTRACTION)
    return Completed(document | {name: part for name, part in parts.items() if part}, sources)


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """A section; empty when it is left out, None when it is no object."""
    section = document.get(name)
    if section is None:
        return {}
    return section if isinstance(section, dict) else None


def _part(
    name: str, own: dict[str, Any], added: dict[str, Any], sources: dict[str, Source], only: Iterable[str] = ()
) -> dict[str, Any]:
    sources |= {f"{name}.{field}": Source.DOCUMENT for field in own if not only or field in only}
    sources |= {f"{name}.{field}": Source.DEPLOYMENT for field in added}
    return own | added
