"""The execution that ``execution_config.resume_from`` names: whether its answers can be taken over, and how many."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from foundation.errors import ObjectNotFoundError, Problem
from row_batches.document.plan import EarlierExecution, Keys, Plan, Target
from row_batches.files.ports import WorkObjects

MOST_EXECUTIONS = 10
"""An agent's row asks each of them for its answer."""
PATH = "execution_config.resume_from"


class Ended(BaseModel):
    """What is read of an execution's ``summary.json``."""

    total_rows: int
    succeeded: int
    not_attempted: int
    died: int = 0


@dataclass(frozen=True, slots=True)
class Earlier:
    """The execution that is resumed. ``ended`` is None while it has no output."""

    plan: Plan
    ended: Ended | None

    @property
    def executions(self) -> list[EarlierExecution]:
        """Itself; and, when it has not come to all its rows, what it resumed, whose answers it may not have."""
        plan = self.plan
        itself = EarlierExecution(name=plan.execution.name, batch_size=plan.concurrency.batch_size)
        is_complete = self.ended is not None and self.ended.not_attempted + self.ended.died == 0
        return [itself] if is_complete else [itself, *plan.resume_from][:MOST_EXECUTIONS]

    @property
    def assumption(self) -> str:
        return f"all rows are run: those that are taken over from {self.plan.execution.name} cost less"

    def warnings(self, target: Target, total_rows: int, max_rows: int | None) -> list[str]:
        name = self.plan.execution.name
        if self.ended is None:
            warnings = [f"{name} has no output yet: if it still runs, rows that it finishes from now on are run twice."]
        else:
            warnings = [
                f"Of the {self.ended.total_rows:,} rows of {name}, {self.ended.succeeded:,} were successful: they are "
                "not run again where row number and mapped input are the same."
            ]
        if total_rows < self.plan.total_rows and max_rows is None:
            warnings.append(
                f"The CSV has {total_rows:,} rows, that of {name} has {self.plan.total_rows:,}: rows are found by "
                "their number, so submit the whole CSV, not failed_rows.csv."
            )
        if target.version != self.plan.target.version:
            warnings.append(
                f"{target.name} is version {target.version}; answers that are taken over are those of version "
                f"{self.plan.target.version}."
            )
        return warnings


def find_earlier(
    work: WorkObjects, name: str, arn: str | None, current: str, target: Target | None, problems: list[Problem]
) -> Earlier | None:
    """The execution ``name`` with what it left, or None and the problem noted. ``current``: the one to be planned.

    ``arn`` is given when the document names it so. A ``target`` of None has a problem of its own.
    """

    def refuse(message: str, fix: str) -> None:
        problems.append(Problem(PATH, arn or name, message, fix))

    if name == current:
        refuse("an execution cannot resume itself", "name an earlier one, or leave it out")
        return None
    ended = _ended(work, name)
    try:
        plan = Plan.model_validate_json(work.get(Keys(name).plan))
    except ObjectNotFoundError:
        if ended is None:
            fix = "write the name that make run showed, of an execution of this deployment that had rows to run"
            refuse("no execution of this name has left anything", fix)
        else:
            fix = "leave it out; for the next time, raise the Terraform variable work_retention_days"
            refuse("its answers have expired", fix)
        return None
    except ValidationError:
        refuse("it ran on another version of this deployment, whose plan cannot be read", "leave it out")
        return None
    if plan.config.dry_run:
        refuse("it was a dry run, which has no answers", "leave it out, or name an execution that ran rows")
        return None
    if arn not in (None, plan.execution.arn):
        refuse(f"the execution of this name is {plan.execution.arn}", "correct the ARN, or write the name alone")
        return None
    if target is not None and _identity(target) != _identity(plan.target):
        used = f"{plan.target.name} ({plan.target.arn})"
        fix = "leave it out, or name an execution with the target of this one"
        refuse(f"its answers are those of another target, {used}", fix)
        return None
    return Earlier(plan, ended)


def _ended(work: WorkObjects, name: str) -> Ended | None:
    try:
        return Ended.model_validate_json(work.get(Keys(name).summary))
    except ObjectNotFoundError:
        return None


def _identity(target: Target) -> tuple[str, ...]:
    return target.name, target.type, target.arn, target.invocation
