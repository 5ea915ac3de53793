"""Batch inference jobs: CreateModelInvocationJob, Get, List and Stop.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateModelInvocationJob.html
"""

from __future__ import annotations

import base64
import binascii
import json
import random
import re
import string
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from ministack.core import responses
from ministack.services import bedrock

from emulator.bedrock import bodies, events, permissions
from emulator.bedrock.batch_run import Run
from emulator.bedrock.control import CONTROL
from emulator.bedrock.role import JobRole

Answer = tuple[int, dict[str, str], bytes]

ACTIVE = frozenset({"Submitted", "Validating", "Scheduled", "InProgress", "Stopping"})
STATUSES = ACTIVE | {"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"}
TIMEOUT_HOURS = range(24, 169)
PAGE_SIZES = range(1, 1001)

PATTERNS = {
    "jobName": r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\+\-\.]){0,63}",
    "roleArn": r"arn:aws(-[^:]+)?:iam::([0-9]{12})?:role/.+",
    "clientRequestToken": r"[a-zA-Z0-9]{1,256}(-*[a-zA-Z0-9]){0,256}",
    "s3Uri": r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](?:/[-!_*'().a-z0-9A-Z]+(?:/[-!_*'().a-z0-9A-Z]+)*)?/?",
}
"""The patterns as the service model has them. The API's refusals name them."""
LINEAR_PATTERNS = {
    **PATTERNS,
    "jobName": r"[a-zA-Z0-9][a-zA-Z0-9+.\-]{0,62}",
    "clientRequestToken": r"(?=.{1,256}\Z)[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*",
}
"""Patterns that match the same texts, without those that could take exponential time."""

NOT_FOR_BATCH = frozenset({"mistral.mistral-large-2402-v1:0"})
"""Known models that batch inference does not support (userguide/batch-inference-supported.html)."""

_runs: dict[str, Run] = {}
_tokens: dict[tuple[str, str, str], str] = {}
_creating = threading.Lock()


class RefusedError(Exception):
    """Raised when a request is refused. It holds the response."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.answer: Answer = bedrock._error(code, message, status)


def create(headers: dict[str, str], body: bytes) -> Answer:
    """CreateModelInvocationJob: checks the request, then runs the job in the background.

    A `clientRequestToken` that was used before changes nothing: the answer names that job again.
    """
    try:
        request = _read_request(body)
        denied = permissions.creation_denial(headers, request["roleArn"])
        if denied is not None:
            return denied
        with _creating:
            scope = (responses.get_account_id(), responses.get_region())
            token = request.get("clientRequestToken")
            if token and (*scope, token) in _tokens:
                return bedrock._json({"jobArn": _tokens[(*scope, token)]})  # type: ignore[no-any-return]
            _refuse_on_request(request["jobName"])
            _check_model_and_role(request)
            _check_quota(request["modelId"])
            record = _new_record(request)
            if token:
                _tokens[(*scope, token)] = record["jobArn"]
    except RefusedError as refused:
        return refused.answer
    bedrock._model_invocation_jobs[record["jobArn"]] = record
    if request.get("tags"):
        bedrock._tags[record["jobArn"]] = {tag["key"]: tag["value"] for tag in request["tags"]}
    run = _runs[record["jobArn"]] = Run(record, CONTROL)
    run.start()
    return bedrock._json({"jobArn": record["jobArn"]})  # type: ignore[no-any-return]


def run_again(record: dict[str, Any]) -> None:
    """Run a job from its input again, because the server stopped while it ran. One that was stopping stops."""
    run = _runs[record["jobArn"]] = Run(record, CONTROL)
    if record["status"] == "Stopping":
        run.stop()
    run.start()


def get(identifier: str) -> Answer:
    """GetModelInvocationJob, by ARN or by the twelve characters of the id."""
    record = _find(identifier)
    return bedrock._json(dict(record)) if record else _not_found(identifier)


def stop(identifier: str) -> Answer:
    """StopModelInvocationJob: the job goes through Stopping to Stopped and keeps what it has processed.

    https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-stop.html
    """
    record = _find(identifier)
    if record is None:
        return _not_found(identifier)
    if record["status"] not in ACTIVE - {"Stopping"}:
        message = f"The job {record['jobArn']} has the status {record['status']} and cannot be stopped."
        return bedrock._conflict(message)  # type: ignore[no-any-return]
    _runs[record["jobArn"]].stop()
    return bedrock._empty()  # type: ignore[no-any-return]


def list_jobs(query: dict[str, list[str]]) -> Answer:
    """ListModelInvocationJobs, the newest first unless asked otherwise.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListModelInvocationJobs.html
    """
    try:
        chosen, size, start = _listed(query)
    except RefusedError as refused:
        return refused.answer
    page = chosen[start : start + size]
    answered: dict[str, Any] = {"invocationJobSummaries": page}
    if start + size < len(chosen):
        answered["nextToken"] = base64.urlsafe_b64encode(page[-1]["jobArn"].encode()).decode()
    return bedrock._json(answered)  # type: ignore[no-any-return]


# --- Creating


def _read_request(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        raise RefusedError("ValidationException", "The request body is not valid JSON.") from None
    if not isinstance(request, dict):
        raise RefusedError("ValidationException", "The request body must be a JSON object.")
    problems = [
        f"Value at '{name}' failed to satisfy constraint: Member must not be null"
        for name in ("jobName", "roleArn", "modelId", "inputDataConfig", "outputDataConfig")
        if not request.get(name)
    ]
    values = [(name, request.get(name), name) for name in ("jobName", "roleArn", "clientRequestToken")]
    for side, inner in (("inputDataConfig", "s3InputDataConfig"), ("outputDataConfig", "s3OutputDataConfig")):
        config = (request.get(side) or {}).get(inner) or {}
        if request.get(side) and not config.get("s3Uri"):
            problems.append(f"Value at '{side}.{inner}.s3Uri' failed to satisfy constraint: Member must not be null")
        values.append((f"{side}.{inner}.s3Uri", config.get("s3Uri"), "s3Uri"))
    for where, value, name in values:
        if value and not (isinstance(value, str) and re.fullmatch(LINEAR_PATTERNS[name], value)):
            problems.append(
                f"Value '{value}' at '{where}' failed to satisfy constraint: "
                f"Member must satisfy regular expression pattern: {PATTERNS[name]}"
            )
    hours = request.get("timeoutDurationInHours")
    if hours is not None and hours not in TIMEOUT_HOURS:
        bound = "greater than or equal to 24" if hours < 24 else "less than or equal to 168"
        problems.append(
            f"Value '{hours}' at 'timeoutDurationInHours' failed to satisfy constraint: Member must have value {bound}"
        )
    if request.get("modelInvocationType", "InvokeModel") not in ("InvokeModel", "Converse"):
        problems.append(
            f"Value '{request['modelInvocationType']}' at 'modelInvocationType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [InvokeModel, Converse]"
        )
    if problems:
        errors = "error" if len(problems) == 1 else "errors"
        raise RefusedError(
            "ValidationException", f"{len(problems)} validation {errors} detected: {'; '.join(problems)}"
        )
    return request


def _refuse_on_request(job_name: str) -> None:
    fault = CONTROL.take("refuse", job_name)
    if fault is not None:
        raise RefusedError(fault.code, fault.message, 429 if fault.code == "ThrottlingException" else 400)


def _check_model_and_role(request: dict[str, Any]) -> None:
    """Check that batch inference supports the model, and that Bedrock may assume the role.

    https://docs.aws.amazon.com/bedrock/latest/userguide/batch-iam-sr.html
    """
    model_id = request["modelId"]
    if bodies.family_of(model_id) is None and "application-inference-profile/" not in model_id:
        raise RefusedError("ValidationException", "The provided model identifier is invalid.")
    if model_id.rpartition("/")[2] in NOT_FOR_BATCH:
        raise RefusedError("ValidationException", f"Batch inference is not supported for the model {model_id}.")
    source = f"arn:aws:bedrock:{responses.get_region()}:{responses.get_account_id()}:model-invocation-job/*"
    if not JobRole(request["roleArn"], source).is_trusted():
        message = (
            f"Amazon Bedrock cannot assume the role {request['roleArn']}: check that it exists and its trust policy."
        )
        raise RefusedError("ValidationException", message)


def _check_quota(model_id: str) -> None:
    """Check "Sum of in-progress and submitted batch inference jobs using a base model", a quota of account and region.

    https://docs.aws.amazon.com/general/latest/gr/bedrock.html#limits_bedrock
    """
    running = [
        record
        for record in bedrock._model_invocation_jobs.values()
        if record["status"] in ACTIVE and permissions.base_model(record["modelId"]) == permissions.base_model(model_id)
    ]
    limit = CONTROL.settings.concurrent_jobs
    if len(running) >= limit:
        raise RefusedError(
            "ServiceQuotaExceededException",
            f"The account has reached its quota of {limit} in-progress and submitted batch inference jobs for the "
            f"model {model_id}. Wait until one ends, or ask for a higher quota.",
        )


def _new_record(request: dict[str, Any]) -> dict[str, Any]:
    job_id = "".join(random.choices(string.ascii_lowercase + string.digits, k=12))  # noqa: S311 - no secret
    hours = request.get("timeoutDurationInHours", 24)
    now, scope = datetime.now(UTC), f"{responses.get_region()}:{responses.get_account_id()}"
    optional = ("clientRequestToken", "vpcConfig", "timeoutDurationInHours")
    return {
        "jobArn": f"arn:aws:bedrock:{scope}:model-invocation-job/{job_id}",
        "jobName": request["jobName"],
        "modelId": permissions.model_arn(request["modelId"], responses.get_region(), responses.get_account_id()),
        "roleArn": request["roleArn"],
        "status": "Submitted",
        "submitTime": events.timestamp(now),
        "lastModifiedTime": events.timestamp(now),
        "jobExpirationTime": events.timestamp(now + timedelta(hours=hours)),
        "inputDataConfig": request["inputDataConfig"],
        "outputDataConfig": request["outputDataConfig"],
        "modelInvocationType": request.get("modelInvocationType", "InvokeModel"),
        "totalRecordCount": 0,
        "processedRecordCount": 0,
        "successRecordCount": 0,
        "errorRecordCount": 0,
        **{name: request[name] for name in optional if name in request},
    }


# --- Looking up


def _find(identifier: str) -> dict[str, Any] | None:
    if not identifier.startswith("arn:"):
        scope = f"{responses.get_region()}:{responses.get_account_id()}"
        identifier = f"arn:aws:bedrock:{scope}:model-invocation-job/{identifier}"
    found: dict[str, Any] | None = bedrock._model_invocation_jobs.get(identifier)
    return found


def _not_found(identifier: str) -> Answer:
    message = f"The job {identifier} was not found. Check its identifier and try again."
    return bedrock._not_found(message)  # type: ignore[no-any-return]


def _listed(query: dict[str, list[str]]) -> tuple[list[dict[str, Any]], int, int]:
    """The jobs of the query in order, the size of a page, and the index where the page begins."""
    asked = {name: values[0] for name, values in query.items() if values}
    status, order = asked.get("statusEquals"), asked.get("sortOrder", "Descending")
    if status and status not in STATUSES:
        raise RefusedError("ValidationException", f"Value '{status}' at 'statusEquals' is not a status of a job.")
    if order not in ("Ascending", "Descending"):
        raise RefusedError("ValidationException", f"Value '{order}' at 'sortOrder' must be Ascending or Descending.")
    try:
        size = int(asked.get("maxResults", "100"))
        after, before = (_moment(asked.get(name)) for name in ("submitTimeAfter", "submitTimeBefore"))
    except ValueError as error:
        raise RefusedError("ValidationException", str(error)) from None
    if size not in PAGE_SIZES:
        raise RefusedError("ValidationException", f"Value '{size}' at 'maxResults' must be between 1 and 1000.")
    chosen = [
        record
        for record in list(bedrock._model_invocation_jobs.values())
        if (not status or record["status"] == status)
        and asked.get("nameContains", "") in record["jobName"]
        and (after is None or datetime.fromisoformat(record["submitTime"]) > after)
        and (before is None or datetime.fromisoformat(record["submitTime"]) < before)
    ]
    chosen.sort(key=lambda record: record["submitTime"], reverse=order == "Descending")
    return chosen, size, _start(chosen, asked.get("nextToken"))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = (
        datetime.fromtimestamp(float(text), UTC) if text.replace(".", "").isdigit() else datetime.fromisoformat(text)
    )
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _start(chosen: list[dict[str, Any]], token: str | None) -> int:
    if not token:
        return 0
    try:
        last = base64.urlsafe_b64decode(token.encode()).decode()
        return [record["jobArn"] for record in chosen].index(last) + 1
    except (ValueError, binascii.Error):
        raise RefusedError("ValidationException", "The nextToken is not valid.") from None
