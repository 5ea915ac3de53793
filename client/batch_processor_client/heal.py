"""Explains why rows of a run failed, and runs them again with settings that can heal them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.retry import Retry, read_plan_to_retry, read_summary, retry
from foundation.aws.s3 import S3ObjectStore
from row_batches.document.plan import Plan
from row_batches.run.causes import OTHER
from row_batches.run.cost import estimate
from row_batches.run.cures import cure_of
from row_batches.targets.protocol import CHILD_DIED_ERROR

ALL = "all"


class CurableCause(BaseModel):
    """A cause, and the run that can heal it.

    ``changes`` are the settings that such a run changes in ``execution_config``. If it is ``after_a_fix``, the run does
    not help before somebody has done what ``advice`` says. ``best_usd`` and ``worst_usd`` are its price in US dollars
    if each row succeeds at its first attempt, and if each fails at its last.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    id: str
    error: str
    message: str
    count: int
    rows: list[int]
    advice: str
    changes: dict[str, Any]
    after_a_fix: bool
    best_usd: float
    worst_usd: float


class Diagnosis(BaseModel):
    """The causes for which rows of a run failed, the most frequent first.

    ``other`` rows failed for causes that are too many to be listed, and ``not_attempted`` never began.
    ``target_included`` says whether prices include those of the target.
    """

    model_config = ConfigDict(frozen=True)

    execution: str
    total_rows: int
    causes: list[CurableCause]
    other: int = 0
    not_attempted: int = 0
    target_included: bool = False


def diagnose(deployment: Deployment, execution: str) -> Diagnosis:
    """The causes for which rows of a run failed, each with its cure and its price.

    Raises ClientError when the run has no output yet, its plan has expired, or an earlier release made it.
    """
    name = execution.rpartition(":")[2]
    store = S3ObjectStore(deployment.client("s3"), deployment.results_bucket)
    summary = read_summary(store, name)
    if summary.failures_by_cause is None:
        raise ClientError(
            f"{name} ran on a release that did not group failures by cause: run what failed again with make retry."
        )
    plan = read_plan_to_retry(store, name)
    listed = [cause for cause in summary.failures_by_cause if cause.id != OTHER]
    causes = []
    for number, cause in enumerate(listed, 1):
        cure = cure_of(cause.error, cause.message)
        changes = cure.changes(plan)
        best_usd, worst_usd = _price(plan, changes, cause.count)
        causes.append(
            CurableCause(
                number=number,
                **cause.model_dump(),
                advice=cure.advice,
                changes=changes,
                after_a_fix=cure.after_a_fix,
                best_usd=best_usd,
                worst_usd=worst_usd,
            )
        )
    return Diagnosis(
        execution=name,
        total_rows=summary.total_rows,
        causes=causes,
        other=sum(cause.count for cause in summary.failures_by_cause if cause.id == OTHER),
        not_attempted=summary.not_attempted,
        target_included=plan.estimate.target_included,
    )


def _price(plan: Plan, changes: dict[str, Any], rows: int) -> tuple[float, float]:
    """The price of a run of ``rows`` of the plan's rows with changed settings, which takes over all others."""
    document = plan.config.model_dump(mode="json")
    document["execution_config"] |= changes
    idle = plan.rows_with_content - rows
    total = estimate(
        type(plan.config).model_validate(document),
        plan.target,
        plan.concurrency,
        plan.storage,
        total_rows=plan.rows_with_content,
        staged_bytes=plan.staged.size_bytes,
        distinct=plan.distinct,
        idle_at_best=idle,
        idle_at_worst=idle,
    ).total
    return total.best, total.worst


def choose(diagnosis: Diagnosis, chosen: Iterable[str]) -> list[CurableCause]:
    """The causes of these numbers, ids or error names; ``all``: every cause that needs no fix before.

    Raises ClientError for a cause that the run does not have, or when none is left.
    """
    found: dict[str, CurableCause] = {}
    for text in chosen:
        causes = [cause for cause in diagnosis.causes if text in (str(cause.number), cause.id, cause.error)]
        if text == ALL:
            causes = [cause for cause in diagnosis.causes if not cause.after_a_fix]
        if not causes and text != ALL:
            known = ", ".join(f"{cause.number} ({cause.id})" for cause in diagnosis.causes) or "none"
            raise ClientError(f"No row of {diagnosis.execution} failed for {text}. Its causes: {known}.")
        found |= {cause.id: cause for cause in causes}
    if not found:
        raise ClientError(
            f"No cause of {diagnosis.execution} can be healed by another run alone. First do what the list says, then "
            "choose the cause by its number."
        )
    return list(found.values())


def heal(
    deployment: Deployment,
    diagnosis: Diagnosis,
    causes: Sequence[CurableCause],
    *,
    name: str | None = None,
    accept_version: bool = False,
    dry_run: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> Retry:
    """Run the rows of these causes again, with the settings that their cures change (``retry``).

    Rows that never ended run as well. Rows of other causes keep their failure, and the output lists all rows. Raises
    what ``retry`` raises.
    """
    changes: dict[str, Any] = {}
    for cause in causes:
        changes |= cause.changes
    changes["only_causes"] = [cause.id for cause in causes]
    done = retry(
        deployment,
        diagnosis.execution,
        name=name,
        accept_version=accept_version,
        dry_run=dry_run,
        changes=changes,
        wait=wait,
    )
    rows = sum(cause.count for cause in diagnosis.causes if cause in causes or cause.error == CHILD_DIED_ERROR)
    rows += diagnosis.not_attempted
    return done if dry_run else done.model_copy(update={"rows": rows})
