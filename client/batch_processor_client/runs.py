"""Operations on runs of row batches."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from batch_processor_client import executions, files, inputs
from batch_processor_client.deployment import Deployment
from batch_processor_client.documents import check_name, with_input_bucket
from batch_processor_client.errors import ClientError
from batch_processor_client.progress import HELD_BACK_NOTE_HOLDS
from foundation.aws.s3 import S3ObjectStore
from foundation.errors import ObjectNotFoundError
from row_batches.document.batch_config import Rate
from row_batches.document.input_document import with_one_name
from row_batches.document.plan import Keys, Plan, StorageMode, Target
from row_batches.run.runs import Live, Run, RunState
from row_batches.run.runs_dynamodb import DynamoDbRuns
from row_batches.targets.kinds import parse_document


def start(
    deployment: Deployment,
    document: dict[str, Any],
    name: str,
    csv: Path | None = None,
    transfer: files.Transfer | None = None,
) -> str:
    """Check the name and the document, upload the files, start the execution; returns its ARN.

    In ``csv_s3_uri``, INPUT_BUCKET stands for the deployment's input bucket. ``csv`` is uploaded there and replaces it:
    a file, all files of a folder, or those that match a pattern such as ``rows/*.csv``.
    ``transfer`` watches the upload.
    Raises ClientError (also for a name that was used) or InvalidInputError before anything is uploaded.
    """
    check_name(name)
    prefix = files.uploads_prefix(name)
    states = deployment.client("stepfunctions")
    executions.refuse_used_name(states, deployment.execution_arn(name))
    if csv is None:
        completed = with_input_bucket(document, deployment.input_bucket)
    else:
        completed = {**with_one_name(document), "csv_s3_uri": inputs.upload_uri(deployment, csv, prefix)}
    config = parse_document(completed)
    if csv is not None:
        inputs.check_kinds(csv, config.input_format)
        inputs.upload(deployment, csv, prefix, transfer)
    return executions.start(states, deployment.batch_processor_state_machine_arn, name, completed)


class RunList(BaseModel):
    """Runs, newest first. ``cursor`` gives the next ones, "" when there are none."""

    model_config = ConfigDict(frozen=True)

    runs: list[Run]
    cursor: str


def list_runs(
    deployment: Deployment,
    *,
    states: Collection[RunState] = (),
    target: str = "",
    limit: int = 20,
    cursor: str = "",
) -> RunList:
    """Up to ``limit`` runs, newest first: all of them, or those in one of ``states`` or of a ``target``.

    Raises ClientError for a cursor of another listing.
    """
    table, found = DynamoDbRuns(deployment.client("dynamodb"), deployment.runs_table), list[Run]()
    while True:
        # Never more than are missing: the next listing begins after the last run that was read.
        try:
            page = table.page(limit - len(found), cursor)
        except ValueError:
            raise ClientError(
                "This is not a cursor of a list of runs: use the one that the previous page printed."
            ) from None
        found += [run for run in page.runs if run.state in (states or RunState) and target in ("", run.target)]
        cursor = page.cursor
        if not cursor or len(found) == limit:
            return RunList(runs=found, cursor=cursor)


def known_execution(deployment: Deployment, execution: str) -> str:
    """The ARN of an execution that Step Functions knows. Raises ClientError if it knows none of this name."""
    arn = deployment.execution_arn(execution)
    executions.describe(deployment.client("stepfunctions"), arn)
    return arn


def status(deployment: Deployment, execution: str) -> Run:
    """The state and counts of a run, also while it runs. Raises ClientError if there is no such run."""
    name = executions.name_of(execution)
    run = DynamoDbRuns(deployment.client("dynamodb"), deployment.runs_table).get(name)
    if run is None:
        raise ClientError(f"There is no run {name}.")
    return run


class Throttled(BaseModel):
    """The new limits of a run. ``children`` is the concurrency of its running map runs; it applies as children end."""

    model_config = ConfigDict(frozen=True)

    execution: str
    live: Live
    children: int | None = None
    notes: list[str] = []


def throttle(
    deployment: Deployment,
    execution: str,
    *,
    concurrency: int | None = None,
    rows_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
) -> Throttled:
    """Change the limits of a running batch. Limits that are not given stay unchanged.

    Workers follow within ten seconds; rows in flight finish. Raises ClientError if the run has ended or is not known,
    or if no limit is given.
    """
    given = Live(max_concurrency=concurrency, rows_per_minute=rows_per_minute, tokens_per_minute=tokens_per_minute)
    if given == Live():
        raise ClientError("Say what to change: CONCURRENCY=, RATE= or TOKENS=.")
    name = executions.name_of(execution)
    runs = DynamoDbRuns(deployment.client("dynamodb"), deployment.runs_table)
    run = status(deployment, name)
    live = run.live.model_copy(update=given.model_dump(exclude_none=True))
    if not runs.set_live(name, live):
        raise ClientError(f"The run {name} has ended.")
    plan = read_plan(deployment, name)
    notes = _limit_notes(plan.target, given)
    if run.held_back_noted is not None and datetime.now(UTC) - run.held_back_noted < HELD_BACK_NOTE_HOLDS:
        notes.append(f"Its rows wait for the limits of {plan.target.name}, which other runs share.")
    if concurrency is None:
        return Throttled(execution=name, live=live, notes=notes)
    planned = plan.concurrency.children * plan.concurrency.threads
    if plan.storage.mode is StorageMode.INLINE and plan.concurrency.threads == 1:
        notes.append("It runs inline: its rows in flight stay as they were planned.")
    if plan.concurrency.threads > 1 and concurrency > planned:
        notes.append(f"Its workers were planned for {planned:,} rows in flight: for more, start a new run.")
    children = min(concurrency, plan.concurrency.children) if plan.concurrency.threads > 1 else concurrency
    changed = _update_map_runs(deployment, deployment.execution_arn(execution), children)
    return Throttled(execution=name, live=live, children=children if changed else None, notes=notes)


def _limit_notes(target: Target, given: Live) -> list[str]:
    """Values that have no effect, because the registry limits the target to less."""
    rate = target.rate or Rate()
    limits = [
        (target.max_concurrency, given.max_concurrency, "rows in flight"),
        (rate.rows_per_minute, given.rows_per_minute, "rows a minute"),
        (rate.tokens_per_minute, given.tokens_per_minute, "tokens a minute"),
    ]
    return [
        f"The registry limits {target.name} to {most:,g} {what} over all runs."
        for most, asked, what in limits
        if most is not None and asked is not None and asked > most
    ]


def read_plan(deployment: Deployment, name: str) -> Plan:
    """The plan of a run. Raises ClientError if there is none, or none any more, or if another release wrote it."""
    store = S3ObjectStore(deployment.client("s3"), deployment.results_bucket)
    try:
        return Plan.model_validate_json(store.get(Keys(name).plan))
    except ObjectNotFoundError:
        raise ClientError(f"There is no plan of {name}: the name is wrong, or the plan has expired.") from None
    except ValidationError:
        raise ClientError(f"The plan of {name} is of another release: use the client of that release.") from None


def _update_map_runs(deployment: Deployment, execution_arn: str, children: int) -> bool:
    """Set the concurrency of the running map runs; returns whether there are any.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_UpdateMapRun.html
    """
    states = deployment.client("stepfunctions")
    changed = False
    for page in states.get_paginator("list_map_runs").paginate(executionArn=execution_arn):
        for map_run in page["mapRuns"]:
            if map_run.get("stopDate") is None:
                states.update_map_run(mapRunArn=map_run["mapRunArn"], maxConcurrency=children)
                changed = True
    return changed
