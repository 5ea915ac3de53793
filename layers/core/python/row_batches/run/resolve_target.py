"""Finds the target of a document in the registry. Each check adds its problems, so that the others still run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from foundation.errors import Problem
from foundation.problems import did_you_mean
from row_batches.document.batch_config import TargetReference
from row_batches.document.input_document import section
from row_batches.document.plan import Target
from row_batches.document.target_version import CODE_CHARACTERS
from row_batches.targets.kinds import kind_of
from row_batches.targets.ports import FunctionSettings, MachineSettings, Targets


@dataclass(frozen=True, slots=True)
class TargetResolver:
    """Resolves references to targets. Methods raise what the ports raise."""

    _targets: Targets
    _functions: FunctionSettings
    _machines: MachineSettings

    def registered(self, name: str, problems: list[Problem]) -> Target | None:
        """The target of this name, also if it is disabled, which is a problem."""
        target = self._targets.get(name)
        if target is None:
            names = sorted(known.name for known in self._targets.all() if known.enabled)
            fix = f"{did_you_mean(name, names)}known: {', '.join(names[:12]) or 'none'}"
            problems.append(Problem("target.name", name, "no target is registered under this name", fix))
        elif not target.enabled:
            fix = "enable it in the Terraform variable targets, or name another"
            problems.append(Problem("target.name", name, "the target is disabled", fix))
        return target

    def resolve(self, reference: TargetReference, problems: list[Problem]) -> Target | None:
        """The registered target, with the ARN that the document asks for."""
        before = len(problems)
        target = self.registered(reference.name, problems)
        if target is None:
            return None
        if target.type != reference.type:
            problems.append(
                Problem("target.type", reference.type, f"{target.name} is registered as {target.type}", "correct it")
            )
        has_other_arn = reference.arn not in (None, target.arn)
        if has_other_arn and not any(problem.path == "target.arn" for problem in problems):
            target = self._with_arn(target, reference, problems)
        if len(problems) > before:
            return None
        code = kind_of(target).code(target, self._functions, self._machines)
        return target.model_copy(update={"code_version": code[:CODE_CHARACTERS]})

    def _with_arn(self, target: Target, reference: TargetReference, problems: list[Problem]) -> Target:
        """``target`` with another ARN. It must belong to an enabled entry, because nothing else may be invoked."""
        for known in self._targets.all():
            if known.enabled and known.arn == reference.arn and known.type == reference.type:
                return known.model_copy(update={"name": target.name})
        problems.append(
            Problem(
                "target.arn",
                str(reference.arn),
                "the deployment does not allow this ARN",
                "leave it out, or register it in the Terraform variable targets",
            )
        )
        return target


def sound_reference(document: Any, problems: list[Problem]) -> TargetReference | None:
    """The target of a document that has problems, if this part of it has none."""
    if any(problem.path.startswith("target") for problem in problems):
        return None
    try:
        return TargetReference.model_validate(section(document, "target"))
    except ValidationError:
        return None


def sound_name(document: Any) -> str | None:
    """The name of a target whose other fields have problems, if the name has none."""
    name = section(document, "target").get("name")
    try:
        return TargetReference(type="tool", name=name).name if isinstance(name, str) else None
    except ValidationError:
        return None
