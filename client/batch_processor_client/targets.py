"""Operations on the targets of a deployment: list the registry, try one row."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from botocore.config import Config
from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.guesses import ROWS_READ, declared_output
from foundation.errors import MappingError
from foundation.json_text import parse_json, render_json
from foundation.problems import closest, listed
from row_batches.document.batch_config import BatchConfig
from row_batches.document.deployment_config import DeploymentConfig
from row_batches.document.effective import complete, schema_of
from row_batches.document.input_document import with_one_name
from row_batches.document.plan import Target
from row_batches.files.opening import open_input
from row_batches.files.staged_copy import read_staged
from row_batches.files.table import InputFile
from row_batches.mapping.cells import JsonCell
from row_batches.mapping.mapping_in import compile_input_mapping
from row_batches.mapping.mapping_out import compile_output_mapping
from row_batches.rows.records import RowStatus
from row_batches.targets.answer import parse_answer
from row_batches.targets.dynamodb import DynamoTargets
from row_batches.targets.kind import RowCall, TargetKind
from row_batches.targets.kinds import kind_of, parse_document
from row_batches.targets.pricing import priced, row_usd
from row_batches.targets.protocol import Outcome, agent_failure
from row_batches.targets.worker_kind import WorkerKind

TRIED_SECONDS = 300
POLL_SECONDS = 0.25
CHUNK_BYTES = 1024 * 1024
ANY_FILE = "s3://rows/rows.csv"
"""A document needs a file; a tried row has none, so the document's own is not looked at."""


class Tried(BaseModel):
    """One call of a target. ``request`` and ``answer`` are as sent and received; ``columns`` as a row would get them.

    ``undeclared`` are fields of the answer that a run without an ``output_mapping`` writes together, as JSON in one
    column, because the registry does not declare them. Then ``columns`` has a column for each of them.
    ``cost_usd`` is None where the registry has no price and the answer reports none. ``error`` says why the row would
    fail; "" if it would be SUCCESS.
    """

    model_config = ConfigDict(frozen=True)

    target: str
    request: Any
    answer: Any
    columns: dict[str, str]
    missing: list[str]
    undeclared: list[str] = []
    seconds: float
    usage: dict[str, dict[str, float]]
    cost_usd: float | None
    status: RowStatus
    error: str = ""


def list_targets(deployment: Deployment) -> list[Target]:
    """The registered targets by name, the disabled ones too."""
    registry = DynamoTargets(deployment.client("dynamodb"), deployment.registry_table)
    return sorted(registry.all(), key=lambda target: target.name)


def find_target(deployment: Deployment, name: str) -> Target:
    """The registered target. Raises ClientError naming the closest one."""
    target = DynamoTargets(deployment.client("dynamodb"), deployment.registry_table).get(name)
    if target is None:
        names = [one.name for one in list_targets(deployment)]
        nearest = closest(name, names)
        hint = f"Did you mean {nearest}? " if nearest else ""
        raise ClientError(f"No target is registered as {name!r}. {hint}Known: {listed(names) or 'none'}.")
    return target


def try_target(
    deployment: Deployment, name: str, row: Mapping[str, Any], document: Mapping[str, Any] | None = None
) -> Tried:
    """Call the target once with a row, as a run would, with the caller's own credentials. The call is paid for.

    ``row`` has a value for each column. ``document`` has the ``input_mapping`` and ``output_mapping`` to try; without
    one, the row is the input, and the columns are those that the target declares, else each field at the top of the
    answer. Raises ClientError.
    """
    target = find_target(deployment, name)
    kind = kind_of(target)
    if document is None and target.output:
        document = {"output_mapping": {"columns": declared_output(target, row)}}
    config = _config(target, document)
    columns = list(row)
    try:
        mapper = compile_input_mapping(config.input_mapping, columns)
        row_input = mapper.map([_cell(row[column]) for column in columns])
    except KeyError as unknown:
        raise ClientError(f"The row has no column {unknown}, which the input_mapping names.") from None
    except MappingError as error:
        raise ClientError(f"The row cannot be mapped: {error}.") from None
    call = RowCall(f"try-{uuid.uuid4().hex[:8]}", name, 1, 1, 1)
    request = kind.request(call, row_input)
    began = time.monotonic()
    outcome = _call(deployment, target, kind, call, request)
    seconds = time.monotonic() - began
    usage = priced(outcome.usage, target)
    undeclared = _undeclared(config, outcome)
    cells, missing = _columns(config, outcome)
    return Tried(
        target=name,
        request=request,
        answer=outcome.answer,
        columns={name: _cell(value) for name, value in undeclared.items()} or cells,
        missing=missing,
        undeclared=list(undeclared),
        seconds=round(seconds, 3),
        usage={model: dict(used) for model, used in usage.items()},
        cost_usd=row_usd(target, usage, attempts=1),
        status=outcome.status,
        error=_reason(outcome),
    )


def _config(target: Target, document: Mapping[str, Any] | None) -> BatchConfig:
    given = with_one_name(dict(document or {})) | {"target": {"type": target.type, "name": target.name}}
    given["csv_s3_uri"] = ANY_FILE
    return parse_document(complete(given, DeploymentConfig(), schema_of(target)).document)


def _call(deployment: Deployment, target: Target, kind: TargetKind, call: RowCall, request: dict[str, Any]) -> Outcome:
    payload = json.dumps(request, ensure_ascii=False).encode()
    if isinstance(kind, WorkerKind):
        answer = kind.invoker(_clients(deployment)).invoke(target, payload, TRIED_SECONDS)
    else:
        answer = _run_machine(deployment, target, payload)
    return answer if isinstance(answer, Outcome) else kind.read(parse_answer(answer).value, call)


def _clients(deployment: Deployment) -> Any:
    def make(service: str, seconds: int) -> Any:
        return deployment.client(service, Config(read_timeout=seconds, retries={"total_max_attempts": 1}))

    return make


def _run_machine(deployment: Deployment, target: Target, payload: bytes) -> bytes | Outcome:
    """The output of a Standard agent, or its failure. Raises ClientError if it takes longer than TRIED_SECONDS."""
    states = deployment.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=target.arn, input=payload.decode())["executionArn"]
    deadline = time.monotonic() + TRIED_SECONDS
    while (found := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
        if time.monotonic() > deadline:
            states.stop_execution(executionArn=arn, error="Tried", cause="it took too long for a tried row")
            raise ClientError(f"{target.name} did not answer within {TRIED_SECONDS} s, and was stopped: {arn}.")
        time.sleep(POLL_SECONDS)
    if found["status"] != "SUCCEEDED":
        description = {name.title(): found.get(name) for name in ("status", "error", "cause")}
        return agent_failure("States.TaskFailed", json.dumps(description))
    return str(found["output"]).encode()


def _reason(outcome: Outcome) -> str:
    """Why the row would fail, with the name of the error once."""
    name, message = outcome.error_name, outcome.error_message
    return message if not name or message.startswith(f"{name}: ") else f"{name}: {message}"


def _columns(config: BatchConfig, outcome: Outcome) -> tuple[dict[str, str], list[str]]:
    """The cells of the mapped columns, and the columns that matched nothing."""
    if outcome.status is not RowStatus.SUCCESS:
        return {}, []
    mapper = compile_output_mapping(config.output_mapping)
    mapped = mapper.map(outcome.answer, outcome.payload)
    return dict(zip(mapper.names, mapped.values, strict=True)), list(mapped.missing)


def _undeclared(config: BatchConfig, outcome: Outcome) -> dict[str, Any]:
    """The fields of an answer that no column takes, because nothing names any."""
    if outcome.status is not RowStatus.SUCCESS or config.output_mapping.mapped_columns:
        return {}
    return outcome.payload if isinstance(outcome.payload, dict) else {}


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else JsonCell(render_json(value))


def rows_of_file(path: Path, count: int) -> list[dict[str, Any]]:
    """The first rows of a file, read as a run reads it. Raises InvalidInputError for a file that a run refuses.

    Rows of JSON have the columns of the first ``ROWS_READ`` ones, at least.
    """

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    staging = open_input(InputFile(chunks, max_rows=max(count, ROWS_READ)))
    staged = b"".join(staging)
    rows = read_staged(iter([staged]), iter([(1, staging.total_rows)]))
    return [dict(zip(staging.columns, cells, strict=True)) for _, cells in islice(rows, count)]


def row_of(text: str) -> dict[str, Any]:
    """A row from JSON: ``{"text": "Great!"}``. Raises ClientError."""
    try:
        row = parse_json(text)
    except ValueError as error:
        raise ClientError(f'ROW is {error}. Write ROW=\'{{"text": "Great!"}}\'.') from None
    if not isinstance(row, dict) or not row:
        raise ClientError('ROW is a JSON object with a value for each column: ROW=\'{"text": "Great!"}\'.')
    return row
