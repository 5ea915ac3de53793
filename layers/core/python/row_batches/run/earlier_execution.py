"""Finds the execution that ``execution_config.resume_from`` names, and how many of its answers can be taken over."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import ValidationError

from foundation.errors import InvalidInputError, ObjectNotFoundError, Problem
from foundation.lazy_model import LazyModel
from foundation.problems import listed
from row_batches.document.batch_config import BatchConfig
from row_batches.document.effective import schema_of, schema_version
from row_batches.document.header import replaced_columns
from row_batches.document.plan import EarlierExecution, Execution, Keys, Plan, Target
from row_batches.document.s3_location import S3Location
from row_batches.document.target_version import TargetVersion
from row_batches.files.ports import WorkObjects
from row_batches.mapping.mapping_in import InputMapper, compile_input_mapping
from row_batches.run.fan_out import FLUSH_ROWS
from row_batches.run.runs import Runs
from row_batches.run.staged_again import StagedAgain
from row_batches.targets.protocol import CHILD_DIED_ERROR

MOST_EXECUTIONS = 10
"""An agent's row asks each of them for its answer."""
PATH = "execution_config.resume_from"


class CountedCause(LazyModel):
    """The fields that are read from a cause in ``failures_by_cause``."""

    id: str
    error: str
    count: int

    def is_one_of(self, chosen: Iterable[str]) -> bool:
        return not {self.id, self.error}.isdisjoint(chosen)


class Ended(LazyModel):
    """The fields that are read from an execution's ``summary.json``."""

    total_rows: int
    succeeded: int
    failed: int = 0
    timed_out: int = 0
    not_attempted: int
    died: int = 0
    target_versions: dict[str, int] = {}
    failures_by_cause: list[CountedCause] = []

    @property
    def without_answer(self) -> int:
        return self.failed + self.timed_out + self.not_attempted + self.died


@dataclass(frozen=True, slots=True)
class Earlier:
    """An execution whose answers can be taken over, and the executions that it resumed, latest first.

    ``ended`` is None if the execution has no output.
    """

    plan: Plan
    ended: Ended | None
    before: tuple["Earlier", ...] = ()

    @property
    def name(self) -> str:
        return self.plan.execution.name

    def executions(self, total_rows: int) -> list[EarlierExecution]:
        """The executions that can have an answer to one of ``total_rows`` rows."""
        return [
            EarlierExecution(
                name=earlier.name,
                batch_size=_most_rows_an_object(earlier.plan),
                target_version=str(earlier.plan.target.answering_version),
                batch_name=earlier.plan.config.batch_name,
                storage=earlier.plan.storage,
            )
            for earlier in self._chain(total_rows)
        ]

    def _chain(self, total_rows: int) -> Iterator["Earlier"]:
        """This execution and those it resumed, up to the first that left no row without an answer.

        That one has already taken over the answers of the executions before it. A row that failed can have an answer
        before it: its own mapping can have refused the row, or the mapping's input can have been another one.
        """
        for earlier in (self, *self.before):
            yield earlier
            if earlier.ended and not earlier.ended.without_answer and earlier.plan.total_rows >= total_rows:
                return

    def staged_again(self, work: WorkObjects, max_rows: int | None) -> StagedAgain:
        """The rows it staged. Raises ``InvalidInputError`` if ``max_rows`` asks for fewer rows."""
        if max_rows is not None and max_rows < self.plan.total_rows:
            message = f"all {self.plan.total_rows:,} rows that {self.name} staged are used"
            fix = "leave it out, or write the address of the CSV into csv_s3_uri"
            raise InvalidInputError([Problem("execution_config.max_rows", str(max_rows), message, fix)])
        return StagedAgain(work, self.plan)

    def has_staged(self, location: S3Location, bucket: str) -> bool:
        """Whether ``location`` is its staged copy, so that the rows and their numbers are the same."""
        return location == (bucket, self.plan.keys.staged)

    def taken_over(self, config: BatchConfig, columns: list[str], total_rows: int) -> int:
        """How many of ``total_rows`` rows will probably be taken over: the most that succeeded in one execution."""
        chain = list(self._chain(total_rows))
        succeeded = [
            earlier.ended.succeeded
            for earlier in chain
            if earlier.ended is not None and not earlier._why_none(config, columns)
        ]
        return min(total_rows, max(succeeded, default=0))

    def repeated(self, config: BatchConfig, columns: list[str], bucket: str, now: datetime) -> int:
        """How many rows are surely taken over: successful ones of executions with the same rows and mapped input.

        The rows are the same if the document names the copy that the execution staged, as a retry's does. Another file
        can have other cells in every row, so none of its rows is sure, and neither are answers that expire ``now``.
        """
        succeeded, document = 0, config
        for earlier in self._chain(self.plan.total_rows):
            plan = earlier.plan
            kept = now - plan.execution.started_at < timedelta(days=plan.storage.ttl_days)
            same_input = (
                earlier.has_staged(document.source, bucket)
                and plan.config.input_mapping == config.input_mapping
                and replaced_columns(plan.config, columns) == replaced_columns(config, columns)
            )
            if not kept or not same_input:
                break
            succeeded = max(succeeded, earlier.ended.succeeded if earlier.ended is not None else 0)
            document = plan.config
        return succeeded

    def left(self, config: BatchConfig) -> int:
        """How many rows keep their failure, because ``only_causes`` does not name its cause."""
        chosen = config.execution_config.only_causes
        if not chosen or self.ended is None:
            return 0
        # Rows whose worker died have no stored failure, so they run.
        causes = [cause for cause in self.ended.failures_by_cause if cause.error != CHILD_DIED_ERROR]
        return sum(cause.count for cause in causes if not cause.is_one_of(chosen))

    def cause_problems(self, config: BatchConfig) -> Iterator[Problem]:
        """A problem for each of ``only_causes`` for which no row failed."""
        causes = self.ended.failures_by_cause if self.ended is not None else []
        for number, chosen in enumerate(config.execution_config.only_causes):
            if not any(cause.is_one_of([chosen]) for cause in causes):
                known = listed([cause.id for cause in causes]) if causes else "none"
                message = f"no row of {self.name} failed for this cause"
                yield Problem(f"execution_config.only_causes[{number}]", chosen, message, f"write some of: {known}")

    def assumption(self, taken_over: int, repeated: int) -> str:
        at_worst = f"{repeated:,} are" if repeated else "none is"
        return f"best: {taken_over:,} rows are taken over from {self.name}; worst: {at_worst}"

    def warnings(self, target: Target, config: BatchConfig, columns: list[str], total_rows: int) -> list[str]:
        chain = list(self._chain(total_rows))
        reasons = [earlier._why_none(config, columns) for earlier in chain]
        if all(reasons):
            return [f"No row is taken over from {self.name}, because {reasons[0]}: all rows are run."]
        if self.ended is None:
            warnings = [f"{self.name} left no output, so the number of its successful rows is not known."]
        else:
            warnings = [
                f"{self.ended.succeeded:,} of the {self.ended.total_rows:,} rows of {self.name} were successful. "
                "They do not run again if their row number and mapped input are the same."
            ]
        if total_rows < self.plan.total_rows and config.execution_config.max_rows is None:
            warnings.append(
                f"The CSV has {total_rows:,} rows, and that of {self.name} has {self.plan.total_rows:,}. Rows are "
                "matched by number, so submit the whole CSV, not failed_rows.csv."
            )
        warnings += self._schema_warnings(target, config)
        if left := self.left(config):
            warnings.append(
                f"{left:,} rows of {self.name} failed for causes that only_causes does not name: they stay failed."
            )
        return warnings + [said for earlier in chain for said in earlier._version_warnings(target)]

    def _schema_warnings(self, target: Target, config: BatchConfig) -> Iterator[str]:
        """A warning if the target's schema has changed. A retry repeats the columns that its run had."""
        with_schema = next((one for one in (self, *self.before) if one.plan.output_schema is not None), None)
        now = schema_of(target)
        if with_schema is None or with_schema.plan.output_schema is None or now is None:
            return
        then = with_schema.plan.output_schema
        if then.sha256 == schema_version(target, now).sha256:
            return
        before = [column.name for column in with_schema.plan.config.output_mapping.mapped_columns]
        after = [field.column.name for field in now.fields]
        own = [column.name for column in config.output_mapping.mapped_columns]
        changes = [
            f"{what}: {listed(names)}"
            for what, names in (
                ("new", [name for name in after if name not in before]),
                ("gone", [name for name in before if name not in after]),
            )
            if names
        ]
        yield (
            f"The schema {now.agent} is version {now.version} now, and was {then.version} in {with_schema.name} "
            f"({'; '.join(changes) or 'the same columns'}). This run has the columns {listed(own)}."
        )

    def _why_none(self, config: BatchConfig, columns: list[str]) -> str:
        """The reason why none of its answers can be used, if it is clear before any row is mapped; "" otherwise."""
        if self.ended is not None and not self.ended.succeeded:
            return f"none of its {self.ended.total_rows:,} rows was successful"
        then, now = _mapper(self.plan.config, self.plan.columns), _mapper(config, columns)
        added, gone = sorted(now.fields - then.fields), sorted(then.fields - now.fields)
        if added or gone:
            changes = [f"{what}: {', '.join(names)}" for what, names in (("new", added), ("gone", gone)) if names]
            return f"the mapped input has other fields than in that run ({'; '.join(changes)})"
        constant = then.constants.keys() & now.constants.keys()
        changed = sorted(field for field in constant if then.constants[field] != now.constants[field])
        return f"static_values gives other values than in that run to {', '.join(changed)}" if changed else ""

    def version_problems(self, target: Target, config: BatchConfig, columns: list[str]) -> Iterator[Problem]:
        """A problem if some answers come from other code of the target than it has now, and are not accepted.

        This check runs before the rows are counted. If this execution was a trial, the batch can have more rows than
        it, so all executions of the chain count.
        """
        is_trial = self.plan.config.execution_config.max_rows is not None
        chain = list(self._chain(sys.maxsize if is_trial else self.plan.total_rows))
        if config.execution_config.accept_version or all(earlier._why_none(config, columns) for earlier in chain):
            return
        now = target.answering_version
        others = [
            f"version {version} ({earlier.name}: {_answers(count)})"
            for earlier in chain
            for version, count in earlier._versions()
            if now.has_other_code(version)
        ]
        if others:
            message = f"{target.name} is version {now}; the answers to take over are also of {listed(others)}"
            fix = (
                "write execution_config.accept_version: true to take them over, or leave resume_from out: all rows run"
            )
            yield Problem(PATH, self.name, message, fix)

    def _versions(self) -> list[tuple[TargetVersion, int]]:
        """The versions of the target that answered, each with its number of successful rows (0 if not known)."""
        counts: dict[str, int] = dict(self.ended.target_versions) if self.ended else {}
        if not counts:
            counts[str(self.plan.target.answering_version)] = self.ended.succeeded if self.ended else 0
        return [(TargetVersion.parse(text), count) for text, count in sorted(counts.items())]

    def _version_warnings(self, target: Target) -> Iterator[str]:
        """Warnings about its answers of other versions of the target."""
        now = target.answering_version
        for version, count in self._versions():
            if version != now:
                yield (
                    f"{target.name} is version {now}; {self.name} has {_answers(count)} of version {version}, which "
                    "are taken over as they are."
                )


def _most_rows_an_object(plan: Plan) -> int:
    """A rows object has rows of one child, or duplicates, which the aggregator writes together."""
    of_a_child = plan.concurrency.batch_size
    return of_a_child if plan.distinct is None else max(of_a_child, FLUSH_ROWS)


def _answers(count: int) -> str:
    return f"{count:,} answers" if count else "answers"


def _mapper(config: BatchConfig, columns: list[str]) -> InputMapper:
    return compile_input_mapping(config.input_mapping, columns, replaced_columns(config, columns))


class ExecutionStates(Protocol):
    """Asks Step Functions about executions."""

    def is_running(self, arn: str) -> bool:
        """Whether the execution runs. False for an unknown one."""


def find_earlier(
    work: WorkObjects,
    runs: Runs,
    executions: ExecutionStates,
    *,
    name: str,
    arn: str | None,
    current: Execution,
    target: Target | None,
) -> Earlier | Problem:
    """The execution ``name`` and its results, or the problem with resuming it.

    ``current`` is the execution that is being planned. ``arn`` is given if the document names an ARN. ``target`` is
    None if the target has a problem, which is reported elsewhere.
    """

    def problem(message: str, fix: str) -> Problem:
        return Problem(PATH, arn or name, message, fix)

    if name == current.name:
        return problem("an execution cannot resume itself", "name an earlier one, or leave it out")
    if executions.is_running(f"{current.arn.rpartition(':')[0]}:{name}"):
        fix = "wait for its end, or stop it with make stop"
        return problem("it still runs: rows that it finishes would run twice", fix)
    ended, run = _ended(work, name), runs.get(name)
    if ended is None and run is not None and run.ended_at is None:
        # The execution was aborted or failed, and rows in flight are still being written.
        fix = "wait until its summary is there: a few minutes, or up to 15 after a killed worker"
        return problem("it has ended, and its output is still being written", fix)
    try:
        plan = Plan.model_validate_json(work.get(Keys(name).plan))
    except ObjectNotFoundError:
        return problem(*_refusal_without_plan(ended))
    except ValidationError:
        return problem("it ran on another version of this deployment, whose plan cannot be read", "leave it out")
    refusal = _refusal_of_plan(plan, arn, target)
    return Earlier(plan, ended, tuple(_resumed_by(work, plan))) if refusal is None else problem(*refusal)


Refusal = tuple[str, str]
"""The message and the fix of a problem."""


def _refusal_without_plan(ended: Ended | None) -> Refusal:
    if ended is None:
        fix = "write the name that make run showed, of an execution of this deployment that had rows to run"
        return "no execution of this name has left anything", fix
    return (
        "its answers have expired",
        "leave it out; for the next time, raise the Terraform variable work_retention_days",
    )


def _refusal_of_plan(plan: Plan, arn: str | None, target: Target | None) -> Refusal | None:
    if plan.config.dry_run:
        return "it was a dry run, which has no answers", "leave it out, or name an execution that ran rows"
    if arn not in (None, plan.execution.arn):
        return f"the execution of this name is {plan.execution.arn}", "correct the ARN, or write the name alone"
    if target is not None and _identity(target) != _identity(plan.target):
        fix = "leave it out, or name an execution with the target of this one"
        return f"its answers are those of another target, {plan.target.name} ({plan.target.arn})", fix
    return None


def _resumed_by(work: WorkObjects, plan: Plan) -> Iterator["Earlier"]:
    """The execution that the execution of ``plan`` resumed, with its own chain, if it is still stored."""
    for _ in range(MOST_EXECUTIONS - 1):
        if not plan.resume_from:
            return
        name = plan.resume_from[0].name
        try:
            plan = Plan.model_validate_json(work.get(Keys(name).plan))
        except (ObjectNotFoundError, ValidationError):
            return
        yield Earlier(plan, _ended(work, name))


def _ended(work: WorkObjects, name: str) -> Ended | None:
    try:
        return Ended.model_validate_json(work.get(Keys(name).summary))
    except ObjectNotFoundError:
        return None


def _identity(target: Target) -> tuple[str, ...]:
    return target.name, target.type, target.arn, target.invocation
