"""Runs again what failed or never ran in a run that has ended."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError as RefusedByAwsError
from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.documents import with_cost_limit
from batch_processor_client.errors import ClientError
from batch_processor_client.estimates import worst_of_target
from foundation.aws.s3 import S3ObjectStore
from foundation.errors import ObjectNotFoundError
from row_batches.document.plan import Keys, Plan

MOST_NAME_CHARACTERS = 80
"""https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html, ``name``."""
POLL_SECONDS = 1.0
RETRY = re.compile(r"-retry-(\d+)$")
EXISTS = "ExecutionAlreadyExists"


class Retry(BaseModel):
    """A run of the rows of ``retried`` that failed or never ran. ``execution`` is its name, "" when there are none.

    ``estimate`` and ``warnings`` are those of a dry run, in US dollars at the best and at the worst, and the target's
    part of the worst.
    """

    model_config = ConfigDict(frozen=True)

    retried: str
    execution: str = ""
    rows: int
    total_rows: int
    dry_run: bool = False
    estimate: dict[str, float] = {}
    warnings: list[str] = []


class FailedFor(BaseModel):
    """A cause in ``failures_by_cause``."""

    id: str
    error: str
    message: str
    count: int
    rows: list[int]


class Summary(BaseModel):
    """The part of ``summary.json`` that a retry reads. Runs of an earlier release have no causes."""

    total_rows: int
    failed: int
    timed_out: int
    not_attempted: int
    failures_by_cause: list[FailedFor] | None = None


def retry(
    deployment: Deployment,
    execution: str,
    *,
    name: str | None = None,
    accept_version: bool = False,
    dry_run: bool = False,
    changes: Mapping[str, Any] | None = None,
    most_usd: float | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Retry:
    """Start an execution with the document and the rows of an earlier one, which takes over what was successful there.

    Its rows are the ones that the earlier execution staged, with the same numbers, even if the user's file has changed.
    Its output lists all of them. The same ``name`` twice starts one execution. ``accept_version``: also take over
    answers of another version of the target's code. ``dry_run``: plan and estimate, wait for that, and run no row.
    ``changes`` are new values in its ``execution_config``. ``most_usd`` is the cost of the target at which no further
    row starts.

    Raises ClientError when the earlier execution has no output yet, its plan has expired, or the name was used; in a
    dry run also with the reason for which the retry would be refused.
    """
    retried = execution.rpartition(":")[2]
    store = S3ObjectStore(deployment.client("s3"), deployment.results_bucket)
    summary = read_summary(store, retried)
    rows = summary.failed + summary.timed_out + summary.not_attempted
    if not rows:
        return Retry(retried=retried, rows=0, total_rows=summary.total_rows, dry_run=dry_run)
    started = name or next_name(retried)
    document = _document(store, retried, changes or {}, accept_version=accept_version)
    if most_usd is not None:
        document = with_cost_limit(document, most_usd)
    states = deployment.client("stepfunctions")
    if not dry_run:
        _start(states, deployment, started, document, retried)
        return Retry(retried=retried, execution=started, rows=rows, total_rows=summary.total_rows)
    planned = _plan(states, deployment, started, document, retried, wait)
    total = planned["estimate"]["total"]
    return Retry(
        retried=retried,
        execution=started,
        rows=planned["rows_to_run"],
        total_rows=planned["total_rows"],
        dry_run=True,
        estimate={
            "best_usd": total["best"],
            "worst_usd": total["worst"],
            "target_worst_usd": worst_of_target(planned["estimate"]),
        },
        warnings=planned["warnings"],
    )


def next_name(name: str) -> str:
    """The name of an execution's retry: ``nightly`` gives ``nightly-retry-1``, and that ``nightly-retry-2``."""
    before = RETRY.search(name)
    suffix = f"-retry-{int(before[1]) + 1 if before else 1}"
    return RETRY.sub("", name)[: MOST_NAME_CHARACTERS - len(suffix)] + suffix


def read_summary(store: S3ObjectStore, execution: str) -> Summary:
    """The summary of a run that has ended. Raises ClientError if there is none."""
    try:
        return Summary.model_validate_json(store.get(Keys(execution).summary))
    except ObjectNotFoundError:
        raise ClientError(
            f"The run '{execution}' has no summary: it does not exist, has not ended yet, or had no rows to run. "
            "If it was stopped, its output takes a few minutes. List the runs: make runs."
        ) from None


def read_plan_to_retry(store: S3ObjectStore, retried: str) -> Plan:
    """The plan of a run that has ended. Raises ClientError if it has expired."""
    try:
        return Plan.model_validate_json(store.get(Keys(retried).plan))
    except ObjectNotFoundError:
        raise ClientError(
            f"The plan of {retried} has expired, and its answers with it: they are kept for "
            "work_retention_days. Submit its failed_rows.csv with make run."
        ) from None


def _document(
    store: S3ObjectStore, retried: str, changes: Mapping[str, Any], *, accept_version: bool
) -> dict[str, Any]:
    """The earlier execution's document, which its plan keeps, with ``changes`` and with the rows that it staged."""
    plan = read_plan_to_retry(store, retried)
    # Without defaults: the deployment can be of another release, which refuses the fields that it does not know. What
    # the document or the deployment gave stays, also if it equals a default: the deployment's can have changed since.
    document = plan.config.model_dump(mode="json", exclude_defaults=True)
    whole = plan.config.model_dump(mode="json")
    for section, _, name in (path.partition(".") for path in plan.sources):
        document.setdefault(section, {})[name] = whole[section][name]
    document.pop("trial", None)  # What its rows say is known by now.
    document.setdefault("execution_config", {})
    document["csv_s3_uri"] = f"s3://{store.bucket}/{Keys(retried).staged}"
    # An acceptance and a choice of causes hold for one retry: the next one takes over other answers.
    for name in ("accept_version", "only_causes"):
        document["execution_config"].pop(name, None)
    document["execution_config"] |= {"resume_from": retried, **changes}
    if accept_version:
        document["execution_config"]["accept_version"] = True
    return document


def _start(states: Any, deployment: Deployment, name: str, document: dict[str, Any], retried: str) -> str:
    """The ARN. The same name and input while it runs starts nothing new."""
    machine = deployment.batch_processor_state_machine_arn
    try:
        answer = states.start_execution(stateMachineArn=machine, name=name, input=json.dumps(document))
    except RefusedByAwsError as refused:
        if refused.response["Error"]["Code"] != EXISTS:
            raise
        raise ClientError(
            f"There is an execution {name} already: if it has retried {retried}, retry that one now "
            f"(EXECUTION={name}), or give this retry another NAME."
        ) from None
    return str(answer["executionArn"])


def _plan(
    states: Any,
    deployment: Deployment,
    name: str,
    document: dict[str, Any],
    retried: str,
    wait: Callable[[float], None],
) -> dict[str, Any]:
    """The output of a dry run of ``document``."""
    suffix = f"-dry-run-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    dry_name = name[: MOST_NAME_CHARACTERS - len(suffix)] + suffix
    arn = _start(states, deployment, dry_name, {**document, "dry_run": True}, retried)
    while (found := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
        wait(POLL_SECONDS)
    if found["status"] != "SUCCEEDED":
        raise ClientError(_message(found))
    return dict(json.loads(found["output"]))


def _message(ended: dict[str, Any]) -> str:
    """Why an execution failed. The cause of a function's own error is JSON, with its message."""
    cause = ended.get("cause") or ""
    try:
        cause = json.loads(cause)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        return f"{ended.get('error') or ended['status']}: {cause}"
    return f"{ended.get('error') or ended['status']}: {cause}"
